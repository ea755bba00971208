"""Reading and writing at places that an index tensor gives along one axis: gather, scatter, index_add and their kin.

The axis that is pointed into stays, since the index tensor does not change. All other axes are carried. `gather` and
`scatter` read an index for every element, so their index must span the other axes: it follows if it was stretched over
them by a size that follows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from secateur.coupling.binding import bind
from secateur.coupling.labels import Axis, Labels, fixed
from secateur.coupling.site import Site, int_of, plain
from secateur.graph.sizes import Literal, Size
from secateur.hookspecs import hookimpl
from secateur.records import OpRule
from secateur_thinners.table import rule

POINTED = "an index tensor points into it"
ONE_ROW = "its elements are read as one long row by an index tensor"
PARTLY = "an index tensor spans it only in part"
UNSPANNED = "an index tensor spans it whose size does not follow"
STRETCHED = {
    "expand": "input, *sizes|size",
    "broadcast_to": "input, *sizes|size",
    "repeat": "input, *sizes|repeats",
    "tile": "input, *sizes|dims",
}
"""Operations that stretch axes of length 1 to given sizes, and how they are called."""
SAME_SHAPE = ("contiguous", "clone", "to", "long", "detach")


def gather(site: Site) -> Sequence[Axis]:
    """out[i, j] = x[index[i, j], j] for axis 0: it has the shape of the index."""
    data, index = site["input"], site["index"]
    along = int_of(site["dim"]) % max(len(data), 1)
    if len(index) != len(data):
        raise NotImplementedError("the index tensor has another number of axes")
    made = []
    for place, axis in enumerate(data.axes):
        if place == along:
            site.fix(axis, POINTED)
            made.append(index[place].nonzero())
        else:
            made.append(_spanned(site, axis, index, place))
    return made


def take_along_dim(site: Site) -> Sequence[Axis]:
    """As `gather`, but the index and the data are broadcast against each other on all other axes."""
    data, index = site["input"], site["index"]
    if site["dim"] is None:
        raise NotImplementedError(ONE_ROW)
    along = int_of(site["dim"]) % len(data)
    made = []
    for place, axis in enumerate(data.axes):
        own = index[place]
        if place == along:
            site.fix(axis, POINTED)
            made.append(own.nonzero())
        elif len(own) == 1:
            made.append(axis)
        elif len(axis) == 1:
            made.append(Axis(own.atoms, zero=False))
        else:
            made.append(_spanned(site, axis, index, place))
    return made


def scatter(site: Site) -> Sequence[Axis]:
    """out[index[i, j], j] = source[i, j] for axis 0, or + source[i, j]; elsewhere the data."""
    data, index, source = site["input"], site["index"], site["source"]
    along = int_of(site["dim"]) % max(len(data), 1)
    labelled = isinstance(source, Labels)
    made = []
    for place, axis in enumerate(data.axes):
        if place == along:
            for pointed in (axis, index[place], *([source[place]] if labelled else [])):
                site.fix(pointed, POINTED)
            made.append(Axis(axis.atoms))
            continue
        spanned = _spanned(site, axis, index, place)
        null = not labelled and plain(source) == 0
        if labelled and len(source[place]) == len(axis) == len(spanned):
            site.tie(axis, source[place])
            null = source[place].zero
        elif labelled:
            site.fix(source[place], PARTLY)
        made.append(Axis(axis.atoms, axis.zero and null))
    return made


def _spanned(site: Site, axis: Axis, index: Labels, place: int) -> Axis:
    """The axis of the data along which an index tensor runs beside it."""
    own = index[place]
    if len(own) != len(axis):
        site.fix(axis, PARTLY)
        site.fix(own, PARTLY)
        return fixed(len(own))
    if own.free:
        return Axis(site.tie(axis, own).atoms, axis.zero)
    size = _stretching(site, index.name, place - len(index))
    if size is not None and isinstance(size, Size) and not isinstance(size.expr, Literal):
        return site.require(size, axis, "a size of the index tensor")
    return site.fix(axis, UNSPANNED) if axis.free else axis


def _stretching(site: Site, name: str, place: int) -> Any:
    """The size to which one axis of a tensor was stretched just before this call alone read it; None if it was not.

    `place` counts axes from the end.
    """
    graph = site.graph
    reader = site.op
    while name in graph.producer and name not in graph.outputs:
        if [op.name for op in graph.consumers[name]] != [reader.name]:
            return None
        reader = graph.producer[name]
        if reader.kind not in (*SAME_SHAPE, *STRETCHED) or reader.overwrites:
            return None
        name = reader.inputs[0]
        if reader.kind in STRETCHED:
            before = graph.values[name].shape
            sizes = bind(reader, STRETCHED[reader.kind])["sizes"]
            stretched = len(before) < -place or before[place] == 1
            return sizes[place] if stretched and len(sizes) >= -place else None
    return None


def index_select(site: Site) -> Sequence[Axis]:
    """Some indices of one axis, which stays; the other axes are carried."""
    axes, index = list(site["input"].axes), site["index"]
    place = int_of(site["dim"]) % len(axes)
    site.fix(axes[place], "indices are taken out of it")
    axes[place] = index[0].nonzero() if len(index) else fixed(1)
    return axes


def index_write(site: Site) -> Sequence[Axis]:
    """The slices of a source are written (or added) at some indices of one axis, which stays."""
    data, source = site["input"], site["source"]
    if len(source) != len(data):
        raise NotImplementedError("what is written has another number of axes")
    along = int_of(site["dim"]) % len(data)
    made = []
    for place, (axis, own) in enumerate(zip(data.axes, source.axes, strict=True)):
        if place == along:
            site.fix(axis, POINTED)
            site.fix(own, POINTED)
            made.append(axis)
        else:
            site.tie(axis, own)
            made.append(Axis(axis.atoms, axis.zero and own.zero))
    return made


def index_fill(site: Site) -> Sequence[Axis]:
    """A number is written at some indices of one axis, which stays."""
    data, value = site["input"], site["value"]
    along = int_of(site["dim"]) % len(data)
    site.fix(data[along], POINTED)
    null = not isinstance(value, Labels) and plain(value) == 0
    return [axis if null else axis.nonzero() for axis in data.axes]


def _refused(reason: str) -> Callable[[Site], Any]:
    """The rule of operations that cannot be followed, for one reason."""

    def apply(site: Site) -> Any:
        raise NotImplementedError(reason)

    return apply


@hookimpl
def secateur_op_rules() -> list[OpRule]:
    """Rules for reading and writing at given places."""
    written = "input, dim, index, source|src|value, reduce=None, include_self=True"
    return [
        rule("gather", "input, dim, index, sparse_grad=False", gather),
        rule("take_along_dim", "input, index|indices, dim=None", take_along_dim),
        rule("scatter scatter_add scatter_reduce", written, scatter),
        rule("index_select", "input, dim, index", index_select),
        rule(
            "index_add index_copy index_reduce",
            "input, dim, index, source|tensor, reduce=None, alpha=1, include_self=True",
            index_write,
        ),
        rule("index_fill", "input, dim, index, value", index_fill),
        rule("take put", "*args, accumulate=False", _refused(ONE_ROW)),
        rule(
            "masked_select masked_scatter nonzero nonzero_static argwhere bincount histc",
            "*args, size=None, fill_value=None, as_tuple=False, bins=None, min=None, max=None, minlength=None",
            _refused("how many entries are taken depends on values"),
        ),
        rule(
            "index_put",
            "input, indices, values, accumulate=False",
            _refused("values are written at places that tensors give"),
        ),
    ]
