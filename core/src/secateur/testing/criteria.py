"""Laws of criteria: finite, non-negative, one number per unit, always the same, and nothing is changed."""

from __future__ import annotations

from typing import Any

import numpy as np

from secateur.records import Criterion
from secateur.testing.broken import LawBroken, NotTried
from secateur.testing.examples import examples
from secateur.testing.values import unchanged
from secateur.thinning.planner import couple
from secateur.thinning.state import named_parameters

Array = np.ndarray[Any, Any]


def scores_are_numbers(criterion: Criterion) -> None:
    """One finite, non-negative float64 number per unit."""
    for dim, scores, _ in _scored(criterion):
        if scores.shape != (len(dim),) or scores.dtype != np.float64:
            raise LawBroken(
                f"{criterion.name} gave {scores.dtype} of shape {scores.shape} for the {len(dim)} units of {dim.name}; "
                f"float64 of shape ({len(dim)},) is due"
            )
        if not (np.isfinite(scores).all() and (scores >= 0).all()):
            raise LawBroken(f"{criterion.name} gave {dim.name} scores that are negative or not finite: {scores}")


def scores_are_repeatable(criterion: Criterion) -> None:
    """The same units get the same scores each time."""
    for dim, scores, again in _scored(criterion):
        if not np.array_equal(scores, again):
            raise LawBroken(f"{criterion.name} gave {dim.name} the scores {scores}, then {again}")


def scoring_changes_nothing(criterion: Criterion) -> None:
    """The parameters and the random state are what they were."""
    for model, inputs in examples():
        coupling = couple(model, inputs)
        with unchanged(model, f"the criterion {criterion.name}"):
            for dim in coupling.dims:
                _score(criterion, dim, model)


def _scored(criterion: Criterion) -> Any:
    for model, inputs in examples():
        for dim in couple(model, inputs).dims:
            yield dim, _score(criterion, dim, model), _score(criterion, dim, model)


def _score(criterion: Criterion, dim: Any, model: Any) -> Array:
    from secateur.pruning.members import members_of

    if criterion.score is None:
        raise NotTried(f"{criterion.name} scores what it has gathered while mini-batches ran")
    return np.asarray(criterion.score(members_of(dim.slices, dim.readers, named_parameters(model))))
