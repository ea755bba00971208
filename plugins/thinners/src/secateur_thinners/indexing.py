"""Taking some indices of an axis: slices, single indices, index tensors, masks, narrow, select; and writing to them.

Bounds are sizes: what lies before a bound must stay as long as the bound says. A literal bound therefore fixes what
lies before it (or, if negative, after it); a bound computed from the shape follows. Index tensors are numbers that
do not change, so what they point into stays; all other axes are carried.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from attrs import define, field

from secateur.coupling.labels import Axis, Labels, fixed
from secateur.coupling.site import Site, int_of, plain
from secateur.graph.ir import Opaque
from secateur.graph.sizes import Literal, Size
from secateur.hookspecs import hookimpl
from secateur.records import OpRule
from secateur_thinners.table import rule

POINTED = "it is indexed by a tensor or a list, which would not change with it"
BY_TENSOR = "the bound of a slice is a tensor"
OF_INPUT = "how much of it is read depends on the length of an input"
MASKS = ("bool", "uint8")
"""Types of index tensors that say which entries are taken, not where they are."""


@define(eq=False)
class Region:
    """What an index takes: an axis for each axis of the result (None: its length depends on values).

    `origins`: the axis of the data that each runs along, or None. `masked`: axes of the data that a mask lies over.
    `pointers`: where index tensors stand among the axes, each with its own axes.
    """

    axes: list[Axis | None] = field(factory=list)
    origins: list[int | None] = field(factory=list)
    masked: list[int] = field(factory=list)
    pointers: list[tuple[int, Sequence[Axis | None]]] = field(factory=list)

    def add(self, axis: Axis | None, origin: int | None = None) -> None:
        """One more axis of the result."""
        self.axes.append(axis)
        self.origins.append(origin)


def region(site: Site, data: Labels, over: bool = False) -> Region:
    """What `data[index]` is. `over`: a mask that lies over the data leaves together with it (else both stay).

    Index tensors are broadcast against each other; the axes of the result stand where they stood if they were
    neighbours, and in front otherwise. Integers are taken out first, so they part no neighbours.
    """
    entries = _entries(site)
    taken = sum(_axes_taken(site, entry) for entry in entries)
    if not any(entry is Ellipsis for entry in entries):
        entries.append(Ellipsis)
    over = over and sum(isinstance(entry, Labels | list) for entry in entries) == 1
    made, place = Region(), 0
    for entry in entries:
        count = len(data) - taken if entry is Ellipsis else _axes_taken(site, entry)
        if entry is None:
            made.add(fixed(1))
        elif entry is Ellipsis:
            for origin in range(place, place + count):
                made.add(data[origin], origin)
        elif isinstance(entry, slice):
            made.add(_sliced(site, data[place], entry), place)
        elif isinstance(entry, list):
            _listed(site, data.axes[place : place + count], entry, made)
        elif isinstance(entry, Labels):
            _pointed(site, data, range(place, place + count), entry, made, over)
        else:
            _picked(site, data[place], int_of(entry))
        place += count
    _place_pointers(site, made)
    return made


def _entries(site: Site) -> list[Any]:
    """The entries of an index; a list of numbers comes as a list, an index tensor as its labels."""
    raw = site.op.args[1] if len(site.op.args) > 1 else site.op.kwargs["index"]
    resolved = site["index"]
    pairs = zip(raw, resolved, strict=True) if isinstance(raw, tuple) else [(raw, resolved)]
    entries = [list(plain(entry)) if isinstance(given, list | tuple) else entry for given, entry in pairs]
    for entry in entries:
        if isinstance(entry, bool | Opaque) or (isinstance(entry, list) and not _numbers(entry)):
            raise NotImplementedError("it is indexed by a truth value, or by what is neither a tensor nor numbers")
        if isinstance(entry, Labels) and not len(entry) and site.graph.values[entry.name].dtype in MASKS:
            raise NotImplementedError("it is indexed by a truth value, or by what is neither a tensor nor numbers")
    return entries


def _numbers(nested: Any) -> bool:
    """Whether nested lists hold numbers only, and some."""
    if isinstance(nested, list | tuple):
        return bool(nested) and all(_numbers(entry) for entry in nested)
    return isinstance(nested, int)


def _axes_taken(site: Site, entry: Any) -> int:
    """How many axes of the data an entry takes: as many as a mask has, otherwise one."""
    if entry is None or entry is Ellipsis:
        return 0
    if isinstance(entry, Labels) and site.graph.values[entry.name].dtype in MASKS:
        return len(entry)
    return int(np.array(entry).ndim) if isinstance(entry, list) and np.array(entry).dtype.kind == "b" else 1


def _listed(site: Site, axes: Sequence[Axis], entry: list[Any], made: Region) -> None:
    """Numbers written in a list: what lies before the largest of them must stay (a mask: everything)."""
    numbers = np.array(entry)
    pointer: list[Axis | None]
    if numbers.dtype.kind == "b":
        for axis in axes:
            site.fix(axis, POINTED)
        pointer = [fixed(int(numbers.sum()))]
    else:
        pointer = [fixed(length) for length in numbers.shape]
        for bounds in (slice(numbers.max(initial=-1) + 1), slice(min(numbers.min(initial=0), 0) or len(axes[0]), None)):
            site.fix(axes[0].atoms[bounds], POINTED)
    made.pointers += [(len(made.axes), pointer)] * len(axes)


def _pointed(site: Site, data: Labels, places: range, entry: Labels, made: Region, over: bool) -> None:
    """A tensor of indices into one axis, or a mask over one or several."""
    is_mask = site.graph.values[entry.name].dtype in MASKS
    for place, own in zip(places, entry.axes, strict=False):
        if is_mask and over:
            site.tie(data[place], own)
            made.masked.append(place)
        elif is_mask:
            site.fix(own, POINTED)
    if not (is_mask and over):
        for place in places:
            site.fix(data[place], POINTED)
    if is_mask:
        made.pointers += [(len(made.axes), [None])] * len(places)
    elif len(entry):  # a tensor of one integer is an integer
        made.pointers.append((len(made.axes), entry.axes))


def _place_pointers(site: Site, made: Region) -> None:
    """Put the axes of the index tensors, broadcast against each other, where they belong."""
    if not made.pointers:
        return
    positions = {position for position, _ in made.pointers}
    start = positions.pop() if len(positions) == 1 else 0
    size = max(len(axes) for _, axes in made.pointers)
    result: list[Axis | None] = []
    for place in range(-size, 0):
        aligned = [axes[place] for _, axes in made.pointers if len(axes) >= -place]
        known = [axis for axis in aligned if axis is not None]
        length = max((len(axis) for axis in known), default=1)
        if len(known) < len(aligned) and length == 1:
            result.append(None)
            continue
        full = [axis for axis in known if len(axis) == length]
        joined = full[0]
        for axis in full[1:]:
            joined = site.tie(joined, axis)
        for axis in known:
            if len(axis) != length:
                site.fix(axis, "it is stretched over other indices")
        result.append(joined.nonzero())
    made.axes[start:start] = result
    made.origins[start:start] = [None] * len(result)


def getitem(site: Site) -> Sequence[Axis]:
    """`x[...]` with integers, slices, None, Ellipsis, index tensors, lists and masks."""
    taken = region(site, site["input"]).axes
    if len(taken) != len(site.shape):
        raise NotImplementedError("the form of this index is not known")
    return [fixed(length) if axis is None else axis for axis, length in zip(taken, site.shape, strict=True)]


def setitem(site: Site) -> Sequence[Axis]:
    """`x[...] = value`: what is written leaves together with what it replaces."""
    data, value = site["input"], site["value"]
    single = not isinstance(value, Labels) or not len(value)
    written = region(site, data, over=single)
    null = not isinstance(value, Labels) and plain(value) == 0
    zero = [axis.zero for axis in data.axes]
    for place in written.masked:
        zero[place] &= null
    given = [] if single else list(value.axes)[-len(written.axes) :]  # further axes in front are of length 1
    axes: list[Axis | None] = [None] * (len(written.axes) - len(given)) + given
    for axis, origin, target in zip(axes, written.origins, written.axes, strict=True):
        is_null = null
        if axis is not None and target is not None and len(axis) == len(target):
            is_null = axis.zero
            site.tie(target, axis)
        elif axis is not None:
            site.fix(axis, "it is stretched over other channels")
        if origin is not None:
            zero[origin] &= is_null
    return [Axis(axis.atoms, flag) for axis, flag in zip(data.axes, zero, strict=True)]


def _sliced(site: Site, axis: Axis, entry: slice) -> Axis | None:
    if any(isinstance(part, Labels) for part in (entry.start, entry.stop, entry.step)):
        site.fix(axis, BY_TENSOR)
        return None
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
    if bound is None:
        return
    number = int_of(bound)
    if number != len(axis) and site.varies(bound):
        site.fix(axis, OF_INPUT)
        return
    if number == 0:
        return
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
    if site.varies(start) or site.varies(length):
        site.fix(axis, OF_INPUT)
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


@hookimpl
def secateur_op_rules() -> list[OpRule]:
    """Rules for indexing."""
    return [
        rule("getitem", "input, index", getitem),
        rule("setitem", "input, index, value", setitem),
        rule("narrow narrow_copy", "input, dim, start, length", narrow),
        rule("select select_copy", "input, dim, index", select),
    ]
