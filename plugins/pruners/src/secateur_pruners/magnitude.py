"""Magnitude criteria by unit: the L1 and L2 norm of all filters of a unit.

L1: Li et al., "Pruning Filters for Efficient ConvNets", ICLR 2017, section 3.1: s = sum of |w|.
L2: s = sqrt(sum of w squared). Units that write several coupled tensors add up over all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from attrs import field, frozen

from secateur.config.validators import in_range
from secateur.hookspecs import hookimpl
from secateur.pruning.base import Pruner
from secateur.pruning.members import Member, filters
from secateur.pruning.units import UnitPruner
from secateur.records import Criterion

if TYPE_CHECKING:
    Scores = np.ndarray[Any, Any]


def l1(members: Sequence[Member]) -> Scores:
    """Sum of absolute values over the filters of each unit, shape (units,)."""
    import torch

    scores: Scores = np.sum([member.sum_of(torch.abs) for member in filters(list(members))], axis=0)
    return scores


def l2(members: Sequence[Member]) -> Scores:
    """Root of the sum of squares over the filters of each unit, shape (units,)."""
    import torch

    squares = np.sum([member.sum_of(torch.square) for member in filters(list(members))], axis=0)
    scores: Scores = np.sqrt(squares)
    return scores


@hookimpl
def secateur_criteria() -> list[Criterion]:
    """Provide "l1" and "l2"."""
    return [
        Criterion(name="l1", score=l1, summary="sum of absolute weights of the unit's filters"),
        Criterion(name="l2", score=l2, summary="Euclidean norm of the unit's filters"),
    ]


@frozen(kw_only=True)
class MagnitudePruner(UnitPruner):
    """Masks a fixed share of the units of some dims: those of the smallest magnitude, unless `criterion` differs."""

    name: ClassVar[str] = "magnitude"
    summary: ClassVar[str] = "a fixed share of units, the smallest by L1 or L2 norm (Li et al. 2017)"

    sparsity: float = field(validator=in_range(0, 1, high_open=True))
    initial_sparsity: None = field(default=None, init=False)
    final_sparsity: None = field(default=None, init=False)


@hookimpl
def secateur_pruners() -> list[type[Pruner]]:
    """Provide "magnitude"."""
    return [MagnitudePruner]
