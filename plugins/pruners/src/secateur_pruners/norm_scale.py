"""Batch-norm scale: units whose norm multiplies them by little leave first.

Liu et al., "Learning Efficient Convolutional Networks through Network Slimming", ICCV 2017, section 3.3: score_u = sum
over the norms of unit u of |gamma|, shape (units,).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from secateur.errors import PlanError
from secateur.hookspecs import hookimpl
from secateur.pruning.members import Member
from secateur.records import Criterion

if TYPE_CHECKING:
    Scores = np.ndarray[Any, Any]


def norm_scale(members: Sequence[Member]) -> Scores:
    """Sum of the magnitudes of the norms' weights, shape (units,); `PlanError` if there are none."""
    import torch

    lone = [m for m in members if m.tensor.dim() == 1 and not m.reads and m.name.rpartition(".")[2] == "weight"]
    names = {member.name for member in members}
    norms = [m for m in lone if f"{m.name.removesuffix('weight')}bias" in names] or lone  # a PReLU has no bias
    if not norms:
        raise PlanError(
            "no norm with a weight scales these units",
            where=members[0].name,
            hint="name the weights of norms, or dims that have one, or take another criterion",
        )
    scores: Scores = np.sum([member.sum_of(torch.abs) for member in norms], axis=0)
    return scores


@hookimpl
def secateur_criteria() -> list[Criterion]:
    """Provide "norm_scale"."""
    return [Criterion(name="norm_scale", score=norm_scale, summary="magnitude of the norm's scale (network slimming)")]
