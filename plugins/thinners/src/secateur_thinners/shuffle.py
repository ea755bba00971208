"""Shuffles between channels and space, or within channels: nothing but reshapes and permutations.

Pixel shuffle reads channels as C × (r * r), channel shuffle as groups × channels per group.
"""

from __future__ import annotations

from collections.abc import Sequence

from secateur.coupling.labels import Axis, fixed
from secateur.coupling.site import Site, int_of
from secateur.hookspecs import hookimpl
from secateur.records import OpRule


def pixel_shuffle(site: Site) -> Sequence[Axis]:
    """[..., C * r * r, H, W] becomes [..., C, H * r, W * r]: all r * r parts of a channel leave together."""
    data, factor = site["input"], int_of(site["factor"])
    outer, inner = site.split(data[-3], len(data[-3]) // factor**2, factor**2)
    site.fix(inner, "its entries become neighbouring pixels")
    for axis in data.axes[-2:]:
        site.fix(axis, "pixels are shuffled along it")
    return [*data.axes[:-3], outer, *(fixed(length) for length in site.shape[-2:])]


def pixel_unshuffle(site: Site) -> Sequence[Axis]:
    """[..., C, H * r, W * r] becomes [..., C * r * r, H, W]."""
    data, factor = site["input"], int_of(site["factor"])
    channels = site.merge(data[-3], fixed(factor**2))
    for axis in data.axes[-2:]:
        site.fix(axis, "pixels are shuffled along it")
    return [*data.axes[:-3], channels, *(fixed(length) for length in site.shape[-2:])]


def channel_shuffle(site: Site) -> Sequence[Axis]:
    """Channels, read as groups × per group, are read the other way round; the groups must stay equal."""
    data, groups = site["input"], int_of(site["groups"])
    outer, inner = site.split(data[1], groups, len(data[1]) // groups)
    outer = site.require(site["groups"], outer, "the number of groups")
    return [data[0], site.merge(inner, outer), *data.axes[2:]]


@hookimpl
def secateur_op_rules() -> list[OpRule]:
    """Rules for shuffles."""
    return [
        OpRule(
            name="pixel_shuffle",
            ops=("pixel_shuffle",),
            signature="input, factor|upscale_factor",
            apply=pixel_shuffle,
        ),
        OpRule(
            name="pixel_unshuffle",
            ops=("pixel_unshuffle",),
            signature="input, factor|downscale_factor",
            apply=pixel_unshuffle,
        ),
        OpRule(
            name="channel_shuffle",
            ops=("channel_shuffle", "native_channel_shuffle"),
            signature="input, groups",
            apply=channel_shuffle,
        ),
    ]
