"""Run a model and leave no trace on it: flags, attributes, hooks, lists it keeps, and the random state are restored."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import nn


PLAIN = (bool, int, float, complex, str, bytes, type(None), FunctionType, MethodType, BuiltinFunctionType)
DEEPEST = 6
"""Containers and objects nested deeper than this are not looked into."""


@contextmanager
def preserved(model: nn.Module) -> Iterator[None]:
    """Undo after the body whatever it did to the model's modules and to the random state of torch, numpy and Python.

    Restored are all attributes of all modules, and the contents of the lists, dicts, sets and objects they hold
    (parameters, buffers, submodules and hooks are such dicts). The numbers within tensors are not: see `quiet`, and the
    builders.
    """
    import torch

    seen: set[int] = set()
    undo = [restore for module in model.modules() for restore in _restores(module.__dict__, seen)]
    states = (torch.get_rng_state(), random.getstate(), np.random.get_state())
    try:
        yield
    finally:
        for restore in undo:
            restore()
        torch.set_rng_state(states[0])
        random.setstate(states[1])
        np.random.set_state(states[2])


def _restores(held: Any, seen: set[int], depth: int = 0) -> Iterator[Callable[[], None]]:
    """How to restore what is held: containers, and objects of the user's, within one another."""
    import torch

    if id(held) in seen or depth > DEEPEST or isinstance(held, torch.nn.Module):
        return
    seen.add(id(held))
    within: list[Any] = []
    if isinstance(held, dict):
        yield _of_dict(held)
        within = list(held.values())
    elif isinstance(held, list):
        yield _of_list(held)
        within = list(held)
    elif isinstance(held, tuple):
        within = list(held)
    elif isinstance(held, set):
        yield _of_set(held)
    elif isinstance(getattr(held, "__dict__", None), dict) and _is_users(held):
        yield _of_dict(held.__dict__)
        within = list(held.__dict__.values())
    for entry in within:
        if not isinstance(entry, PLAIN):
            yield from _restores(entry, seen, depth + 1)


def _is_users(held: Any) -> bool:
    """Whether an object is of the model's own kind: no class, nothing of torch or of the standard library."""
    library = type(held).__module__.partition(".")[0]
    return not isinstance(held, type) and library != "torch" and library not in sys.stdlib_module_names


def _of_dict(table: dict[Any, Any]) -> Callable[[], None]:
    saved = list(table.items())

    def restore() -> None:
        table.clear()
        table.update(saved)

    return restore


def _of_list(entries: list[Any]) -> Callable[[], None]:
    saved = list(entries)

    def restore() -> None:
        entries[:] = saved

    return restore


def _of_set(members: set[Any]) -> Callable[[], None]:
    saved = set(members)

    def restore() -> None:
        members.clear()
        members.update(saved)

    return restore
