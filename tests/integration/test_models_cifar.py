"""The CIFAR networks have the layers, weights and multiply-accumulates of their publications."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from secateur.errors import ConfigError
from secateur_models import cifar
from secateur_models.cifar_resnet import CifarNet

ENTRIES = {entry.name: entry for entry in cifar.secateur_models()}


def macs(model: nn.Module, x: Tensor) -> int:
    total = 0

    def count(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        nonlocal total
        assert isinstance(module, (nn.Conv2d, nn.Linear))
        total += output.numel() * math.prod(module.weight.shape[1:])

    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.register_forward_hook(count)
    model(x)
    return total


def weights(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters() if p.dim() in (2, 4))


def test_names() -> None:
    assert sorted(ENTRIES) == [f"{kind}{n}_cifar" for kind in ("plain", "resnet") for n in (20, 32, 44, 56)]


@pytest.mark.parametrize(
    ("name", "expected_weights", "expected_macs"),
    [
        ("resnet20_cifar", 270_896, 40_813_184),
        ("resnet56_cifar", 851_504, 125_747_840),
        ("plain20_cifar", 268_336, 40_813_184 - 2 * 32 * 16 * 16 * 16),
    ],
)
def test_weights_and_macs(name: str, expected_weights: int, expected_macs: int) -> None:
    model = ENTRIES[name].build().eval()
    assert weights(model) == expected_weights
    assert macs(model, torch.zeros(1, *ENTRIES[name].input_shape)) == expected_macs


@pytest.mark.parametrize("name", sorted(ENTRIES))
def test_depth_is_the_number_of_weighted_layers(name: str) -> None:
    model = ENTRIES[name].build()
    layers = [n for n, m in model.named_modules() if isinstance(m, (nn.Conv2d, nn.Linear)) and "downsample" not in n]
    assert f"{len(layers)}_cifar" in name


def test_layer_names_are_those_of_published_schedules() -> None:
    names = dict(ENTRIES["resnet20_cifar"].build().named_modules())
    expected = [
        "conv1",
        "bn1",
        "layer1.0.conv1",
        "layer1.0.conv2",
        "layer2.0.downsample.0",
        "layer3.2.bn2",
        "fc",
    ]
    assert set(expected) <= set(names)
    assert "layer1.0.downsample" not in names
    assert not any("downsample" in name for name in dict(ENTRIES["plain20_cifar"].build().named_modules()))


def test_every_relu_is_its_own_module() -> None:
    model = ENTRIES["resnet20_cifar"].build().eval()
    calls: list[nn.Module] = []
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_hook(lambda module, *_: calls.append(module))
    model(torch.zeros(1, 3, 32, 32))
    assert len(calls) == len(set(calls)) == 19


def test_a_residual_block_adds_its_input() -> None:
    block = CifarNet(8).layer1[0].eval()
    nn.init.zeros_(block.conv2.weight)
    x = torch.randn(2, 16, 4, 4)
    torch.testing.assert_close(block(x), x.relu())
    plain = CifarNet(8, shortcut=False).layer1[0].eval()
    nn.init.zeros_(plain.conv2.weight)
    assert not plain(x).any()


def test_number_of_classes() -> None:
    assert ENTRIES["resnet20_cifar"].build(num_classes=100)(torch.randn(2, 3, 32, 32)).shape == (2, 100)


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        CifarNet(21)
    assert str(caught.value) == (
        "depth: a CIFAR network cannot have 21 layers; use 6n + 2 with n of at least 1: 8, 14, 20, 26, 32, …"
    )
    with pytest.raises(ConfigError) as caught:
        ENTRIES["resnet20_cifar"].build(num_classes=0)
    assert str(caught.value) == "num_classes: 0 is not a number of classes; give an integer of at least 1"
