"""Operations that only rearrange axes: reshape and its kin, permutations, squeezing, expanding, repeating, flipping."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from secateur.coupling.labels import Axis, fixed
from secateur.coupling.site import Site, int_of, plain
from secateur.graph.ir import Opaque
from secateur.hookspecs import hookimpl
from secateur.records import OpRule
from secateur_thinners.table import rule


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


def expand(site: Site) -> Sequence[Axis]:
    """Axes of length 1 are stretched; the others keep their length."""
    data, sizes = site["input"], site["sizes"]
    missing = len(site.shape) - len(data)
    made = [fixed(length) for length in site.shape[:missing]]
    for axis, size, length in zip(data.axes, sizes[missing:], site.shape[missing:], strict=True):
        made.append(_stretched(site, axis, length, size))
    return made


def expand_as(site: Site) -> Sequence[Axis]:
    """Axes of length 1 are stretched to those of another tensor; equal axes leave together."""
    data, other = site["input"], site["other"]
    missing = len(other) - len(data)
    made = [fixed(length) for length in site.shape[:missing]]
    for axis, target in zip(data.axes, other.axes[missing:], strict=True):
        if len(axis) == len(target):
            made.append(Axis(site.tie(axis, target).atoms, axis.zero))
        else:
            site.fix(target, "its length is copied by expand_as")
            made.append(_stretched(site, axis, len(target), None))
    return made


def _stretched(site: Site, axis: Axis, length: int, size: Any) -> Axis:
    if len(axis) == length:
        return site.require(size, axis, "a size of this expansion")
    site.fix(axis, "it is stretched over other channels")
    return fixed(length)


def repeat(site: Site) -> Sequence[Axis]:
    """Each axis is repeated as a whole, some number of times; `tile` may leave out counts of the first axes."""
    data, counts = site["input"], _listed(site["repeats"])
    counts = [1] * (len(data) - len(counts)) + counts
    missing = len(counts) - len(data)
    made = [fixed(count) for count in counts[:missing]]
    return made + [site.merge(fixed(count), axis) for count, axis in zip(counts[missing:], data.axes, strict=True)]


def flip(site: Site) -> Sequence[Axis]:
    """Some axes are read backwards."""
    axes = list(site["input"].axes)
    for dim in _listed(site["dims"]):
        axes[dim] = Axis(axes[dim].atoms[::-1].copy(), axes[dim].zero)
    return axes


def new_tensor(site: Site) -> Sequence[Axis]:
    """A new tensor that takes only dtype and device from its input."""
    return [fixed(length).nonzero() for length in site.shape]


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
        rule("expand broadcast_to", "input, *sizes|size", expand),
        rule("expand_as", "input, other", expand_as),
        rule("repeat tile", "input, *repeats|dims", repeat),
        rule("flip", "input, *dims", flip),
        rule(
            "new_zeros new_ones new_empty new_full new_tensor",
            "input, *size, dtype=None, device=None, requires_grad=False, layout=None, fill_value=None, "
            "pin_memory=False",
            new_tensor,
        ),
    ]
