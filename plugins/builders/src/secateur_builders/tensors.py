"""Tensors within nested arguments, and what can be told of one tensor: its memory, its version, its numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from secateur_builders.provenance import TrackedInt

LARGEST_CONSTANT = 1_000_000
"""Integer constants with more elements than this are not kept as data."""


def tensors_of(nested: Any) -> Iterator[Tensor]:
    """The tensors in nested tuples, lists, dicts and slices, in order."""
    if isinstance(nested, Tensor):
        yield nested
    elif isinstance(nested, Mapping):
        for entry in nested.values():
            yield from tensors_of(entry)
    elif isinstance(nested, tuple | list):
        for entry in nested:
            yield from tensors_of(entry)
    elif isinstance(nested, slice):
        yield from tensors_of((nested.start, nested.stop, nested.step))


PLAIN = frozenset({int, bool, float, str, type(None), TrackedInt, torch.dtype, torch.device})
"""Types of arguments that hold no tensor."""


def collect(entries: Iterable[Any], found: list[Tensor]) -> None:
    """Append the tensors in nested tuples, lists, dicts and slices to a list, in order: a faster `tensors_of`."""
    for entry in entries:
        kind = type(entry)
        if kind in PLAIN:
            continue
        if isinstance(entry, Tensor):
            found.append(entry)
        elif isinstance(entry, tuple | list):
            collect(entry, found)
        elif isinstance(entry, Mapping):
            collect(entry.values(), found)
        elif isinstance(entry, slice):
            collect((entry.start, entry.stop, entry.step), found)


def map_nested(function: Callable[[Any], Any], nested: Any) -> Any:
    """The same nesting with a function applied to every entry."""
    if isinstance(nested, Mapping):
        return {key: map_nested(function, entry) for key, entry in nested.items()}
    if isinstance(nested, tuple | list):
        mapped = [map_nested(function, entry) for entry in nested]
        return mapped if type(nested) is list else tuple(mapped)
    if isinstance(nested, slice):
        return slice(*(map_nested(function, part) for part in (nested.start, nested.stop, nested.step)))
    return function(nested)


def to_meta(argument: Any) -> Any:
    """A tensor without its data; anything else as it is."""
    return argument.to("meta") if isinstance(argument, Tensor) and not argument.is_meta else argument


def version_of(tensor: Tensor) -> int | None:
    """How often a tensor was changed in place; None where torch does not count (inference mode)."""
    return None if tensor.is_inference() else tensor._version


def storage_of(tensor: Tensor) -> int:
    """What tells whether tensors share memory; a tensor without one memory of its own (a sparse one) shares none."""
    try:
        return int(tensor.untyped_storage()._cdata)
    except (NotImplementedError, RuntimeError):
        return -id(tensor)


def numbers_of(tensor: Tensor) -> np.ndarray[Any, Any] | None:
    """The numbers of a small tensor of integers or booleans; None for any other."""
    if tensor.is_meta or tensor.is_floating_point() or tensor.is_complex() or tensor.numel() > LARGEST_CONSTANT:
        return None
    numbers: np.ndarray[Any, Any] = tensor.detach().cpu().numpy().copy()
    return numbers
