"""Distance to the geometric median: the filters that the others can stand in for leave first.

He et al., "Filter Pruning via Geometric Median", CVPR 2019, equation 6: score_u = sum over v of ||w_u - w_v||_2, shape
(units,). w_u is all the filters of a unit, over all coupled tensors. Units that are zero, as masked ones are, have the
score 0 and are no neighbours of any: what is masked stays so, and ranks the others as if it had left.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from secateur.hookspecs import hookimpl
from secateur.pruning.members import Member, filters
from secateur.records import Criterion

if TYPE_CHECKING:
    import numpy as np

    Scores = np.ndarray[Any, Any]


def geometric_median(members: Sequence[Member]) -> Scores:
    """Sum of the distances of each unit to all others that are not zero, shape (units,)."""
    import torch

    size = len(members[0])
    squared, zero = torch.zeros((size, size), dtype=torch.float64), torch.ones(size, dtype=torch.bool)
    for member in filters(list(members)):
        matrix = member.matrix().to("cpu", torch.float64)
        zero &= ~matrix.any(1)
        products = matrix @ matrix.T
        squared += products.diagonal()[:, None] + products.diagonal() - 2 * products
    distances = squared.fill_diagonal_(0).clamp(min=0).sqrt()
    distances[zero], distances[:, zero] = 0, 0
    scores: Scores = distances.sum(1).numpy()
    return scores


@hookimpl
def secateur_criteria() -> list[Criterion]:
    """Provide "geometric_median"."""
    return [
        Criterion(name="geometric_median", score=geometric_median, summary="sum of distances to all other units (FPGM)")
    ]
