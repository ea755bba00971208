"""Run a model and leave no trace on it: flags, attributes, hooks, lists it keeps, and the random state are restored."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


@contextmanager
def preserved(model: nn.Module) -> Iterator[None]:
    """Undo after the body whatever it did to the model's modules and to the random state of torch and Python.

    Restored are all attributes of all modules, and the contents of the lists, dicts and sets among them (parameters,
    buffers, submodules and hooks are such dicts). The numbers within tensors are not: see `quiet`, and the builders.
    """
    import torch

    undo = [restore for module in model.modules() for restore in _restores(module)]
    states = (torch.get_rng_state(), random.getstate())
    try:
        yield
    finally:
        for restore in undo:
            restore()
        torch.set_rng_state(states[0])
        random.setstate(states[1])


def _restores(module: nn.Module) -> Iterator[Callable[[], None]]:
    yield _of_dict(module.__dict__)
    for held in module.__dict__.values():
        if isinstance(held, dict):
            yield _of_dict(held)
        elif isinstance(held, list):
            yield _of_list(held)
        elif isinstance(held, set):
            yield _of_set(held)


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
