"""Plan what leaves a network because zeroed weights have silenced it, whoever zeroed them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import inf
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from secateur.coupling.analysis import Coupling
from secateur.errors import PlanError
from secateur.graph.capture import normalise_inputs
from secateur.pruning.selection import ratios_of
from secateur.thinning.plan import Plan
from secateur.thinning.planner import couple, make_plan
from secateur.thinning.silenced import Remnant, Silenced
from secateur.zeros.effect import Effect
from secateur.zeros.forward import Runner
from secateur.zeros.search import Search
from secateur.zeros.unknowns import NotFollowedError

if TYPE_CHECKING:
    from torch import nn

Array = np.ndarray[Any, Any]


def plan_zeros(
    model: nn.Module,
    example_inputs: tuple[Any, ...] | Mapping[str, Any],
    *,
    accept: float = 0.0,
    keep: Iterable[str] | str = (),
    builder: str = "trace",
) -> Plan:
    """Plan which units leave because zeroed weights have silenced them; the model is not changed.

    A unit leaves if nothing that stays reads it with a weight other than zero, or if what it emits is a constant (its
    own weights are zero, or all it reads is constant) which can be added to the biases of its readers. That holds for
    all inputs of the model, in eval mode: constants are found by a run with unknown inputs, not by trying some. `thin`
    applies the plan and compares with the model as it is. A recurrent layer is looked at as a whole: a hidden unit, or
    a feature that it reads, leaves if all weights that write it and all that read it are zero; so do the entries of
    the states that the model takes and returns.

    Where adding a constant to a bias is not exact (a convolution pads with zeros, there is no bias), the units stay;
    `plan.silenced.remnants` says why, and by how much the outputs on the example inputs would change, relative to the
    largest. With `accept` such units leave too, as long as the outputs change by no more than that in all. `keep`:
    globs over dim or parameter names that stay whole.

    Raises `PlanError` for a bad number or name, or a model whose forward hides what depends on what, `CaptureError` if
    it does not run.
    """
    _check_accept(accept)
    inputs = normalise_inputs(example_inputs)
    coupling = couple(model, inputs, builder)
    kept = ratios_of(coupling.dims, 0.5, keep, coupling.staying) == 0
    runner = Runner.of(model, inputs, coupling, builder)
    try:
        search = Search.of(runner)
        exact = search.certified(_candidates(coupling, kept, runner), _none(coupling))
        chosen, remnants, effect = _with_accepted(search, runner, exact, _candidates(coupling, kept, runner), accept)
    except NotFollowedError as error:
        what = f"it cannot be told which units zeros have silenced: {error}"
        raise PlanError(what, where=type(model).__name__, hint="plan by name instead, with secateur.plan") from error
    silenced = Silenced(folds=search.liveness.folds(chosen), effect=effect, remnants=remnants)
    leaving = [np.flatnonzero(chosen[dim.classes]) for dim in coupling.dims]
    return make_plan(model, coupling, leaving, inputs, silenced)


def _check_accept(accept: Any) -> None:
    if isinstance(accept, bool) or not isinstance(accept, Real) or not 0 <= float(accept) < inf:
        raise PlanError(
            f"expected a number of at least 0, got {accept!r}",
            where="accept",
            hint="it is the largest relative change of the outputs to put up with, such as 1e-3",
        )


def _none(coupling: Coupling) -> Array:
    return np.zeros(coupling.solution.classes, bool)


def _candidates(coupling: Coupling, kept: Array, runner: Runner) -> Array:
    """All units but those to keep, and those that only a run in training mode reads."""
    chosen = _none(coupling)
    for dim, whole in zip(coupling.dims, kept, strict=True):
        if not whole:
            chosen[dim.classes] = True
    tensors = dict(runner.model.named_parameters())
    for dim in coupling.dims:
        for (name, axis), indices in dim.slices.items():
            readers = coupling.graph.consumers.get(name, ())
            if name in tensors and readers and all(op.training for op in readers):
                some = (tensors[name].detach() != 0).movedim(axis, 0).flatten(1).any(1).cpu().numpy()
                chosen[dim.classes[some[indices].any(1)]] = False
    return chosen


def _with_accepted(
    search: Search, runner: Runner, exact: Array, candidates: Array, accept: float
) -> tuple[Array, tuple[Remnant, ...], float]:
    """Let units leave that are silenced but not exactly, those of the smallest effect first, while it is accepted."""
    coupling, liveness = runner.coupling, search.liveness
    loose = search.certified(candidates, candidates)
    causes = liveness.reasons(loose)
    obstructed = _none(coupling)
    for classes in causes.values():
        obstructed |= classes & ~exact
    if not obstructed.any():
        return exact, (), 0.0
    effect = Effect.of(runner, liveness)
    found = []
    for dim in coupling.dims:
        own = _none(coupling)
        own[dim.classes] = obstructed[dim.classes]
        if own.any():
            found.append((effect.size(liveness.settle(loose, own)), dim, own))
    found.sort(key=lambda entry: entry[0])
    chosen, tolerated, reached = exact, _none(coupling), 0.0
    remnants = []
    for size, dim, own in found:
        small = accept > 0 and size <= accept  # no effect on the examples is no proof
        more = search.certified(loose, tolerated | own) if small else chosen
        together = effect.size(more) if small else size
        accepted = small and together <= accept
        if accepted:
            chosen, tolerated, reached = more, tolerated | own, together
        why = tuple(reason for reason, classes in causes.items() if (classes & own).any())
        units = np.flatnonzero(own[dim.classes])
        remnants.append(Remnant(dim.name, units, "; ".join(why), size, accepted))
    return chosen, tuple(remnants), reached
