"""Operators of torchvision that read regions: channels leave, places and regions stay."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

SIGNATURE = "(Tensor input, Tensor rois, float spatial_scale, int pooled_height, int pooled_width"


@pytest.fixture(scope="module")
def operators() -> Iterator[Any]:
    """torchvision's own operators, or simple ones by their names where the compiled ones do not load."""
    if hasattr(torch.ops.torchvision, "roi_align"):
        yield torch.ops.torchvision
        return
    library = torch.library.Library("torchvision", "FRAGMENT")
    library.define(f"roi_align{SIGNATURE}, int sampling_ratio, bool aligned) -> Tensor")
    library.define(f"roi_pool{SIGNATURE}) -> (Tensor, Tensor)")
    library.impl(
        "roi_align", lambda *args: pooled(nn.functional.adaptive_avg_pool2d, *args), "CompositeImplicitAutograd"
    )
    library.impl("roi_pool", with_places, "CompositeImplicitAutograd")
    yield torch.ops.torchvision
    library._destroy()


def pooled(pool: Any, data: Tensor, rois: Tensor, scale: float, height: int, width: int, *_: Any) -> Tensor:
    """Bins of whole regions, whose corners are multiplied by a scale."""
    bins = []
    for number, *corners in rois.tolist():
        left, top, right, bottom = (round(corner * scale) for corner in corners)
        bins.append(pool(data[int(number), :, top : bottom + 1, left : right + 1], (height, width)))
    return torch.stack(bins)


def with_places(*args: Any) -> tuple[Tensor, Tensor]:
    bins = pooled(nn.functional.adaptive_max_pool2d, *args)
    return bins, (bins > 0).long()


class Regions(nn.Module):
    """Two regions of a feature map, joined as the input of a linear layer."""

    def __init__(self, kind: str, learned: bool = False) -> None:
        super().__init__()
        self.kind = kind
        self.map, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8 * 4, 3)
        rois = torch.tensor([[0, 1, 1, 5, 6], [1, 0, 2, 7, 7]])
        self.register_parameter("rois", nn.Parameter(rois.double())) if learned else self.register_buffer("rois", rois)

    def forward(self, x: Tensor) -> Tensor:
        y = self.map(x)
        if self.kind == "roi_align":
            return self.head(torch.ops.torchvision.roi_align(y, self.rois, 0.5, 2, 2, 2, False).flatten(1))
        bins, places = torch.ops.torchvision.roi_pool(y, self.rois, 0.5, 2, 2)
        return self.head((bins + 0 * places).flatten(1) if self.kind == "places" else bins.flatten(1))


@pytest.mark.parametrize("kind", ["roi_align", "roi_pool"])
def test_channels_of_regions_leave(law: Any, operators: Any, kind: str) -> None:
    law(Regions(kind), law.normal(2, 3, 9, 9), {"map.weight": (4, 3, 3, 3), "head.weight": (3, 16)})


@pytest.mark.usefixtures("operators")
def test_numbers_of_regions_stay(law: Any) -> None:
    rois = "torchvision::roi_align reads regions from it"
    plan = law.plan(Regions("roi_align", learned=True).double(), (law.normal(2, 3, 9, 9),))
    reasons = {(r.parameter, r.axis): str(r) for r in plan.refusals}
    assert rois in reasons["rois", 0]
    assert rois in reasons["rois", 1]
    assert plan.cuts["map.weight"][0].size == 4
