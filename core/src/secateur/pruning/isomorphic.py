"""Group dims whose units are built alike: only these are fit to compete by score.

Fang et al., "Isomorphic Pruning for Vision Models", ECCV 2024: scores of structures of different topology lie on
different scales, so structures are ranked among those of the same topology.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from secateur.pruning.selection import NamedDim


def isomorphic_groups(dims: Sequence[NamedDim], parameters: Mapping[str, Any]) -> list[int]:
    """The number of each dim's group, from 0 on. `parameters`: {name: tensor}.

    Two dims are of one group if a unit of either has the same slices: as many, each along the same axis of parameters
    of the same other lengths, written or read alike. Order, names and the number of units do not count.
    """
    known: dict[Any, int] = {}
    return [known.setdefault(_topology(dim, parameters), len(known)) for dim in dims]


def _topology(dim: NamedDim, parameters: Mapping[str, Any]) -> tuple[Any, ...]:
    found = []
    for (name, axis), indices in dim.slices.items():
        if name in parameters:
            shape = tuple(parameters[name].shape)
            others = (*shape[:axis], *shape[axis + 1 :])
            found.append((axis, (name, axis) in dim.readers, indices.shape[1], others))
    return tuple(sorted(found))
