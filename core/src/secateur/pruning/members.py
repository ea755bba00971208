"""The members of a dim: each parameter its units lie in, with ways to reduce the units' elements to one number each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import define, field

if TYPE_CHECKING:
    from torch import Tensor

Array = np.ndarray[Any, Any]
SumCache = dict[tuple[str, int, Any], "Tensor"]

CHUNK = 1 << 20
"""Elements that are reduced at once: four megabytes of float32."""


@define(eq=False)  # not frozen: there are thousands, and it takes three times as long to make one that is
class Member:
    """One parameter of a dim: unit u consists of the slices `indices[u]` of `axis` of `tensor`.

    `reads`: whether the parameter reads the units (input columns) rather than writes them (filters). `len(member)`
    is the number of units.
    """

    name: str
    axis: int
    tensor: Tensor
    indices: Array
    reads: bool
    _cache: SumCache = field(factory=dict)

    def __len__(self) -> int:
        return len(self.indices)

    def sum_of(self, function: Callable[[Tensor], Tensor]) -> Array:
        """Sum `function(element)` over all elements of each unit; float64, shape (units,).

        The function must be pointwise and one object per meaning (`torch.abs`): results are shared between dims.
        """
        key = (self.name, self.axis, function)
        if key not in self._cache:
            self._cache[key] = axis_sums(self.tensor.detach(), self.axis, function)
        sums = self._cache[key].numpy()
        return sums[self.indices[:, 0]] if self.indices.shape[1] == 1 else sums[self.indices].sum(axis=1)

    def matrix(self) -> Tensor:
        """The elements of each unit, as a matrix of shape (units, elements per unit)."""
        import torch

        index = torch.from_numpy(np.ascontiguousarray(self.indices)).reshape(-1).to(self.tensor.device)
        picked = self.tensor.detach().index_select(self.axis, index).movedim(self.axis, 0)
        return picked.reshape(len(self.indices), -1)


def axis_sums(tensor: Tensor, axis: int, function: Callable[[Tensor], Tensor]) -> Tensor:
    """Sum `function(element)` over all other axes of a tensor: float64 on the CPU, shape (length of the axis,).

    Large tensors are taken in chunks that stay in the processor's cache: what the function makes of them is never
    written to memory, and little is allocated.
    """
    import torch

    others = [other for other in range(tensor.dim()) if other != axis]
    if tensor.numel() <= CHUNK:
        return _sum(function(tensor), others)
    step = max(CHUNK * tensor.shape[0] // tensor.numel(), 1)
    total, inner = torch.zeros(tensor.shape[axis], dtype=torch.float64), others[axis:]
    for start in range(0, tensor.shape[0], step):  # nothing made here outlives its turn: memory is used again
        chunk = tensor[start : start + step]
        if axis == 0:
            total[start : start + step] = _sum(function(chunk), others)
        elif inner:  # torch is slow at summing over both sides of an axis at once
            total += _sum(_sum(function(chunk), inner), others[:axis])
        else:
            total += _sum(function(chunk), others)
    return total


def _sum(values: Tensor, axes: list[int]) -> Tensor:
    import torch

    wide = torch.float64 if values.dtype == torch.float64 else torch.float32
    return (values.sum(axes, dtype=wide) if axes else values).to("cpu", torch.float64)


def members_of(
    slices: Mapping[tuple[str, int], Array],
    readers: frozenset[tuple[str, int]],
    parameters: Mapping[str, Tensor],
    cache: SumCache | None = None,
) -> list[Member]:
    """The members of a dim that are parameters (buffers do not count)."""
    shared: SumCache = {} if cache is None else cache
    return [
        Member(key[0], key[1], parameters[key[0]], indices, key in readers, shared)
        for key, indices in slices.items()
        if key[0] in parameters
    ]


def filters(members: list[Member]) -> list[Member]:
    """The members a magnitude criterion looks at: weights of two axes and more that write the units.

    Without any such weight: all that write; without these: all.
    """
    written = [member for member in members if not member.reads]
    return [m for m in written if m.tensor.dim() > 1] or written or members
