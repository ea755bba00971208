"""LAMP, layer-adaptive magnitude, by units: the share of a unit in what is at least as large.

Lee et al., "Layer-Adaptive Sparsity for the Magnitude-based Pruning", ICLR 2021, equation 3, with units for weights:

    score_u = ||w_u||^2 / (sum of ||w_v||^2 over all v that are not ranked below u), shape (units,)

Equal units are ranked by their index. The largest unit of a dim has the score 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from secateur.hookspecs import hookimpl
from secateur.pruning.members import Member, filters
from secateur.records import Criterion

if TYPE_CHECKING:
    Scores = np.ndarray[Any, Any]


def lamp(members: Sequence[Member]) -> Scores:
    """The share of each unit, in [0, 1], shape (units,)."""
    import torch

    squares = np.sum([member.sum_of(torch.square) for member in filters(list(members))], axis=0)
    order = np.argsort(squares, kind="stable")
    rest = np.cumsum(squares[order][::-1])[::-1]
    scores = np.zeros(len(squares))
    with np.errstate(invalid="ignore"):  # of weights that are not finite the score is not a number
        scores[order] = np.divide(squares[order], rest, out=np.zeros(len(squares)), where=rest != 0)
    return scores


@hookimpl
def secateur_criteria() -> list[Criterion]:
    """Provide "lamp"."""
    return [
        Criterion(name="lamp", score=lamp, summary="share of a unit in what is at least as large (Lee et al. 2021)")
    ]
