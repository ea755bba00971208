"""Laws of criteria: finite, non-negative, one number per unit, always the same, and nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from secateur.errors import PlanError
from secateur.pruning.collecting import Collector
from secateur.pruning.members import Member, members_of
from secateur.records import Criterion
from secateur.testing.broken import LawBroken
from secateur.testing.examples import examples
from secateur.testing.values import redrawn, unchanged
from secateur.thinning.calibrating import restored
from secateur.thinning.planner import couple
from secateur.thinning.state import named_parameters

Array = np.ndarray[Any, Any]
BATCHES = 3


def scores_are_numbers(criterion: Criterion) -> None:
    """One finite, non-negative float64 number per unit, for some dim at least; a dim may be refused."""
    tried = 0
    for dim, scores, _ in _scored(criterion):
        tried += 1
        if scores.shape != (len(dim),) or scores.dtype != np.float64:
            raise LawBroken(
                f"{criterion.name} gave {scores.dtype} of shape {scores.shape} for the {len(dim)} units of {dim.name}; "
                f"float64 of shape ({len(dim)},) is due"
            )
        if not (np.isfinite(scores).all() and (scores >= 0).all()):
            raise LawBroken(f"{criterion.name} gave {dim.name} scores that are negative or not finite: {scores}")
    if not tried:
        raise LawBroken(f"{criterion.name} refused every dim of every example")


def scores_are_repeatable(criterion: Criterion) -> None:
    """The same units get the same scores each time; a collector hands on what it gathered, and forgets it when told."""
    for dim, scores, again in _scored(criterion):
        if not np.array_equal(scores, again):
            raise LawBroken(f"{criterion.name} gave {dim.name} the scores {scores}, then {again}")


def scoring_changes_nothing(criterion: Criterion) -> None:
    """The parameters, the hooks and the random state are what they were."""
    for model, inputs in examples():
        coupling = couple(model, inputs)
        hooks = _hooks(model)
        with unchanged(model, f"the criterion {criterion.name}"):
            for dim in coupling.dims:
                _scores(criterion, dim, model, inputs)
        if _hooks(model) != hooks:
            raise LawBroken(f"{criterion.name} left hooks on parameters")


def _hooks(model: Any) -> list[int]:
    return [len(parameter._backward_hooks or ()) for parameter in model.parameters()]


def _scored(criterion: Criterion) -> Iterator[tuple[Any, Array, Array]]:
    for model, inputs in examples():
        for dim in couple(model, inputs).dims:
            first, again = (_scores(criterion, dim, model, inputs) for _ in range(2))
            if first is not None and again is not None:
                yield dim, first, again


def _scores(criterion: Criterion, dim: Any, model: Any, inputs: Any) -> Array | None:
    """The scores of a dim; None if the criterion refuses it."""
    members = members_of(dim.slices, dim.readers, named_parameters(model))
    try:
        if criterion.score is not None:
            return np.asarray(criterion.score(members))
        assert criterion.collector is not None
        with restored(model):
            return _gathered(criterion, criterion.collector(), members, model, inputs)
    except PlanError:
        return None


def _gathered(criterion: Criterion, collector: Collector, members: list[Member], model: Any, inputs: Any) -> Array:
    """Let a collector look at a few mini-batches; another one that takes over what it gathered gives the same."""
    import torch
    from torch.utils import _pytree as pytree

    collector.attach(model, {0: members})
    try:
        for seed in range(BATCHES):
            outputs = pytree.tree_leaves(model(*redrawn(inputs, seed)))
            torch.autograd.backward(torch.stack([output.square().mean() for output in outputs]).sum())
    finally:
        collector.detach()
    if collector.seen != BATCHES:
        raise LawBroken(f"{criterion.name} saw {collector.seen} mini-batches of {BATCHES}")
    scores = np.asarray(collector.scores(0, members))
    other: Any = criterion.collector
    heir = other()
    heir.attach(model, {0: members})
    heir.load(collector.state())
    heir.detach()
    if heir.seen != BATCHES or not np.array_equal(heir.scores(0, members), scores):
        raise LawBroken(f"{criterion.name} gives other scores after its state was saved and loaded")
    collector.reset()
    if collector.seen:
        raise LawBroken(f"{criterion.name} has seen {collector.seen} mini-batches after reset")
    return scores
