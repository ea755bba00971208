"""Find what lies within nested values: tensors in whatever a model takes or returns, leaves of recorded arguments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

PLAIN = (bool, int, float, complex, str, bytes, type(None))
DEEPEST = 8
"""Objects nested deeper than this are not looked into."""


def tensors_in(nested: Any) -> tuple[list[Tensor], bool]:
    """The tensors of a nested value in order, once each, and whether an object was met that is no plain container."""
    import torch
    from torch.utils import _pytree as pytree

    found: dict[int, Tensor] = {}
    seen: set[int] = set()
    opaque = False

    def visit(value: Any, depth: int) -> None:
        nonlocal opaque
        for leaf in pytree.tree_leaves(value):
            if isinstance(leaf, torch.Tensor):
                found.setdefault(id(leaf), leaf)
            elif not isinstance(leaf, PLAIN) and id(leaf) not in seen:
                opaque = True
                seen.add(id(leaf))
                if depth < DEEPEST:
                    visit(_held(leaf), depth + 1)

    visit(nested, 0)
    return list(found.values()), opaque


def _held(value: Any) -> list[Any]:
    if isinstance(value, set | frozenset):
        return list(value)
    slots = [name for kind in type(value).__mro__ for name in _names(getattr(kind, "__slots__", ()))]
    return [*getattr(value, "__dict__", {}).values(), *(getattr(value, name) for name in slots if hasattr(value, name))]


def _names(slots: Any) -> tuple[str, ...]:
    return (slots,) if isinstance(slots, str) else tuple(slots)


def leaves_of(nested: Any) -> Iterator[Any]:
    """Everything in nested tuples, lists, dicts and slices that is none of these, in order."""
    if isinstance(nested, Mapping):
        for entry in nested.values():
            yield from leaves_of(entry)
    elif isinstance(nested, tuple | list):
        for entry in nested:
            yield from leaves_of(entry)
    elif isinstance(nested, slice):
        yield from leaves_of((nested.start, nested.stop, nested.step))
    else:
        yield nested
