"""Find the tensors in whatever a model takes or returns: tuples, dicts, dataclasses, objects with attributes."""

from __future__ import annotations

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
