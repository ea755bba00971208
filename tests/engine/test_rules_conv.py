"""Convolutions and linear layers: what leaves, leaves exactly, and the attributes follow."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

SPACES = {1: (nn.Conv1d, nn.BatchNorm1d), 2: (nn.Conv2d, nn.BatchNorm2d), 3: (nn.Conv3d, nn.BatchNorm3d)}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


def chain(*middle: nn.Module, space: int = 2, width: int = 8, out: int = 0) -> nn.Sequential:
    """conv, what is tested, ReLU, conv."""
    conv, _ = SPACES[space]
    return nn.Sequential(conv(3, width, 3, padding=1), nn.ReLU(), *middle, nn.ReLU(), conv(out or width, 5, 1))


def image(law: Any, space: int = 2) -> torch.Tensor:
    return law.normal(2, 3, *(6, 7, 5)[:space])


@pytest.mark.parametrize("space", [1, 2, 3])
@pytest.mark.parametrize("bias", [True, False])
def test_plain_convolution_with_batch_norm(law: Any, space: int, bias: bool) -> None:
    conv, norm = SPACES[space]
    model = chain(conv(8, 12, 3, padding=1, bias=bias), norm(12), space=space, out=12)
    shapes: dict[str, tuple[int, ...]] = {"0.weight": (4, 3, *[3] * space), "2.weight": (6, 4, *[3] * space)}
    shapes |= {"3.running_var": (6,), "3.weight": (6,), "5.weight": (5, 6, *[1] * space), "5.bias": (5,)}
    thinned = law(model, image(law, space), shapes)
    assert repr(thinned[2]).startswith(f"Conv{space}d(4, 6, ")
    assert repr(thinned[3]).startswith(f"BatchNorm{space}d(6, ")


@pytest.mark.parametrize("space", [1, 2, 3])
@pytest.mark.parametrize("options", [{"stride": 2}, {"dilation": 2}, {"padding": "same"}, {"padding": "valid"}])
def test_stride_dilation_and_string_padding(law: Any, space: int, options: dict[str, Any]) -> None:
    conv, _ = SPACES[space]
    law(chain(conv(8, 8, 2, **options), space=space), image(law, space), {"2.weight": (4, 4, *[2] * space)}, seeds=2)


@pytest.mark.parametrize("mode", ["circular", "reflect", "replicate"])
@pytest.mark.parametrize("space", [1, 2, 3])
def test_padding_modes(law: Any, mode: str, space: int) -> None:
    conv, _ = SPACES[space]
    middle = conv(8, 8, 3, padding=1, padding_mode=mode)
    law(chain(middle, space=space), image(law, space), {"2.weight": (4, 4, *[3] * space)}, seeds=2)


@pytest.mark.parametrize("space", [1, 2, 3])
@pytest.mark.parametrize("bias", [True, False])
def test_transposed_convolution(law: Any, space: int, bias: bool) -> None:
    middle = TRANSPOSED[space](8, 6, 3, stride=2, output_padding=1, bias=bias)
    thinned = law(chain(middle, space=space, out=6), image(law, space), {"2.weight": (4, 3, *[3] * space)})
    assert repr(thinned[2]).startswith(f"ConvTranspose{space}d(4, 3, ")


@pytest.mark.parametrize("groups", [2, 3, 4])
def test_grouped_convolution_keeps_groups_equal(law: Any, groups: int) -> None:
    width = 4 * groups
    model = chain(nn.Conv2d(width, 2 * width, 3, groups=groups), nn.BatchNorm2d(2 * width), width=width, out=2 * width)
    thinned = law(model, image(law), seeds=12)
    assert thinned[2].weight.shape[0] < 2 * width
    assert thinned[0].weight.shape[0] < width


def test_a_whole_group_leaves(law: Any) -> None:
    model = law.randomised(chain(nn.Conv2d(8, 16, 3, groups=4), width=8, out=16))
    inputs = (image(law),)
    dims = {dim.name: dim for dim in law.plan(model, inputs, 0).dims}
    assert sorted(dim.size for dim in dims.values()) == [2, 4, 4]
    groups = next(
        name for name, dim in dims.items() if dim.size == 4 and any(key == ("0.weight", 0) for key in dim.slices)
    )
    thinned = law.exact(model, law.plan(model, inputs, {groups: 0.5}), inputs)
    assert repr(thinned[2]) == "Conv2d(4, 8, kernel_size=(3, 3), stride=(1, 1), groups=2)"


@pytest.mark.parametrize("space", [1, 2, 3])
@pytest.mark.parametrize("multiplier", [1, 2, 3])
def test_depthwise_convolution(law: Any, space: int, multiplier: int) -> None:
    conv, norm = SPACES[space]
    wide = 8 * multiplier
    model = chain(conv(8, wide, 3, groups=8, padding=1), norm(wide), space=space, out=wide)
    thinned = law(model, image(law, space), seeds=8)
    assert thinned[2].groups == 4
    assert thinned[2].in_channels == 4
    if multiplier == 1:
        assert "Conv" in repr(thinned[2])
        assert "(4, 4, " in repr(thinned[2])
        assert "groups=4" in repr(thinned[2])


@pytest.mark.parametrize("space", [1, 2, 3])
@pytest.mark.parametrize(("groups", "out"), [(2, 12), (4, 8), (8, 8), (8, 16)])
def test_transposed_grouped_convolution(law: Any, space: int, groups: int, out: int) -> None:
    middle = TRANSPOSED[space](8, out, 2, groups=groups)
    thinned = law(chain(middle, space=space, out=out), image(law, space), seeds=6)
    assert thinned[2].weight.numel() < middle.weight.numel()
    assert thinned[2].groups <= groups


def test_depthwise_separable_chain_with_two_norms_after_one_conv(law: Any) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3)
            self.one, self.two = nn.BatchNorm2d(8), nn.BatchNorm2d(8)
            self.out = nn.Conv2d(8, 4, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.conv(x)
            return self.out(F.relu(self.one(y)) + torch.sigmoid(self.two(y)))

    law(
        Net(), image(law), {"one.weight": (4,), "two.running_mean": (4,), "conv.bias": (4,), "out.weight": (4, 4, 1, 1)}
    )


def test_flatten_reads_a_block_of_columns_per_channel(law: Any) -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8 * 4 * 5, 10),
        nn.BatchNorm1d(10),
        nn.ReLU(),
        nn.Linear(10, 3),
    )
    shapes = {"0.weight": (4, 3, 3, 3), "3.weight": (5, 80), "4.running_var": (5,), "6.weight": (3, 5)}
    thinned = law(model, image(law), shapes)
    assert repr(thinned[3]) == "Linear(in_features=80, out_features=5, bias=True)"
    assert repr(thinned[4]).startswith("BatchNorm1d(5, ")


@pytest.mark.parametrize("bias", [True, False])
def test_linear_chain_on_tokens(law: Any, bias: bool) -> None:
    model = nn.Sequential(
        nn.Linear(6, 8, bias=bias), nn.GELU(), nn.Linear(8, 10, bias=bias), nn.Tanh(), nn.Linear(10, 3)
    )
    law(model, law.normal(2, 5, 6), {"0.weight": (4, 6), "2.weight": (5, 4), "4.weight": (3, 5)})


def test_unbatched_input(law: Any) -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.InstanceNorm2d(8, affine=True), nn.Conv2d(8, 4, 1))
    law(model, law.normal(3, 6, 6), {"0.weight": (4, 3, 3, 3), "1.weight": (4,), "2.weight": (4, 4, 1, 1)}, train=False)


def test_channels_last_stays_channels_last(law: Any) -> None:
    model = law.randomised(chain(nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8))).to(memory_format=torch.channels_last)
    inputs = (image(law).contiguous(memory_format=torch.channels_last),)
    thinned = law(model, inputs, {"2.weight": (4, 4, 3, 3)}, prepare=False)
    assert thinned[2].weight.is_contiguous(memory_format=torch.channels_last)


def test_float32(law: Any) -> None:
    model = law.randomised(chain(nn.Conv2d(8, 8, 3, groups=2), nn.BatchNorm2d(8)), dtype=torch.float32)
    inputs = (image(law).float(),)
    for seed in range(4):
        law.exact(model, law.random_plan(model, inputs, seed), inputs, tolerance=1e-5)


def test_frozen_parameters_stay_frozen(law: Any) -> None:
    model = chain(nn.Conv2d(8, 8, 3))
    model[0].requires_grad_(False)
    thinned = law(model, image(law), {"0.weight": (4, 3, 3, 3)})
    assert [parameter.requires_grad for parameter in thinned.parameters()] == [False, False, True, True, True, True]


def test_modules_called_by_keyword(law: Any) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 1), nn.Linear(8, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.c(input=self.b(input=self.a(input=x)).mean((2, 3)))

    law(Net(), image(law), {"b.weight": (4, 4, 1, 1), "c.weight": (3, 4)})


@pytest.mark.parametrize("conv", [F.conv2d, F.conv_transpose2d])
def test_kernels_made_from_the_input_read_nothing(law: Any, conv: Any) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.kernels = nn.Conv2d(3, 8, 3), nn.Linear(7, 8)
            self.out = nn.Linear(5, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            kernels = self.kernels(x.mean((0, 1))[:5])
            kernels = kernels if conv is F.conv2d else kernels.t()
            return self.out(conv(self.a(x), kernels[:, :, None, None]).mean((2, 3)))

    x = law.normal(2, 3, 7, 7)
    model = Net()
    law(model, x, {"a.weight": (4, 3, 3, 3), "kernels.weight": (4, 7)})
    (dim,) = law.plan(model, x).dims
    assert dim.readers == set()
