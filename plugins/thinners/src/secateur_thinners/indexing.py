"""Taking some indices of an axis: slices, single indices, narrow, select.

Bounds are sizes: what lies before a bound must stay as long as the bound says. A literal bound therefore fixes what
lies before it (or, if negative, after it); a bound computed from the shape follows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from secateur.coupling.labels import Axis, Labels, fixed
from secateur.coupling.site import Site, int_of
from secateur.graph.ir import Opaque
from secateur.graph.sizes import Literal, Size
from secateur.hookspecs import hookimpl
from secateur.records import OpRule
from secateur_thinners.table import rule


def getitem(site: Site) -> Sequence[Axis]:
    """`x[...]` with integers, slices, None and Ellipsis; index tensors only on axes that stay."""
    data, index = site["input"], site["index"]
    entries = list(index) if isinstance(index, tuple) else [index]
    listed = any(isinstance(argument, list) for argument in site.op.args[1:])  # x[[0, 1]] is not x[0, 1]
    if listed or any(isinstance(entry, Labels | Opaque | tuple | bool) for entry in entries):
        return _advanced(site, data)
    taken = sum(1 for entry in entries if entry is not None and entry is not Ellipsis)
    if Ellipsis not in entries:
        entries.append(Ellipsis)
    place = 0
    made: list[Axis] = []
    for entry in entries:
        if entry is None:
            made.append(fixed(1))
        elif entry is Ellipsis:
            made += data.axes[place : place + len(data) - taken]
            place += len(data) - taken
        elif isinstance(entry, slice):
            made.append(_sliced(site, data[place], entry))
            place += 1
        else:
            _picked(site, data[place], int_of(entry))
            place += 1
    return made


def _advanced(site: Site, data: Labels) -> Sequence[Axis]:
    if any(axis.free for axis in data.axes):
        raise NotImplementedError("it is indexed by a tensor or a list")
    return [fixed(length).nonzero() for length in site.shape]


def _sliced(site: Site, axis: Axis, entry: slice) -> Axis:
    start, stop, step = (None if part is None else int_of(part) for part in (entry.start, entry.stop, entry.step))
    kept = axis.atoms[slice(start, stop, step)]
    if not axis.free:
        return Axis(kept, axis.zero)
    if step not in (None, 1):
        site.fix(axis, "it is read in steps")
        return fixed(len(kept))
    _bound(site, axis, entry.start)
    _bound(site, axis, entry.stop)
    return Axis(kept, axis.zero)


def _bound(site: Site, axis: Axis, bound: Any) -> None:
    """What lies before a bound (after it, if it is negative) must stay as long as it says."""
    if bound is None or isinstance(bound, Labels) or int_of(bound) == 0:
        return
    number = int_of(bound)
    if number >= len(axis):  # a literal beyond the end cuts nothing off, however short the axis becomes
        if number == len(axis) and isinstance(bound, Size) and not isinstance(bound.expr, Literal):
            site.require(bound, axis, "the bound of a slice")
    elif number > 0:
        site.require(bound, Axis(axis.atoms[:number]), "the bound of a slice")
    else:
        site.fix(axis.atoms[number:], "the bound of a slice is counted from the end")


def _picked(site: Site, axis: Axis, index: int) -> None:
    before = axis.atoms[: index + 1] if index >= 0 else axis.atoms[index:]
    site.fix(before, f"index {index} is taken out of it")


def narrow(site: Site) -> Sequence[Axis]:
    """`length` indices from `start` on."""
    axes, place = list(site["input"].axes), int_of(site["dim"])
    start, length = site["start"], site["length"]
    if isinstance(start, Labels):
        raise NotImplementedError("it is narrowed by a tensor")
    axis, first = axes[place], int_of(start) % max(len(axes[place]), 1)
    if (first, int_of(length)) != (0, len(axis)):
        _bound(site, axis, start)
        site.require(length, Axis(axis.atoms[first : first + int_of(length)]), "the length of a slice")
    axes[place] = Axis(axis.atoms[first : first + int_of(length)], axis.zero)
    return axes


def select(site: Site) -> Sequence[Axis]:
    """One index of one axis."""
    data = site["input"]
    place = int_of(site["dim"]) % len(data)
    _picked(site, data[place], int_of(site["index"]))
    return [axis for other, axis in enumerate(data.axes) if other != place]


def index_select(site: Site) -> Sequence[Axis]:
    """Some indices of one axis, which stays; the other axes are carried."""
    axes, place = list(site["input"].axes), int_of(site["dim"]) % len(site["input"])
    site.fix(axes[place], "indices are taken out of it")
    axes[place] = Axis(np.zeros(site.shape[place], np.int64))
    return axes


@hookimpl
def secateur_op_rules() -> list[OpRule]:
    """Rules for indexing."""
    return [
        rule("getitem", "input, index", getitem),
        rule("narrow", "input, dim, start, length", narrow),
        rule("select", "input, dim, index", select),
        rule("index_select", "input, dim, index", index_select),
    ]
