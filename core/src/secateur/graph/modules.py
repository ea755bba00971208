"""The modules of a model with their paths, in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def modules_of(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """What `model.named_modules()` yields, several times as fast: no generator within a generator for each level."""
    found = [("", model)]
    _add(found, {id(model)}, "", model)
    return found


def _add(found: list[tuple[str, nn.Module]], seen: set[int], prefix: str, module: nn.Module) -> None:
    """Append what lies within a module, each module once, before what lies within its next sibling."""
    for name, child in module._modules.items():
        if child is not None and id(child) not in seen:
            seen.add(id(child))
            path = prefix + name
            found.append((path, child))
            if child._modules:
                _add(found, seen, f"{path}.", child)
