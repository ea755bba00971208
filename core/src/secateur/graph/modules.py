"""The modules of a model with their paths, in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def modules_of(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """What `model.named_modules()` yields, several times as fast: no generator within a generator for each level."""
    found: list[tuple[str, nn.Module]] = []
    seen: set[int] = set()
    pending = [("", model)]
    while pending:
        path, module = pending.pop()
        if id(module) in seen:
            continue
        seen.add(id(module))
        found.append((path, module))
        if children := module._modules:
            prefix = f"{path}." if path else ""
            pending += [(prefix + name, child) for name, child in reversed(children.items()) if child is not None]
    return found
