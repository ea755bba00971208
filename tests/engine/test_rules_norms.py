"""Norms: statistics leave with their channels; norms that average over channels keep them, or whole groups of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

BATCH = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
INSTANCE = {1: nn.InstanceNorm1d, 2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}
CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


def between(norm: nn.Module, space: int = 2) -> nn.Sequential:
    conv = CONV[space]
    return nn.Sequential(conv(3, 8, 3), norm, nn.LeakyReLU(0.1), conv(8, 4, 1))


def image(law: Any, space: int = 2) -> torch.Tensor:
    return law.normal(2, 3, *(6, 7, 5)[:space])


@pytest.mark.parametrize("space", [1, 2, 3])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("tracked", [True, False])
@pytest.mark.parametrize("family", [BATCH, INSTANCE])
def test_channel_norms(law: Any, space: int, affine: bool, tracked: bool, family: Any) -> None:
    norm = family[space](8, affine=affine, track_running_stats=tracked)
    shapes: dict[str, tuple[int, ...]] = {"0.bias": (4,), "3.weight": (4, 4, *[1] * space)}
    shapes |= {"1.weight": (4,), "1.bias": (4,)} if affine else {}
    shapes |= {"1.running_mean": (4,), "1.running_var": (4,)} if tracked else {}
    thinned = law(between(norm, space), image(law, space), shapes)
    assert repr(thinned[1]).startswith(f"{type(norm).__name__}(4, ")


def test_channel_norm_before_any_convolution(law: Any) -> None:
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 1))
    law.refuses(model, image(law), "0.weight", "it meets an input of the model", "batch_norm at 0")


@pytest.mark.parametrize("groups", [1, 2, 4, 8])
@pytest.mark.parametrize("affine", [True, False])
def test_whole_groups_of_group_norm(law: Any, groups: int, affine: bool) -> None:
    model = between(nn.GroupNorm(groups, 8, affine=affine))
    thinned = law(model, image(law), seeds=6)
    kept = max(groups // 2, 1)
    assert thinned[0].weight.shape[0] == 8 // groups * kept
    assert repr(thinned[1]).startswith(f"GroupNorm({kept}, {8 // groups * kept}, ")


def test_group_norm_says_why_channels_within_a_group_stay(law: Any) -> None:
    law.refuses(between(nn.GroupNorm(1, 8)), image(law), "0.weight", "group norm averages over the channels of a group")


@pytest.mark.parametrize(
    ("norm", "reason"),
    [
        (nn.LayerNorm([8, 4, 5]), "layer_norm averages over it"),
        (nn.RMSNorm([8, 4, 5]), "rms_norm averages over it"),
        (nn.LocalResponseNorm(3), "local response norm reads neighbouring channels"),
    ],
)
def test_norms_over_channels_are_refused(law: Any, norm: nn.Module, reason: str) -> None:
    law.refuses(between(norm), image(law), "0.weight", reason)


@pytest.mark.parametrize("norm", [nn.LayerNorm(5), nn.RMSNorm(5), nn.LayerNorm([4, 5])])
def test_norms_over_space_leave_channels_free(law: Any, norm: nn.Module) -> None:
    law(between(norm), image(law), {"0.weight": (4, 3, 3, 3), "3.weight": (4, 4, 1, 1)})


class Permuted(nn.Module):
    """Channels stand on an axis that a norm averages over."""

    def __init__(self, norm: nn.Module, order: tuple[int, ...]) -> None:
        super().__init__()
        self.a, self.norm, self.order = nn.Conv2d(3, 6, 3), norm, order
        self.b = nn.Conv2d(6, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(self.a(x).permute(self.order))
        back = [self.order.index(axis) for axis in range(4)]
        return self.b(y.permute(back))


@pytest.mark.parametrize("order", [(1, 0, 2, 3), (0, 2, 1, 3), (0, 3, 2, 1), (2, 3, 0, 1)])
@pytest.mark.parametrize("tracked", [True, False])
@pytest.mark.parametrize("family", [BATCH, INSTANCE])
def test_channels_on_other_axes_of_a_norm(law: Any, order: tuple[int, ...], tracked: bool, family: Any) -> None:
    x = law.normal(2, 3, 6, 7)
    length = (2, 6, 4, 5)[order[1]]
    law(Permuted(family[2](length, affine=True, track_running_stats=tracked), order), x, seeds=6)


def test_batch_statistics_over_channels_are_refused(law: Any) -> None:
    model = Permuted(nn.BatchNorm2d(2, track_running_stats=False), (1, 0, 2, 3))
    law.refuses(model, law.normal(2, 3, 6, 7), "a.weight", "statistics", "batch_norm at norm")


def test_weight_standardisation(law: Any) -> None:
    class Standardised(nn.Conv2d):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            w = self.weight
            w = w - w.mean((1, 2, 3), keepdim=True)
            return F.conv2d(x, w / (w.std((1, 2, 3), keepdim=True) + 1e-5), self.bias, self.stride, self.padding)

    model = nn.Sequential(
        Standardised(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), Standardised(8, 6, 3), nn.Conv2d(6, 3, 1)
    )
    law.refuses(model, image(law), "0.weight", "mean is taken over it", "test_rules_norms.py")
    law.refuses(model, image(law), "3.weight", "mean is taken over it", axis=1)
    law(model, image(law), {"3.weight": (3, 8, 3, 3), "4.weight": (3, 3, 1, 1)})


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0])
def test_normalising_over_channels_is_exact_where_they_are_zero(law: Any, p: float) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.b(F.normalize(self.a(x), p=p))

    law(Net(), image(law), {"a.weight": (4, 3, 3, 3), "b.weight": (4, 4, 1, 1)})


def test_normalising_over_channels_that_are_not_zero_is_refused(law: Any) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.b(F.normalize(torch.sigmoid(self.a(x))))

    law.refuses(Net(), image(law), "a.weight", "it is normalised, and pruned slices are not zero")
