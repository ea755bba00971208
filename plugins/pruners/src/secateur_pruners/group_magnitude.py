"""Magnitude of whole units: the L1 and L2 norm of all their coupled slices, what reads them and biases included.

These are the groups of Fang et al., "DepGraph: Towards Any Structural Pruning", CVPR 2023, and in recurrent layers of
Wen et al., "Learning Intrinsic Sparse Structures within LSTM", ICLR 2018. They are what the regularizers `group_norm`
and `unit_lasso` shrink: with the same sum, in which an element in two slices of a unit (of the recurrent matrix, in its
row and in its column) counts twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from secateur.hookspecs import hookimpl
from secateur.pruning.members import Member
from secateur.records import Criterion

if TYPE_CHECKING:
    Scores = np.ndarray[Any, Any]


def group_l1(members: Sequence[Member]) -> Scores:
    """Sum of absolute values over all slices of each unit, shape (units,)."""
    import torch

    scores: Scores = np.sum([member.sum_of(torch.abs) for member in members], axis=0)
    return scores


def group_l2(members: Sequence[Member]) -> Scores:
    """Root of the sum of squares over all slices of each unit, shape (units,)."""
    import torch

    squares = np.sum([member.sum_of(torch.square) for member in members], axis=0)
    scores: Scores = np.sqrt(squares)
    return scores


@hookimpl
def secateur_criteria() -> list[Criterion]:
    """Provide "group_l1" and "group_l2"."""
    return [
        Criterion(name="group_l1", score=group_l1, summary="sum of absolute weights of all of the unit's slices"),
        Criterion(name="group_l2", score=group_l2, summary="Euclidean norm of all of the unit's slices"),
    ]
