"""Arguments of a call as the graph holds them: tensors by name, integers with their origin."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn

from secateur.graph.ir import Opaque, Ref
from secateur.graph.sizes import Size
from secateur_builders.provenance import TrackedInt, as_size, bare, literal
from secateur_builders.tensors import map_nested

TENSORS = frozenset({Tensor, nn.Parameter})

KEPT = frozenset({bool, float, str, type(None), type(Ellipsis)})
"""Types of arguments that are written down as they are."""


def written(argument: Any, refer: Callable[[Tensor], Ref]) -> Any:
    """What stands for an argument, nested or not; `refer` gives the name of a tensor."""
    kind = type(argument)
    if kind in TENSORS:
        return refer(argument)
    if kind in KEPT:
        return argument
    if kind is TrackedInt:
        return Size(bare(argument), argument.expr)
    if kind is int:
        return literal(argument)
    if isinstance(argument, Tensor):
        return refer(argument)
    if kind is tuple and argument:
        return tuple(
            [
                Size(bare(entry), entry.expr) if type(entry) is TrackedInt else written(entry, refer)
                for entry in argument
            ]
        )
    if isinstance(argument, tuple | list | slice | Mapping):
        return map_nested(lambda entry: written(entry, refer), argument)
    if isinstance(argument, float | str):
        return argument
    if isinstance(argument, int | np.integer):
        return as_size(int(argument) if isinstance(argument, np.integer) else argument)
    return Opaque(str(argument))
