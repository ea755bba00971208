"""Look at a model and plan what leaves; nothing is changed."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from secateur.coupling.analysis import Coupling, Leaving, Units, analyse
from secateur.coupling.chains import Chains
from secateur.coupling.constants import branches
from secateur.coupling.exactness import is_exact
from secateur.coupling.refusals import reason_of
from secateur.errors import PlanError, PluginError
from secateur.graph.capture import normalise_inputs, trace
from secateur.plugins import current
from secateur.pruning.isomorphic import isomorphic_groups
from secateur.pruning.members import SumCache, members_of
from secateur.pruning.selection import Scope, ratios_of, select
from secateur.thinning.calibrating import calibrated
from secateur.thinning.counting import renormalising
from secateur.thinning.plan import Dim, Plan
from secateur.thinning.silenced import Silenced
from secateur.thinning.state import named_parameters, named_tensors
from secateur.thinning.states import StateCuts

if TYPE_CHECKING:
    from torch import Tensor, nn

    from secateur.pruning.collecting import Collector

    Leavers = np.ndarray[Any, Any]


class _GarbageLater:
    """Collect no cyclic garbage meanwhile: with torch loaded, one full collection takes as long as the whole body."""

    def __enter__(self) -> None:
        self.enabled = gc.isenabled()
        gc.disable()

    def __exit__(self, *failure: object) -> None:
        if self.enabled:
            gc.enable()


def plan(
    model: nn.Module,
    example_inputs: tuple[Any, ...] | Mapping[str, Any],
    prune: float | Mapping[str, float] = 0.5,
    criterion: str = "l1",
    *,
    keep: Iterable[str] | str = (),
    renormalise: bool = False,
    scope: Scope = "local",
    round_to: int = 1,
    builder: str = "trace",
    calibrate: Callable[[nn.Module], Any] | None = None,
) -> Plan:
    """Plan which units of a model leave; the model is not changed.

    `prune`: the share of every dim's units that leaves, in [0, 1), or {glob over dim or parameter names: share},
    where of several globs that match a dim the last one counts. `int(share * size)` units leave, those with the
    lowest scores of the `criterion`. `keep`: globs over the same names that stay whole. `scope`: "local" ranks within
    each dim, "global" lets all dims compete, "isomorphic" those that are built alike. `round_to`: what stays of a dim
    is rounded up to a multiple. Model outputs are never pruned. `renormalise`: also prune dims whose size an operation
    reads (layer norm, a mean over channels), which changes the scale of what stays; the plan names them, and what is
    compensated.

    `calibrate`: for a criterion of activations or gradients, a function that runs mini-batches through the model it is
    given, with a backward of each if gradients are asked for; see `secateur.calibration`.

    Raises `PlanError` for a bad ratio or a name that matches nothing, `CaptureError` if the model does not run,
    `PluginError` for an unknown criterion or builder.
    """
    manager = current()
    manager.criteria[criterion]  # an unknown name is refused before anything runs
    inputs = normalise_inputs(example_inputs)
    named = isinstance(prune, Mapping) or keep
    with _GarbageLater():
        coupling = couple(model, inputs, builder, renormalise)
        ratios = ratios_of(coupling.dims, prune, keep, coupling.staying if named else {})  # only names may mean these
        chosen = partial(select_plan, scope=scope, round_to=round_to, example_inputs=inputs)
        if calibrate is None:
            return chosen(model, coupling, ratios, criterion)
    return chosen(model, coupling, ratios, criterion, calibrate=calibrate)  # what it makes may well be garbage


def couple(
    model: nn.Module, example_inputs: Any, builder: str = "trace", renormalise: bool = False, states: bool = True
) -> Coupling:
    """Trace a model and find its dims; with `renormalise` those that change the scale of something may be pruned.

    `states`: recurrent states that the model takes and returns may become smaller.
    """
    manager = current()
    with _GarbageLater():
        graph = trace(model, example_inputs, builder)
        return analyse(graph, manager.op_rules, manager.adapters, renormalise, states)


def select_plan(
    model: nn.Module,
    coupling: Coupling,
    ratios: np.ndarray[Any, Any],
    criterion: str,
    *,
    scope: Scope = "local",
    round_to: int = 1,
    example_inputs: Any = None,
    calibrate: Callable[[nn.Module], Any] | None = None,
) -> Plan:
    """Rank the units of a coupling by a criterion and plan the lowest `ratios[i]` of each dim to leave."""
    sizes = [len(dim) for dim in coupling.dims]
    record = current().criteria[criterion]
    collector = None
    if calibrate is not None and record.collector is not None:
        asked = [i for i, size in enumerate(sizes) if int(ratios[i] * size)]
        collector = calibrated(model, coupling.dims, asked, record.collector(), calibrate)
    score = scorer(model, coupling, criterion, collector=collector)
    groups = isomorphic_groups(coupling.dims, named_parameters(model)) if scope == "isomorphic" else None
    leaving = spare(coupling, select(sizes, ratios, score, scope, round_to, groups), score)
    return make_plan(model, coupling, leaving, example_inputs)


def spare(coupling: Coupling, leaving: Sequence[Leavers], score: Callable[[int], Leavers]) -> list[Leavers]:
    """Take back units, those with the highest scores first, until something of every axis stays.

    Units of several dims can between them hold all slices of an axis, though something of every dim stays. And
    some axes must stay longer than others.
    """
    found = list(leaving)
    while blamed := _blamed(coupling, found):
        choices = [(i, units, score(i)) for i, units in blamed]
        i, units, scores = max(choices, key=lambda choice: choice[2][choice[1]].max() / max(choice[2].mean(), 1e-300))
        found[i] = found[i][found[i] != units[np.argmax(scores[units])]]
    return found


def _blamed(coupling: Coupling, leaving: Sequence[Leavers]) -> list[tuple[int, Leavers]]:
    """The dims, with those of their units that leave, of which some must stay; none if nothing is wrong."""
    gone = _gone(coupling, leaving)
    dims = [(i, dim) for i, dim in enumerate(coupling.dims) if len(leaving[i])]
    if emptied := gone.emptied():
        return [(i, leaving[i]) for i, dim in dims if emptied[0] in dim.slices]
    if order := gone.disorder():
        taking = gone.taking(order.longer)
        found = [(i, leaving[i][np.isin(dim.classes[leaving[i]], taking)]) for i, dim in dims]
        return [(i, units) for i, units in found if len(units)]
    return []


def _gone(coupling: Coupling, leaving: Sequence[Leavers]) -> Leaving:
    classes = [dim.classes[gone] for dim, gone in zip(coupling.dims, leaving, strict=True)]
    return coupling.leaving(np.concatenate([np.empty(0, np.int64), *classes]))


def scorer(
    model: nn.Module,
    coupling: Coupling,
    criterion: str,
    weights: Mapping[str, Tensor] | None = None,
    collector: Collector | None = None,
) -> Any:
    """The function that gives the scores of dim i, shape (units,).

    `weights`: looked at instead of the model's. `collector`: what has gathered for a criterion of mini-batches.
    """
    record, source = current().criteria[criterion], current().criteria.source(criterion)
    parameters = named_parameters(model) if weights is None else weights
    cache: SumCache = {}

    def score(i: int, places: Sequence[tuple[str, int]] | None = None) -> np.ndarray[Any, Any]:
        dim = coupling.dims[i]
        slices = dim.slices if places is None else {place: dim.slices[place] for place in places}
        members = members_of(slices, dim.readers, parameters, cache)
        if not members:
            return np.zeros(len(dim))
        if collector is not None:
            return np.asarray(collector.scores(i, members), np.float64)
        if record.score is None:
            raise PlanError(
                f"the criterion {criterion!r} scores what mini-batches show, and none ran",
                where="criterion",
                hint="give calibrate=, a function that runs some through the model",
            )
        try:
            return np.asarray(record.score(members))
        except PlanError:
            raise
        except Exception as error:
            if bare := [member.name for member in members if member.tensor.is_meta]:
                raise PlanError(
                    f"it has no data (it is on the meta device) for the criterion {criterion!r} to look at",
                    where=bare[0],
                    hint="load the weights first",
                ) from error
            raise PluginError(
                f"the criterion {criterion!r} of {source} failed: {type(error).__name__}: {error}", where=dim.name
            ) from error

    return score


def make_plan(
    model: nn.Module,
    coupling: Coupling,
    leaving: Sequence[np.ndarray[Any, Any]],
    example_inputs: Any = None,
    silenced: Silenced | None = None,
) -> Plan:
    """The plan by which the given units of each dim leave; the plugins are shown it first."""
    gone = _gone(coupling, leaving)
    for name, axis in gone.emptied():
        raise PlanError(f"nothing of its axis {axis} would stay", where=name, hint="let fewer units leave")
    if order := gone.disorder():
        raise PlanError(order.reason, where=order.op.place if order.op else "plan", hint="let fewer units leave")
    try:
        changes = gone.attributes()
    except ValueError as error:
        raise PlanError(
            str(error), where="plan", hint="prune the dims it involves one at a time, or keep them"
        ) from error
    attributes: dict[tuple[str, str], tuple[Any, Any]] = {}
    for attribute, (old, new) in changes.items():
        key = (attribute.module, attribute.name)
        if attribute.index is None:
            attributes[key] = (old, new)
        else:
            held = tuple(coupling.graph.attributes[key])
            before, after = attributes.get(key, (held, held))
            entries = list(after)
            entries[attribute.index] = new
            attributes[key] = (before, tuple(entries))
    scales = renormalising(model, gone)
    nothing = np.empty(0, np.int64)
    shown = [*zip(coupling.dims, leaving, strict=True), *((dim, nothing) for dim in coupling.on_request)]
    made = Plan(
        dims=tuple(_dim(dim, out) for dim, out in shown),
        refusals=coupling,
        cuts=gone.cuts(),
        attributes=attributes | scales.attributes,
        shapes={name: tuple(tensor.shape) for name, tensor in named_tensors(model).items()},
        cautions=_cautions(coupling),
        scalings=tuple(scales.scalings),
        counted=tuple(scales.counted),
        scales=scales.scales,
        unmasked=frozenset(coupling.labelling.facts.unmasked),
        states=StateCuts.of(gone),
        builder=coupling.graph.builder,
        silenced=silenced,
        example_inputs=example_inputs,
        chains=Chains(coupling),
    )
    current().plan_ready(made)
    return made


def _dim(units: Units, out: np.ndarray[Any, Any]) -> Dim:
    stays = np.ones(len(units), bool)
    stays[out] = False
    return Dim(
        name=units.name,
        size=len(units),
        kept=np.flatnonzero(stays),
        slices=units.slices,
        readers=units.readers,
        exact=is_exact(units),
        renormalises=tuple(dict.fromkeys(reason_of(fact) for fact in units.renormalisations)),
    )


def _cautions(coupling: Coupling) -> tuple[str, ...]:
    graph = coupling.graph
    found = [f"the forward reads values at {line}: only the path the example took is known" for line in graph.decisions]
    found += [f"the forward compares {text}: only the path the example took is known" for text in branches(graph)]
    if graph.training_failure:
        found.append(
            f"the model does not run in training mode ({graph.training_failure}): what only that does is unknown"
        )
    return tuple(found)
