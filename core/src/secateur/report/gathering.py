"""What plans, graphs and measurements say, as the plain records of a report."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import evolve

from secateur.coupling.refusals import Refusal
from secateur.graph.ir import Graph
from secateur.graph.modules import modules_of
from secateur.measure import Comparison, Latency, macs_by_op
from secateur.records import OpRule
from secateur.report.content import Held, Module, Proof, Pruned, Spread, Stay, Tally, Timing
from secateur.report.environment import device_of, threads
from secateur.thinning.plan import Plan
from secateur.thinning.tables import partners
from secateur.thinning.verify import Difference

if TYPE_CHECKING:
    from torch import nn

    from secateur.schedule.scheduler import Scheduler

PLACE = re.compile(
    r"(?P<what>.*), in (?P<operation>\S+) at (?P<place>.+? \([^()]*:\d+\)|the model itself|\S+)(?P<hint> \(.*\))?",
    re.DOTALL,
)
"""How a reason names the operation that it is of, and where that stands; see `secateur.coupling.refusals`."""
RELOADED = "Reloaded into a fresh dense network"
Tallies = Mapping[str, tuple[str, Tally]]


def pruned_by(plan: Plan) -> tuple[Pruned, ...]:
    """The dims of a plan."""
    ranks = {name: len(shape) for name, shape in plan.shapes.items()}
    return tuple(
        Pruned(dim.name, dim.size, len(dim.kept), 0, tuple(partners(dim, ranks)), _note(dim))
        for dim in plan.dims
        if dim.size > 1 or len(dim.leaving)
    )


def pruned_during(scheduler: Scheduler) -> tuple[Pruned, ...]:
    """The dims that there were when a schedule began, with what is left and what is masked now."""
    ranks = {name: tensor.dim() for name, tensor in scheduler.network.tensors.items()}
    masked = {dim.name: len(units) for dim, units in zip(scheduler.dims, scheduler.leaving, strict=True)}
    dims = {dim.name: dim for dim in scheduler.dims}
    found = []
    for name, size in scheduler.original.items():
        if name in dims:
            found.append(Pruned(name, size, len(dims[name]), masked[name], tuple(partners(dims[name], ranks))))
        else:  # a dim of one unit is no dim any more
            found.append(Pruned(name, size, 1))
    return tuple(found)


def _note(dim: Any) -> str:
    if not dim.renormalises:
        return ""
    return "compensated" if dim.exact else "renormalises"


def stays_of(refusals: Iterable[Refusal]) -> tuple[Stay, ...]:
    """What stays, by reason; the reason that most axes have comes first."""
    grouped: dict[str, dict[tuple[str, int], Held]] = {}
    for refusal in refusals:
        for number, text in enumerate(refusal.reasons):
            reason, operation, place = split_reason(text)
            if number and not operation:
                continue
            axes, axis = grouped.setdefault(reason, {}), (refusal.parameter, refusal.axis)
            first = Held(*axis, refusal.size, refusal.indices, operation, place)
            axes[axis] = evolve(axes[axis], more=axes[axis].more + 1) if axis in axes else first
    order = sorted(grouped, key=lambda reason: -len(grouped[reason]))
    return tuple(Stay(reason, tuple(grouped[reason].values())) for reason in order)


def split_reason(text: str) -> tuple[str, str, str]:
    """A reason without the operation and the place that it ends with, the operation, and the place.

    >>> split_reason("it is an output of the model, in linear at fc (net.py:16)")
    ('it is an output of the model', 'linear', 'fc (net.py:16)')
    >>> split_reason("it is averaged, in layer_norm at the model itself (renormalise=True prunes it all the same)")
    ('it is averaged (renormalise=True prunes it all the same)', 'layer_norm', 'the model itself')
    """
    found = PLACE.fullmatch(text)
    if found is None:
        return text, "", ""
    return found["what"] + (found["hint"] or ""), found["operation"], found["place"]


def tallies(model: nn.Module, graph: Graph, rules: Mapping[str, OpRule], macs: int) -> Tallies:
    """{path of a module: its type and what it holds and computes itself}, of modules that do either.

    `macs`: of the whole network, for one example; a tied parameter counts where it stands first.
    """
    shapes = {call.module: graph.values[call.outputs[0]].shape for call in graph.calls if call.outputs}
    counted: dict[str, int] = {}
    for name, of_batch in macs_by_op(graph, rules).items():
        module = graph.ops[name].module
        counted[module] = counted.get(module, 0) + of_batch
    whole, seen, found = sum(counted.values()), set[int](), {}
    for path, each in modules_of(model):
        own = [p for p in each._parameters.values() if p is not None and id(p) not in seen]
        seen.update(id(parameter) for parameter in own)
        elements, share = sum(parameter.numel() for parameter in own), counted.get(path, 0)
        if elements or share:
            tally = Tally(elements, round(share * macs / whole) if whole else 0, shapes.get(path))
            found[path] = (type(each).__name__, tally)
    return found


def modules_between(before: Tallies, after: Tallies) -> tuple[Module, ...]:
    """All modules of either, in order."""
    both = dict.fromkeys([*before, *after])
    return tuple(
        Module(path, (before.get(path) or after[path])[0], _tally(before, path), _tally(after, path)) for path in both
    )


def _tally(of: Tallies, path: str) -> Tally | None:
    return of[path][1] if path in of else None


def same_outputs(difference: Difference | None, reference: str, times: int = 1, why_not: str = "") -> Proof:
    """The proof of a thinning, or of the worst of several."""
    title = f"{reference.capitalize()} versus thinned" + (f", the worst of {times} thinnings" if times > 1 else "")
    if difference is None:
        return Proof(title, f"The {reference} and the thinned network were not compared{why_not}.", None, None, None)
    if difference.passed:
        says = f"The thinned network computes what the {reference} one did: {_apart(difference)}."
    else:
        says = f"The thinned network does not compute what the {reference} one did: {_apart(difference)}."
    return _proof(title, says, difference)


def same_reloaded(difference: Difference) -> Proof:
    """The proof of a checkpoint: a fresh dense network that loaded it, beside the thin one."""
    if difference.passed:
        says = f"The checkpoint, loaded into a fresh dense network, gives the same: {_apart(difference)}."
    else:
        says = f"The checkpoint, loaded into a fresh dense network, gives something else: {_apart(difference)}."
    return _proof(RELOADED, says, difference)


def not_reloaded(why: str) -> Proof:
    """What stands where the proof of a checkpoint would, if a fresh network could not be made or did not load it."""
    return Proof(RELOADED, f"The checkpoint was not compared: {why}.", None, None, None)


def _apart(difference: Difference) -> str:
    if difference.absolute == 0:
        return "the outputs are equal to the last bit"
    return f"the outputs differ by at most {difference.relative:.1e} of the largest"


def _proof(title: str, says: str, difference: Difference) -> Proof:
    return Proof(title, says, difference.relative, difference.absolute, difference.tolerance)


def timing(measured: Comparison, shapes: Sequence[Sequence[int]], model: nn.Module) -> Timing:
    """A comparison; `shapes`: of the inputs."""
    on = " and ".join("×".join(str(size) for size in shape) or "one number" for shape in shapes)
    return Timing(
        before=_spread(measured.a),
        after=_spread(measured.b),
        ratio=measured.ratio,
        inputs=on,
        device=device_of(model),
        threads=threads(),
    )


def _spread(measured: Latency) -> Spread:
    return Spread(measured.median, measured.low, measured.high)
