"""Calls that read sizes: they answer with integers that remember their axis, and are not recorded.

Neither are calls that ask what kind of tensor one is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from secateur.graph.sizes import AxisLength
from secateur_builders.provenance import TrackedInt


class Names(Protocol):
    """Who knows which value a tensor stands for."""

    def name_of(self, tensor: Tensor) -> str:
        """The name of the value."""


def _lengths(names: Names, tensor: Tensor) -> tuple[TrackedInt, ...]:
    name = names.name_of(tensor)
    return tuple(TrackedInt(int(length), AxisLength(name, axis)) for axis, length in enumerate(tensor.shape))


def _shape(names: Names, func: Any, args: Any, kwargs: Any) -> Any:
    return torch.Size(_lengths(names, args[0]))


def _size(names: Names, func: Any, args: Any, kwargs: Any) -> Any:
    axis = args[1] if len(args) > 1 else kwargs.get("dim")
    lengths = _lengths(names, args[0])
    if axis is None:
        return torch.Size(lengths)
    func(*args, **kwargs)  # raises the usual error for an axis that is out of range
    return lengths[int(axis)]


def _told(names: Names, func: Any, args: Any, kwargs: Any) -> Any:
    return func(*args, **kwargs)


def _numel(names: Names, func: Any, args: Any, kwargs: Any) -> Any:
    product: Any = 1
    for length in _lengths(names, args[0]):
        product = product * length
    return product


SIZE_CALLS: Mapping[str, Callable[[Names, Any, Any, Any], Any]] = {
    "property:shape": _shape,
    "size": _size,
    "len": _told,  # it insists on a plain int
    "numel": _numel,
    "nelement": _numel,
    **dict.fromkeys(("dim", "ndimension", "is_floating_point", "is_complex"), _told),
    **dict.fromkeys(("property:ndim", "property:dtype", "property:device", "property:is_nested"), _told),
}
"""{call: how it is answered}, by normalised name."""
