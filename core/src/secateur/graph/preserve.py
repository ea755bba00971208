"""Run a model and leave no trace on it: flags, attributes, hooks, lists it keeps, and the random state are restored."""

from __future__ import annotations

import random
import sys
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import define, field

from secateur.graph.modules import modules_of

if TYPE_CHECKING:
    from torch import nn


PLAIN = (bool, int, float, complex, str, bytes, type(None), FunctionType, MethodType, BuiltinFunctionType)
CONTAINERS = frozenset({dict, OrderedDict, set, list})
DEEPEST = 6
"""Containers and objects nested deeper than this are not looked into."""


@contextmanager
def preserved(model: nn.Module, modules: Iterable[tuple[str, nn.Module]] | None = None) -> Iterator[None]:
    """Undo after the body whatever it did to the model's modules and to the random state of torch, numpy and Python.

    Restored are all attributes of all modules, and the contents of the lists, dicts, sets and objects they hold
    (parameters, buffers, submodules and hooks are such dicts). The numbers within tensors are not: see `quiet`, and the
    builders. `modules`: the model's, if they are at hand.
    """
    import torch

    snapshot = Snapshot()
    for _, module in modules_of(model) if modules is None else modules:
        snapshot.add(module.__dict__)
    states = (torch.get_rng_state(), random.getstate(), np.random.get_state())
    try:
        yield
    finally:
        snapshot.restore()
        torch.set_rng_state(states[0])
        random.setstate(states[1])
        np.random.set_state(states[2])


@define
class Snapshot:
    """The contents of containers, and of objects of the user's, within one another."""

    _empty: list[Any] = field(factory=list)
    _dicts: list[tuple[dict[Any, Any], dict[Any, Any]]] = field(factory=list)
    _lists: list[tuple[list[Any], list[Any]]] = field(factory=list)
    _sets: list[tuple[set[Any], set[Any]]] = field(factory=list)
    _seen: dict[int, Any] = field(factory=dict)
    """What was looked at, by identity: kept alive, so that no other object takes its place."""
    _plain: dict[type, bool] = field(factory=dict)
    """Types that hold nothing of interest."""

    def add(self, held: Any, depth: int = 0) -> None:
        """Remember what a container or an object of the user's holds; anything else is passed over."""
        if id(held) in self._seen:
            return
        self._seen[id(held)] = held
        if isinstance(held, dict):
            if held:
                self._dicts.append((held, dict(held)))
                self._within(held.values(), depth)
            else:
                self._empty.append(held)
        elif isinstance(held, list):
            self._lists.append((held, list(held)))
            self._within(held, depth)
        elif isinstance(held, tuple):
            self._within(held, depth)
        elif isinstance(held, set):
            self._sets.append((held, set(held)))
        elif isinstance(getattr(held, "__dict__", None), dict) and _is_users(held):
            self._dicts.append((held.__dict__, dict(held.__dict__)))
            self._within(held.__dict__.values(), depth)

    def _within(self, entries: Iterable[Any], depth: int) -> None:
        if depth >= DEEPEST:
            return
        known, empty = self._plain, self._empty
        for entry in entries:
            kind = type(entry)
            if kind in CONTAINERS:
                if entry:
                    self.add(entry, depth + 1)
                else:
                    empty.append(entry)
                continue
            plain = known.get(kind)
            if plain is None:
                plain = known[kind] = _is_plain(kind)
            if plain:
                continue
            if kind is tuple:
                self._within(entry, depth + 1)
            else:
                self.add(entry, depth + 1)

    def restore(self) -> None:
        """Put everything back."""
        for container in self._empty:
            if container:
                container.clear()
        for table, items in self._dicts:
            table.clear()
            table.update(items)
        for entries, held in self._lists:
            entries[:] = held
        for members, were in self._sets:
            members.clear()
            members.update(were)


def _is_plain(kind: type) -> bool:
    """Whether objects of a type are passed over: numbers, functions, tensors, and modules, which have their turn."""
    import torch

    return issubclass(kind, (*PLAIN, torch.nn.Module)) or kind in (torch.Tensor, torch.nn.Parameter)


def _is_users(held: Any) -> bool:
    """Whether an object is of the model's own kind: no class, nothing of torch or of the standard library."""
    library = type(held).__module__.partition(".")[0]
    return not isinstance(held, type) and library != "torch" and library not in sys.stdlib_module_names
