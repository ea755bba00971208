"""What a regularizer looks up in a network once, and not at every mini-batch: parameters by pattern, units of dims."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
from attrs import define, frozen

from secateur.errors import PlanError
from secateur.pruning.base import Array, Network
from secateur.pruning.members import CHUNK
from secateur.pruning.selection import matching
from secateur.pruning.weights import told

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")
V = TypeVar("V")


@define(eq=False)
class Remembered(Generic[T]):
    """One thing that was found in a network; found anew when the network has changed."""

    _dims: Sequence[Any] | None = None
    _names: tuple[str, ...] = ()
    _found: T | None = None

    def of(self, network: Network, find: Callable[[Network], T]) -> T:
        """What `find(network)` gives, or gave for the same dims and parameters."""
        dims, names = network.dims, tuple(network.parameters)
        if self._found is None or self._dims is not dims or self._names != names:
            self._found = find(network)
            self._dims, self._names = dims, names
        return self._found


def by_parameter(named: Mapping[str, V], network: Network) -> dict[str, V]:
    """{parameter: what `reg_regims` says of it, by names and globs}; see `secateur.pruning.weights.told`."""
    return told(network, named, "reg_regims")


@frozen(eq=False)
class Slices:
    """The slices of a dim along one axis of a parameter; unit u has those at `index[u]`, or at u if `index` is None.

    `reads`: whether the parameter reads the units rather than writes them.
    """

    parameter: str
    axis: int
    index: Tensor | None
    reads: bool

    def norms(self, norms: Tensor) -> Tensor:
        """The norms of each unit's slices, shape (units, slices per unit), of those of all, shape (length,)."""
        return norms[:, None] if self.index is None else norms[self.index.to(norms.device)]


@frozen(eq=False)
class UnitsOf:
    """A dim as a regularizer needs it: `position`, the slices in parameters, and a name for each unit."""

    position: int
    name: str
    slices: tuple[Slices, ...]
    names: tuple[str, ...]
    """Of each unit, for `Network.memory`."""

    def __len__(self) -> int:
        return len(self.names)


def units_of(position: int, network: Network) -> UnitsOf:
    """Look at one dim of a network."""
    dim = network.dims[position]
    parameters = network.parameters
    slices = tuple(
        Slices(name, axis, _index(indices, parameters[name], axis), (name, axis) in dim.readers)
        for (name, axis), indices in dim.slices.items()
        if name in parameters
    )
    return UnitsOf(position, dim.name, slices, tuple(f"{dim.name}:{unit}" for unit in range(len(dim))))


def _index(indices: Array, parameter: Tensor, axis: int) -> Tensor | None:
    import torch

    if indices.shape == (parameter.shape[axis], 1) and np.array_equal(indices[:, 0], np.arange(len(indices))):
        return None
    return torch.from_numpy(np.ascontiguousarray(indices)).to(parameter.device)


def targets(patterns: str | Sequence[str], network: Network) -> list[int]:
    """The positions of the dims that globs match, in order; one that matches nothing is a `PlanError`.

    After something was thinned a pattern may match nothing: what it named is down to its last unit.
    """
    found: set[int] = set()
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        try:
            found.update(matching(pattern, network.dims, f"dims {pattern!r}", network.staying))
        except PlanError:
            if not network.thinned:
                raise
    return sorted(found)


def slice_norms(parameter: Tensor, axis: int) -> Tensor:
    """The Euclidean norm of each slice of an axis, shape (length,); its gradient is zero where a slice is zero."""
    import torch

    if parameter.dim() == 1:
        return parameter.abs()
    norms: Tensor
    if parameter.device.type == "cpu" and parameter.numel() > CHUNK:
        from secateur_pruners.regularizers.slice_norms import SliceNorms

        norms = SliceNorms.apply(parameter, axis)  # type: ignore[no-untyped-call]
    else:
        others = [other for other in range(parameter.dim()) if other != axis]
        norms = torch.linalg.vector_norm(parameter, dim=others)
    return norms


def unit_norms(dims: Sequence[UnitsOf], parameters: Mapping[str, Tensor]) -> list[Tensor]:
    """The Euclidean norm of all coupled slices of each unit, shape (units,) for each dim.

    An element that lies in two slices of a unit, of different axes, counts twice.
    """
    import torch

    known: dict[tuple[str, int], Tensor] = {}

    def norms(each: Slices) -> Tensor:
        place = (each.parameter, each.axis)
        if place not in known:
            known[place] = slice_norms(parameters[each.parameter], each.axis)
        return each.norms(known[place])

    return [torch.linalg.vector_norm(torch.cat([norms(s) for s in dim.slices], 1), dim=1) for dim in dims]


def zero_like(network: Network) -> Tensor:
    """A loss of nothing, of the parameters' device and type."""
    return next(iter(network.parameters.values())).new_zeros(()).requires_grad_()
