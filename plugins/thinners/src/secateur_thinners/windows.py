"""Windows that slide over axes: unfold and fold (im2col and its inverse), and windows over one axis of a tensor.

`unfold` reads channels as C × (k * k) patches, so all k * k rows of a channel leave together; `fold` adds them up
again.
"""

from __future__ import annotations

from collections.abc import Sequence

from secateur.coupling.labels import Axis, fixed
from secateur.coupling.site import Site, int_of
from secateur.hookspecs import hookimpl
from secateur.records import OpRule
from secateur_thinners.table import rule

SLIDES = "windows slide over it"


def unfold(site: Site) -> Sequence[Axis]:
    """[(B,) C, H, W] becomes [(B,) C * k * k, L]; or, over one axis of a tensor, windows in a new last axis."""
    data = site["input"]
    if len(site.shape) == len(data) + 1:
        place = int_of(site["kernel"]) % max(len(data), 1)
        windows = list(data.axes)
        if windows:
            site.fix(windows[place], SLIDES)
            windows[place] = fixed(site.shape[place])
        return [*windows, fixed(site.shape[-1])]
    for axis in data.axes[-2:]:
        site.fix(axis, SLIDES)
    patch = site.shape[-2] // len(data[-3])
    return [*data.axes[:-3], site.merge(data[-3], fixed(patch)), fixed(site.shape[-1])]


def fold(site: Site) -> Sequence[Axis]:
    """[(B,) C * k * k, L] becomes [(B,) C, H, W]: overlapping entries are added."""
    data = site["input"]
    site.fix(data[-1], "windows are laid side by side")
    channels, patch = site.split(data[-2], site.shape[-3], len(data[-2]) // site.shape[-3])
    site.fix(patch, "its entries become neighbouring pixels")
    return [*data.axes[:-2], channels, fixed(site.shape[-2]), fixed(site.shape[-1])]


@hookimpl
def secateur_op_rules() -> list[OpRule]:
    """Rules for windows."""
    return [
        rule("unfold", "input, kernel|kernel_size|dimension, dilation|size=1, padding|step=0, stride=1", unfold),
        rule("fold", "input, output_size, kernel_size, dilation=1, padding=0, stride=1", fold),
    ]
