"""What a pruner of units prunes: dims by name, or the dims in which the axes of named weights lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from attrs import frozen

from secateur.errors import PlanError
from secateur.pruning.base import Network, Place
from secateur.pruning.selection import matching

Structure = Literal["filters", "channels"]
AXES: Mapping[str, int] = {"filters": 0, "channels": 1}


@frozen
class Target:
    """A dim, by its position, and the places it is scored over; None: all of it."""

    dim: int
    places: tuple[Place, ...] | None = None


def by_dims(patterns: Sequence[str], network: Network) -> list[Target]:
    """The dims that globs over dim or parameter names match, in their order; each must match one.

    A pattern may match nothing once something was thinned: what it named may be down to its last unit.
    """
    found: set[int] = set()
    for pattern in patterns:
        try:
            found.update(matching(pattern, network.dims, f"dims {pattern!r}", network.staying))
        except PlanError:
            if not network.thinned:
                raise
    return [Target(i) for i in sorted(found)]


def by_weights(patterns: Sequence[str], structure: Structure, network: Network, leader: bool = False) -> list[Target]:
    """The dims in which the filters (axis 0) or channels (axis 1) of named weights lie, each with the places there.

    A dim that several weights share appears once, with all of them; with `leader` only with the first listed.
    Raises `PlanError` for a weight of which nothing can leave along that axis; a glob passes over such.
    """
    axis = AXES[structure]
    lies: dict[Place, list[int]] = {}
    for i, dim in enumerate(network.dims):
        for place, slices in dim.slices.items():
            if slices.size:
                lies.setdefault(place, []).append(i)
    found: dict[int, dict[Place, None]] = {}
    for pattern in patterns:
        names = network.resolve(pattern)
        lying = {name: lies.get((name, axis), []) for name in names}
        if not any(lying.values()) and not network.thinned:
            raise _refusal(names[0], structure, network, f"weights {pattern!r}")
        for name, dims in lying.items():
            for i in dims:
                found.setdefault(i, {})[name, axis] = None
    return [Target(i, tuple(found[i])[: 1 if leader else None]) for i in sorted(found)]


def _refusal(name: str, structure: Structure, network: Network, where: str) -> PlanError:
    axis, shape = AXES[structure], tuple(network.parameters[name].shape)
    if axis >= len(shape):
        return PlanError(f"{name!r} has no {structure}: its shape is {shape}", where=where)
    if axis == 0 and name in network.staying:
        return PlanError(f"{name!r} cannot be pruned: {network.staying[name]}", where=where)
    return PlanError(
        f"the {structure} of {name!r} (its axis {axis}) lie in no dim that can be pruned",
        where=where,
        hint="the refusals of secateur.plan(...) say what stays, and why",
    )
