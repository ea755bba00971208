"""Both builders lead to the same dims, one torchvision network per family, on inputs as small as it takes."""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

NETWORKS = (
    "alexnet",
    "vgg11_bn",
    "resnet18",
    "resnext50_32x4d",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "efficientnet_b0",
    "densenet121",
    "googlenet",
    "shufflenet_v2_x0_5",
    "squeezenet1_1",
    "mnasnet0_5",
    "regnet_y_400mf",
    "convnext_tiny",
    "swin_t",
    "vit_b_32",
)


@pytest.fixture(scope="module")
def agreement() -> Iterator[ModuleType]:
    """The script that compares builders, loaded by its path; one thread, as small tensors gain nothing from more."""
    path = Path(__file__).parents[2] / "benchmarks" / "builders_agree.py"
    spec = importlib.util.spec_from_file_location("builders_agree", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield module
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", NETWORKS)
def test_builders_agree(agreement: ModuleType, name: str) -> None:
    traced, exported = agreement.compare(name, batch=1)
    assert agreement.difference(traced, exported) == ""
    assert traced.dims > 0


def test_a_difference_is_told(agreement: ModuleType) -> None:
    traced, _ = agreement.compare("squeezenet1_1", batch=1)
    less = agreement.Side(traced.dims, traced.units - Counter([next(iter(traced.units))]), 0.0)
    assert agreement.difference(traced, less).startswith("only trace: ")
    assert (
        agreement.difference(traced, agreement.Side(0, traced.units, 0.0, "export: it failed")) == "export: it failed"
    )
