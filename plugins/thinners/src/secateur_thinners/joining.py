"""Putting tensors together and taking them apart: concatenation, stacking, chunks, splits, padding.

Concatenation concatenates vectors of atoms, splitting slices them. Equal parts must stay equal, so they are tied.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from secateur.coupling.labels import Axis, Labels, fixed
from secateur.coupling.site import Site, int_of, plain
from secateur.graph.sizes import Size
from secateur.hookspecs import hookimpl
from secateur.records import OpRule
from secateur_thinners.table import rule


def cat(site: Site) -> Sequence[Axis]:
    """Tensors one after another along one axis; all other axes leave together."""
    tensors: tuple[Labels, ...] = site["tensors"]
    if len({len(tensor) for tensor in tensors}) > 1:
        raise NotImplementedError("tensors of different numbers of axes are concatenated")
    along = int(plain(site["dim"])) % len(tensors[0])
    made = []
    for place, axes in enumerate(zip(*(tensor.axes for tensor in tensors), strict=True)):
        if place == along:
            zero = all(axis.zero for axis in axes if axis.free)
            made.append(Axis(np.concatenate([axis.atoms for axis in axes]), zero))
        else:
            made.append(_together(site, axes))
    return made


def stack(site: Site) -> Sequence[Axis]:
    """Tensors side by side along a new axis."""
    tensors: tuple[Labels, ...] = site["tensors"]
    made = [_together(site, [tensor[place] for tensor in tensors]) for place in range(len(tensors[0]))]
    made.insert(int(plain(site["dim"])) % (len(made) + 1), fixed(len(tensors)))
    return made


def _together(site: Site, axes: Sequence[Axis]) -> Axis:
    result = axes[0]
    for axis in {id(axis.atoms): axis for axis in axes[1:]}.values():  # axes that stay are all of one label
        result = site.tie(result, axis)
    return Axis(result.atoms, all(axis.zero for axis in axes), free=result.free)


def chunk(site: Site) -> list[Sequence[Axis]]:
    """A number of equal parts: they must stay equal."""
    data, along = site["input"], int(plain(site["dim"]))
    axis = data[along]
    parts = _parts(site, axis, [shape[along] for shape in site.shapes])
    if axis.free and len({len(part) for part in parts}) > 1:
        parts = _stay(site, axis, parts, "it is cut into parts of unequal length")
    elif len(parts) > 1 and len(parts) != plain(site["chunks"]):
        parts = _stay(site, axis, parts, "it is cut into fewer parts than asked for")
    return _replaced(data, along, _equal(site, parts))


def split(site: Site) -> list[Sequence[Axis]]:
    """Parts of one size (the last may be shorter), or of a list of sizes."""
    data, along, sizes = site["input"], int(plain(site["dim"])), site["split_size"]
    axis = data[along]
    parts = _parts(site, axis, [shape[along] for shape in site.shapes])
    if isinstance(sizes, tuple):
        parts = [site.require(size, part, "the size of a part") for size, part in zip(sizes, parts, strict=True)]
        return _replaced(data, along, parts)
    if len(parts) == 1 and int_of(sizes) > len(axis):
        return _replaced(data, along, parts)
    if axis.free and len({len(part) for part in parts}) > 1:
        parts = _stay(site, axis, parts, "it is cut into parts of unequal length")
    parts = [site.require(sizes, part, "the size of a part") for part in _equal(site, parts)]
    return _replaced(data, along, parts)


def glu(site: Site) -> Sequence[Axis]:
    """The first half of an axis times the sigmoid of the second: the halves leave together."""
    data, along = site["input"], int(plain(site["dim"])) % len(site["input"])
    axis = data[along]
    first, second = _parts(site, axis, [len(axis) // 2] * 2)
    return [*data.axes[:along], Axis(site.tie(first, second).atoms, axis.zero), *data.axes[along + 1 :]]


def tensor_split(site: Site) -> list[Sequence[Axis]]:
    """A number of parts, as `chunk`; places to cut at are not followed."""
    data, along = site["input"], int(plain(site["dim"]))
    axis = data[along]
    parts = _parts(site, axis, [shape[along] for shape in site.shapes])
    if not isinstance(site["sections"], Size) or len({len(part) for part in parts}) > 1:
        parts = _stay(site, axis, parts, "it is cut at given places")
    return _replaced(data, along, _equal(site, parts))


def unbind(site: Site) -> list[Sequence[Axis]]:
    """Each index becomes a tensor of its own, so their number stays."""
    data, along = site["input"], int(plain(site["dim"])) % len(site["input"])
    site.fix(data[along], "each index becomes a tensor of its own")
    rest = [axis for place, axis in enumerate(data.axes) if place != along]
    return [rest for _ in site.shapes]


def _parts(site: Site, axis: Axis, lengths: Sequence[int]) -> list[Axis]:
    bounds = np.cumsum([0, *lengths])
    return [Axis(axis.atoms[start:stop], axis.zero) for start, stop in pairwise(bounds)]


def _stay(site: Site, axis: Axis, parts: Sequence[Axis], reason: str) -> list[Axis]:
    site.fix(axis, reason)
    return [fixed(len(part)) for part in parts]


def _equal(site: Site, parts: Sequence[Axis]) -> list[Axis]:
    if len({len(part) for part in parts}) == 1:
        for part in parts[1:]:
            site.tie(parts[0], part)
    return list(parts)


def _replaced(data: Labels, along: int, parts: Sequence[Axis]) -> list[Sequence[Axis]]:
    along %= len(data)
    return [[*data.axes[:along], part, *data.axes[along + 1 :]] for part in parts]


def pad(site: Site) -> Sequence[Axis]:
    """New entries at both ends of the last axes; padded channels are constant, so they stay."""
    data, amounts = site["input"], plain(site["pad"])
    value = site["value"] or 0
    constant = site["mode"] == "constant"
    axes = [axis if constant and value == 0 else axis.nonzero() for axis in data.axes]
    if not constant:
        axes = list(data.axes)  # reflected or repeated zeros are zero
    for position in range(len(amounts) // 2):
        left, right = amounts[2 * position : 2 * position + 2]
        place = len(axes) - 1 - position
        axes[place] = _padded(site, axes[place], left, right, constant, site.shape[place])
    return axes


def _padded(site: Site, axis: Axis, left: int, right: int, constant: bool, length: int) -> Axis:
    if (left, right) == (0, 0):
        return axis
    if not axis.free:
        return fixed(length)
    if not constant or left < 0 or right < 0:
        site.fix(axis, "it is padded by its own entries, or cropped")
        return fixed(length)
    atoms = np.concatenate([np.zeros(left, np.int64), axis.atoms, np.zeros(right, np.int64)])
    return Axis(atoms, axis.zero)


@hookimpl
def secateur_op_rules() -> list[OpRule]:
    """Rules for joining and cutting tensors."""
    return [
        rule("cat", "tensors, dim|axis=0", cat),
        rule("stack", "tensors, dim|axis=0", stack),
        rule("chunk", "input, chunks, dim=0", chunk),
        rule("split split_with_sizes", "input|tensor, split_size|split_size_or_sections|split_sizes, dim=0", split),
        rule("glu", "input, dim=-1", glu),
        rule("tensor_split", "input, sections|indices_or_sections|indices, dim=0", tensor_split),
        rule("unbind", "input, dim=0", unbind),
        rule("pad", "input, pad, mode='constant', value=None", pad),
    ]
