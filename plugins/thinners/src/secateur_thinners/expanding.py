"""Axes are stretched or repeated: expand, repeat, tile, repeat_interleave, broadcast_tensors, meshgrid.

Repeating each index of an axis (`repeat_interleave`, or a new axis that is expanded and merged) keeps its labels: so
the query heads of grouped-query attention are tied to the head they share keys and values with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from secateur.coupling.labels import Axis, Labels, fixed
from secateur.coupling.site import Site, int_of, plain
from secateur.hookspecs import hookimpl
from secateur.records import OpRule
from secateur_thinners.table import rule

STRETCHED = "it is stretched over other channels"


def expand(site: Site) -> Sequence[Axis]:
    """Axes of length 1 are stretched; the others keep their length."""
    data, sizes = site["input"], site["sizes"]
    missing = len(site.shape) - len(data)
    made = [fixed(length) for length in site.shape[:missing]]
    for axis, size, length in zip(data.axes, sizes[missing:], site.shape[missing:], strict=True):
        if len(axis) == length:
            made.append(site.require(size, axis, "a size of this expansion"))
        else:
            site.fix(axis, STRETCHED)
            made.append(fixed(length))
    return made


def expand_as(site: Site) -> Sequence[Axis]:
    """Axes of length 1 are stretched to those of another tensor, and follow them; equal axes leave together."""
    data, other = site["input"], site["other"]
    missing = len(other) - len(data)
    made = [axis.nonzero() for axis in other.axes[:missing]]
    return made + [_stretched(site, axis, target) for axis, target in zip(data.axes, other.axes[missing:], strict=True)]


def _stretched(site: Site, axis: Axis, target: Axis) -> Axis:
    """An axis that is as long as another: the same index by index, or one entry for all of them."""
    if len(axis) == len(target):
        return Axis(site.tie(axis, target).atoms, axis.zero)
    site.fix(axis, STRETCHED)
    return target.nonzero()


def broadcast_tensors(site: Site) -> list[Sequence[Axis]]:
    """Tensors are stretched to a common shape; axes of full length leave together."""
    tensors: tuple[Labels, ...] = site["tensors"]
    rank = len(site.shape)
    common = []
    for place in range(-rank, 0):
        full = [t[place] for t in tensors if len(t) >= -place and len(t[place]) == site.shape[place]]
        joined = full[0]
        for axis in full[1:]:
            joined = site.tie(joined, axis)
        common.append(joined)
    return [
        [axis.nonzero() for axis in common[: rank - len(t)]]
        + [_stretched(site, own, axis) for own, axis in zip(t.axes, common[rank - len(t) :], strict=True)]
        for t in tensors
    ]


def meshgrid(site: Site) -> list[Sequence[Axis]]:
    """A grid of several rows: each output varies along the axis of its own row, and repeats along the others."""
    rows: tuple[Labels, ...] = site["tensors"]
    axes = [row[0] if len(row) else fixed(1) for row in rows]
    order = list(range(len(rows)))
    if site["indexing"] == "xy" and len(rows) > 1:
        order[:2] = [1, 0]
    return [[axes[k] if k == own else axes[k].nonzero() for k in order] for own in range(len(rows))]


def repeat(site: Site) -> Sequence[Axis]:
    """Each axis is repeated as a whole, some number of times; `tile` may leave out counts of the first axes."""
    data, counts = site["input"], list(plain(site["repeats"]))
    counts = [1] * (len(data) - len(counts)) + counts
    missing = len(counts) - len(data)
    made = [fixed(count) for count in counts[:missing]]
    return made + [site.merge(fixed(count), axis) for count, axis in zip(counts[missing:], data.axes, strict=True)]


def repeat_interleave(site: Site) -> Sequence[Axis]:
    """Each index of an axis is repeated, some number of times; without `dim` all axes count as one."""
    data: Any = site["input"]
    count, dim = site["repeats"], site["dim"]
    if isinstance(count, Labels) or count is None:
        if dim is None:
            raise NotImplementedError("its entries are repeated as often as a tensor says")
        place = int_of(dim) % len(data)
        site.fix(data[place], "its entries are repeated as often as a tensor says")
        return [fixed(site.shape[place]) if place == k else axis for k, axis in enumerate(data.axes)]
    axes = list(data.axes) if dim is not None else site.reshape(data.axes, [_elements(data)])
    place = int_of(dim) % len(data) if dim is not None else 0
    axes[place] = site.merge(axes[place], fixed(int_of(count)))
    return axes


def _elements(data: Labels) -> int:
    product = 1
    for length in data.shape:
        product *= length
    return product


@hookimpl
def secateur_op_rules() -> list[OpRule]:
    """Rules for stretching and repeating."""
    return [
        rule("expand broadcast_to", "input, *sizes|size", expand),
        rule("expand_as", "input, other", expand_as),
        rule("broadcast_tensors", "*tensors", broadcast_tensors),
        rule("meshgrid", "*tensors, indexing='ij'", meshgrid),
        rule("repeat tile", "input, *repeats|dims", repeat),
        rule("repeat_interleave", "input, repeats=None, dim=None, output_size=None", repeat_interleave),
    ]
