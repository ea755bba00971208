"""Trees of plain values in a checkpoint: dicts, lists, numbers and texts as JSON, tensors beside it by name.

A number, a text, true, false or null stands for itself. Everything else is an object with one key that says what it
is: `{"tensor": name}`, `{"array": name}` (of numpy), `{"list": […]}`, `{"tuple": […]}`, `{"dict": [[key, value], …]}`,
`{"counter": [[key, count], …]}`. Reading builds those and nothing else, so that no file can have anything executed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

DEEPEST = 100
"""Levels that a tree may have."""
PLAIN = (bool, int, float, str, type(None))
KINDS = ("tensor", "array", "list", "tuple", "dict", "counter")


def encode(value: Any, name: str, tensors: dict[str, Tensor], depth: int = 0) -> Any:
    """Turn a tree into JSON values; its tensors are added to `tensors`, under names that begin with `name`.

    Raises `TypeError`, naming the place, for anything that a tree cannot hold, `ValueError` if it is too deep.
    """
    import torch

    if depth > DEEPEST:
        raise ValueError(f"{name[:80]}… has more than {DEEPEST} levels, or holds itself")
    if isinstance(value, PLAIN) and type(value) in PLAIN:
        return value
    if isinstance(value, np.bool_ | np.integer | np.floating):
        return value.item()
    if isinstance(value, torch.Tensor):
        return {"tensor": _keep(value, name, tensors)}
    if isinstance(value, np.ndarray):
        return {"array": _keep(torch.from_numpy(np.array(value)), name, tensors)}
    if isinstance(value, tuple | list):
        kind = "tuple" if isinstance(value, tuple) else "list"
        return {kind: [encode(entry, f"{name}/{i}", tensors, depth + 1) for i, entry in enumerate(value)]}
    if isinstance(value, Mapping):
        kind = "counter" if isinstance(value, Counter) else "dict"
        return {kind: [[_key(k, name), encode(v, f"{name}/{k}", tensors, depth + 1)] for k, v in value.items()]}
    if isinstance(value, PLAIN):  # an enumeration of numbers or texts: its value
        return next(kind(value) for kind in (int, float, str) if isinstance(value, kind))
    raise TypeError(f"{name} is of type {type(value).__name__}")


def decode(value: Any, take: Callable[[str], Any], depth: int = 0) -> Any:
    """Build the tree that `encode` wrote; `take` gives a tensor by name.

    Raises `ValueError`, `TypeError` or `KeyError` for anything else.
    """
    if isinstance(value, PLAIN):
        return value
    if depth > DEEPEST or not isinstance(value, dict) or len(value) != 1:
        raise ValueError(f"not a value of a tree: {str(value)[:80]}")
    ((kind, held),) = value.items()
    if kind in ("tensor", "array"):
        if not isinstance(held, str):
            raise TypeError(f"the name of a tensor is {str(held)[:80]}")
        taken = take(held)
        return taken.numpy() if kind == "array" and hasattr(taken, "numpy") else taken
    if kind not in KINDS or not isinstance(held, list):
        raise ValueError(f"not a value of a tree: {str(value)[:80]}")
    if kind in ("list", "tuple"):
        made = [decode(entry, take, depth + 1) for entry in held]
        return made if kind == "list" else tuple(made)
    pairs = {_key(key, kind): decode(entry, take, depth + 1) for key, entry in held}
    if len(pairs) != len(held):
        raise ValueError("a key that is there twice")
    return pairs if kind == "dict" else Counter(pairs)


def _keep(tensor: Tensor, name: str, tensors: dict[str, Tensor]) -> str:
    while name in tensors:
        name += "_"
    tensors[name] = tensor
    return name


def _key(key: Any, name: str) -> Any:
    if type(key) not in PLAIN:
        raise TypeError(f"{name} has a key that is a {type(key).__name__}")
    return key
