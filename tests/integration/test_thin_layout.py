"""Thinned tensors lie in memory as those of a network built with the thin widths: same strides, same alignment."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
import torch
from torch import nn

import secateur


def network(width: int, memory_format: torch.memory_format) -> nn.Sequential:
    torch.manual_seed(0)
    layers = [
        nn.Conv2d(6, width, 1),
        nn.BatchNorm2d(width),
        nn.Conv2d(width, width, 3, groups=width),
        nn.Conv2d(width, 4, 3),
        nn.Conv2d(4, 2, (1, 3)),
    ]
    return nn.Sequential(*layers).to(memory_format=memory_format)


def strides(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tensor.stride() for name, tensor in model.named_parameters()}


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_strides_are_those_of_a_network_built_thin(memory_format: torch.memory_format, tmp_path: Path) -> None:
    model, x = network(12, memory_format), torch.randn(2, 6, 9, 9)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(x).sum().backward()
    optimizer.step()
    secateur.thin(model, secateur.plan(model, (x,), keep=["3"]), optimizer)
    wanted = network(6, memory_format)
    assert model[0].out_channels == 6
    assert strides(model) == strides(wanted)
    assert all(parameter.data_ptr() % 64 == 0 for parameter in model.parameters())
    for parameter in model.parameters():
        assert parameter.grad is not None
        assert parameter.grad.shape == optimizer.state[parameter]["momentum_buffer"].shape == parameter.shape
    contiguous = [layer(x).stride() for layer in (model[0], wanted[0])]
    assert contiguous[0] == contiguous[1]  # the first convolution decides for all that follow
    secateur.export_python(tmp_path / "thin.py", model)
    assert strides(runpy.run_path(str(tmp_path / "thin.py"))["thin"](network(12, memory_format))) == strides(wanted)
