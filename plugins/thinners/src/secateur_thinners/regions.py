"""Operators of torchvision that read regions of a feature map, channel by channel."""

from __future__ import annotations

from collections.abc import Sequence

from secateur.coupling.labels import Axis, fixed
from secateur.coupling.site import Site
from secateur.hookspecs import hookimpl
from secateur.records import OpRule

REGIONS = "input, rois, spatial_scale, pooled_height, pooled_width, sampling_ratio=-1, aligned=False"


def regions(site: Site) -> list[Sequence[Axis]]:
    """The input is [batch, C, *space], regions are rows of numbers, the output is [regions, C, *bins].

    What is read outside the map, and an empty bin, is zero.
    """
    data, rois = site["input"], site["rois"]
    for axis in [data[0], *data.axes[2:], *rois.axes]:
        site.fix(axis, f"{site.op.kind} reads regions from it")
    made: list[Sequence[Axis]] = []
    for output, shape in enumerate(site.shapes):  # a second output holds places, which are not zero
        channels = data[1] if output == 0 else data[1].nonzero()
        made.append([fixed(shape[0]), channels, *(fixed(length) for length in shape[2:])])
    return made


@hookimpl
def secateur_op_rules() -> list[OpRule]:
    """Rules for `torchvision.ops.roi_align` and `roi_pool`, where torchvision's own operators are called."""
    names = ("torchvision::roi_align", "torchvision::roi_pool")
    return [OpRule(name="regions", ops=names, signature=REGIONS, apply=regions)]
