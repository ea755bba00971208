"""Operations that only rearrange axes: reshape and its kin, permutations, squeezing, flipping, rolling, diagonals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from secateur.coupling.labels import Axis, Labels, fixed
from secateur.coupling.site import Site, int_of, plain
from secateur.graph.ir import Opaque
from secateur.graph.sizes import Attribute, Size
from secateur.hookspecs import hookimpl
from secateur.records import OpRule
from secateur_thinners.table import rule

ROLLED = "its entries are rolled by a number of places"
TRIANGLE = "which of its entries become zero depends on their places"
ORTHOGONAL = "torch.nn.utils.parametrizations._Orthogonal"
NEW = "requires_grad=False, layout=None, pin_memory=False"
OFFSET = "a diagonal is read off its places"


def reshape(site: Site) -> Sequence[Axis]:
    """The same elements in another shape; every size that is given must follow."""
    sizes = site["shape"]
    if any(isinstance(size, Opaque) for size in sizes):
        raise NotImplementedError("the elements are reinterpreted as another dtype")
    axes = site.reshape(site["input"].axes, site.shape)
    return [site.require(size, axis, "a size of this reshape") for size, axis in zip(sizes, axes, strict=True)]


def reshape_as(site: Site) -> Sequence[Axis]:
    """The same elements in the shape of another tensor: the axes of both leave together."""
    axes = site.reshape(site["input"].axes, site.shape)
    return [Axis(site.tie(a, b).atoms, a.zero) for a, b in zip(axes, site["other"].axes, strict=True)]


def flatten(site: Site) -> Sequence[Axis]:
    """Neighbouring axes become one (or the reverse, when `sizes` are given)."""
    return site.reshape(site["input"].axes, site.shape)


def squeeze(site: Site) -> Sequence[Axis]:
    """Axes of length 1 vanish; an axis that could shrink to 1 would vanish too, so it stays."""
    data = site["input"]
    named = [axis for axis in site["dim"] if axis is not None]
    for axis in [data[int_of(place)] for place in named] if named else data.axes:
        site.fix(axis, "it could shrink to 1 and be squeezed away")
    return site.reshape(data.axes, site.shape)


def unflatten(site: Site) -> Sequence[Axis]:
    """One axis becomes several; every size that is given must follow."""
    axes = site.reshape(site["input"].axes, site.shape)
    start = int(plain(site["dim"])) % len(site["input"])
    sizes = site["sizes"]
    for offset, size in enumerate(sizes):
        axes[start + offset] = site.require(size, axes[start + offset], "a size of this reshape")
    return axes


def permute(site: Site) -> Sequence[Axis]:
    """Axes in another order."""
    return [site["input"][int(axis)] for axis in plain(site["dims"])]


def transpose(site: Site) -> Sequence[Axis]:
    """Two axes change places."""
    axes = list(site["input"].axes)
    i, j = int(plain(site["dim0"])), int(plain(site["dim1"]))
    axes[i], axes[j] = axes[j], axes[i]
    return axes


def reverse_axes(site: Site) -> Sequence[Axis]:
    """All axes in reverse order (`x.T`, `x.t()`)."""
    return list(reversed(site["input"].axes))


def transpose_last(site: Site) -> Sequence[Axis]:
    """The last two axes change places (`x.mT`)."""
    axes = list(site["input"].axes)
    return [*axes[:-2], axes[-1], axes[-2]]


def movedim(site: Site) -> Sequence[Axis]:
    """Some axes move to other places, the rest keep their order."""
    axes = site["input"].axes
    sources, targets = _listed(site["source"]), _listed(site["destination"])
    moved = {target % len(axes): source % len(axes) for target, source in zip(targets, sources, strict=True)}
    rest = [axis for axis in range(len(axes)) if axis not in moved.values()]
    for target in sorted(moved):
        rest.insert(target, moved[target])
    return [axes[axis] for axis in rest]


def _listed(argument: Any) -> list[int]:
    value = plain(argument)
    return [int(entry) for entry in value] if isinstance(value, tuple) else [int(value)]


def flip(site: Site) -> Sequence[Axis]:
    """Some axes are read backwards."""
    axes = list(site["input"].axes)
    for dim in _listed(site["dims"]):
        axes[dim] = _backwards(axes[dim])
    return axes


def flip_one(site: Site) -> Sequence[Axis]:
    """`fliplr` and `flipud`: the second or the first axis is read backwards."""
    axes = list(site["input"].axes)
    place = int(site.op.kind == "fliplr")
    axes[place] = _backwards(axes[place])
    return axes


def rot90(site: Site) -> Sequence[Axis]:
    """A plane turned by quarters: an odd number exchanges its axes, and one of them is read backwards."""
    axes, quarters = list(site["input"].axes), int_of(site["k"]) % 4
    first, second = (place % len(axes) for place in _listed(site["dims"]))
    if quarters in (2, 3):
        axes[first] = _backwards(axes[first])
    if quarters in (1, 2):
        axes[second] = _backwards(axes[second])
    if quarters in (1, 3):
        axes[first], axes[second] = axes[second], axes[first]
    return axes


def _backwards(axis: Axis) -> Axis:
    return Axis(axis.atoms[::-1].copy(), axis.zero)


def view_as_complex(site: Site) -> Sequence[Axis]:
    """Pairs of numbers along the last axis become complex numbers."""
    data = site["input"]
    site.fix(data[-1], "its two entries are the parts of one complex number")
    return list(data.axes[:-1])


def view_as_real(site: Site) -> Sequence[Axis]:
    """Complex numbers become pairs of numbers along a new last axis."""
    return [*site["input"].axes, fixed(2)]


def roll(site: Site) -> Sequence[Axis]:
    """Entries move on by a number of places, so the axis stays; without `dims` all axes count as one."""
    axes, shifts = list(site["input"].axes), _listed(site["shifts"])
    dims = [] if site["dims"] is None else _listed(site["dims"])
    if not dims and any(shifts):
        return [site.fix(axis, ROLLED) for axis in axes]
    for shift, dim in zip(shifts, dims, strict=False):
        if shift:
            axes[dim] = site.fix(axes[dim], ROLLED)
    return axes


def triangle(site: Site) -> Sequence[Axis]:
    """`tril` and `triu`: which entries of a matrix become zero depends on their places."""
    axes = list(site["input"].axes)
    orthogonal = any(call.module == site.op.module and call.type == ORTHOGONAL for call in site.graph.calls)
    reason = "the rows and columns of an orthogonal matrix depend on one another" if orthogonal else TRIANGLE
    return [*axes[:-2], *(site.fix(axis, reason) for axis in axes[-2:])]


def diagonal(site: Site) -> Sequence[Axis]:
    """Two axes become one, at the end: entries of equal index leave together; off the main diagonal both stay."""
    axes = list(site["input"].axes)
    i, j = int_of(site["dim1"]) % len(axes), int_of(site["dim2"]) % len(axes)
    rest = [axis for place, axis in enumerate(axes) if place not in (i, j)]
    if int_of(site["offset"]) == 0 and len(axes[i]) == len(axes[j]):
        return [*rest, Axis(site.tie(axes[i], axes[j]).atoms, axes[i].zero or axes[j].zero)]
    for axis in (axes[i], axes[j]):
        site.fix(axis, OFFSET)
    return [*rest, fixed(site.shape[-1])]


def diag_embed(site: Site) -> Sequence[Axis]:
    """The last axis becomes the diagonal of a matrix, whose rows and columns leave together."""
    data, rank = site["input"], len(site.shape)
    axes = list(data.axes[:-1])
    own = data[-1] if int_of(site["offset"]) == 0 else site.fix(data[-1], OFFSET)
    for place in sorted((int_of(site["dim1"]) % rank, int_of(site["dim2"]) % rank)):
        axes.insert(place, own if len(own) == site.shape[place] else fixed(site.shape[place]))
    return axes


def diag(site: Site) -> Sequence[Axis]:
    """A matrix becomes its diagonal, a row the diagonal of a matrix."""
    data, straight = site["input"], int_of(site["diagonal"]) == 0
    if straight and len(data) == 1:
        return [data[0], data[0]]
    if straight and len(data[0]) == len(data[1]):
        return [Axis(site.tie(data[0], data[1]).atoms, data[0].zero or data[1].zero)]
    for axis in data.axes:
        site.fix(axis, OFFSET)
    return [fixed(length) for length in site.shape]


def atleast(site: Site) -> list[Sequence[Axis]]:
    """Axes of length 1 are added to those tensors that have too few."""
    tensors = site["tensors"]
    return [site.reshape(tensor.axes, shape) for tensor, shape in zip(tensors, site.shapes, strict=True)]


def new_tensor(site: Site) -> Sequence[Axis]:
    """A new tensor that takes only dtype and device from its input; numbers that it copies stay."""
    copied = site["data" if site.op.kind == "new_tensor" else "fill_value"]
    for tensor in copied if isinstance(copied, tuple) else (copied,):
        for axis in tensor.axes if isinstance(tensor, Labels) else ():
            site.fix(axis, f"its numbers are copied by {site.op.kind}")
    return [fixed(length).nonzero() for length in site.shape]


def new_filled(site: Site) -> Sequence[Axis]:
    """A new tensor of equal numbers: an axis that is as long as one of another tensor's leaves together with it.

    Zeros as many as an attribute says (a first state) have labels of their own: the attribute follows what they meet.
    """
    zero = site.op.kind.endswith("zeros")
    floating = site.graph.values[site.op.outputs[0]].dtype.startswith(("float", "bfloat", "complex"))
    made = []
    for size, length in zip(site["size"], site.shape, strict=True):
        followed = site.length_of(size) if floating else None  # integers may be places
        if followed is not None:
            made.append(site.require(size, Axis(followed.atoms, zero)))
        elif zero and floating and length > 1 and isinstance(size, Size) and isinstance(size.expr, Attribute):
            made.append(site.require(size, site.fresh(length, zero)))
        else:
            made.append(fixed(length, zero))
    return made


@hookimpl
def secateur_op_rules() -> list[OpRule]:
    """Rules for operations that rearrange axes."""
    return [
        rule("reshape view", "input, *shape", reshape),
        rule("reshape_as", "input, other", reshape_as),
        rule("flatten ravel", "input, start_dim=0, end_dim=-1", flatten),
        rule("unflatten", "input, dim, sizes", unflatten),
        rule("unsqueeze", "input, dim", flatten),
        rule("squeeze", "input, *dim", squeeze),
        rule("permute", "input, *dims", permute),
        rule("transpose", "input, dim0|axis0, dim1|axis1", transpose),
        rule("t T H", "input", reverse_axes),
        rule("mT mH adjoint", "input", transpose_last),
        rule("movedim", "input, source, destination", movedim),
        rule("view_as_complex", "input", view_as_complex),
        rule("view_as_real", "input", view_as_real),
        rule("flip", "input, *dims", flip),
        rule("fliplr flipud", "input", flip_one),
        rule("rot90", "input, k=1, dims=(0, 1)", rot90),
        rule("roll", "input, shifts, dims=()", roll),
        rule("tril triu", "input, diagonal=0", triangle),
        rule("diagonal linalg_diagonal", "input, offset=0, dim1=0, dim2=1", diagonal),
        rule("diag_embed", "input, offset=0, dim1=-2, dim2=-1", diag_embed),
        rule("diag", "input, diagonal=0", diag),
        rule("atleast_1d atleast_2d atleast_3d", "*tensors", atleast),
        rule("new_zeros new_ones new_empty", "input, *size, dtype=None, device=None, " + NEW, new_filled, True),
        rule("zeros ones empty", "*size, dtype=None, device=None, memory_format=None, " + NEW, new_filled, True),
        rule("new_full", "input, size, fill_value, dtype=None, device=None, " + NEW, new_tensor),
        rule("new_tensor", "input, data, dtype=None, device=None, " + NEW, new_tensor),
    ]
