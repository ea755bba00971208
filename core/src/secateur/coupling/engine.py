"""Walk the graph once and let the rules label every axis.

An operation without a rule fixes all axes of its inputs, with a reason that names it. Model inputs and outputs stay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from attrs import frozen

from secateur.coupling.binding import BindingError, bind
from secateur.coupling.constants import unfollowed
from secateur.coupling.facts import Facts, SizeFact
from secateur.coupling.labels import Axis, Labels, fixed
from secateur.coupling.site import Site
from secateur.coupling.sources import Source, settle
from secateur.coupling.states import States, states_of
from secateur.errors import PluginError
from secateur.graph.ir import Graph, ModuleCall, Op, Value
from secateur.graph.sizes import Attribute
from secateur.records import LayerAdapter, OpRule

NO_RULE = "no rule for the operation {kind!r}"
UNUSED = "it took no part in the recorded run"
LOOSE = "give a state among the example inputs, and what goes round becomes smaller with the layer"
NO_RULE_HINT = "a plugin can supply one with the hook secateur_op_rules"


@frozen(eq=False)
class Labelling:
    """What one pass over a graph found: the facts, and the labels of every value."""

    graph: Graph
    facts: Facts
    labels: Mapping[str, Labels]
    states: States = States()  # noqa: RUF009 - frozen


def label(
    graph: Graph, rules: Mapping[str, OpRule], adapters: Mapping[str, LayerAdapter], states: bool = True
) -> Labelling:
    """Label every axis of every value of a graph.

    `rules` by operation name, `adapters` by qualified module type. `states`: let recurrent states that the model takes
    and returns become smaller. Raises `PluginError` if a rule breaks its contract.
    """
    carried = states_of(graph, rules) if states else States()
    facts = Facts()
    labels: dict[str, Labels] = {}
    read = {name for op in graph.ops.values() for name in op.inputs}
    for value in graph.values.values():
        if value.kind != "activation":
            unused = value.name in graph.unused or value.name not in read
            labels[value.name] = _source(value, graph, facts, UNUSED + _training_note(graph) if unused else "")
            if value.name in carried.taken:
                units = Axis(facts.fresh(value.shape[-1]))
                labels[value.name] = Labels(value.name, (*labels[value.name].axes[:-1], units))
    present = {kind: rules[kind] for kind in {op.kind for op in graph.ops.values()} if kind in rules}
    for op in graph.ops.values():
        outputs = _apply(op, graph, facts, labels, present.get(op.kind))
        for name, axes in zip(op.outputs, outputs, strict=True):
            labels[name] = Labels(name, tuple(axes))
        if op.overwrites and op.outputs:
            _overwrite(op, facts, labels)
    for name in graph.outputs:
        axes = labels[name].axes
        for axis in axes[:-1] if name in carried.returned else axes:
            hint = LOOSE if name in carried.loose else ""
            facts.fix(axis.atoms, "it is an output of the model", hint=hint, op=graph.producer.get(name))
    if graph.decisions and graph.unused:
        _refuse_all(graph, facts, labels)
    _mirror(graph, facts, labels, adapters)
    facts.sizes += unfollowed(graph, facts, labels)
    settle(labels[value.name] for value in graph.values.values() if value.kind != "activation")
    return Labelling(graph, facts, labels, carried)


def _training_note(graph: Graph) -> str:
    failure = graph.training_failure
    return f", and the model does not run in training mode ({failure})" if failure else ""


def _refuse_all(graph: Graph, facts: Facts, labels: Mapping[str, Labels]) -> None:
    """The forward chose a path by values, and some parameters lie on another: what those read is not known."""
    reason = (
        f"the forward takes one path or another by the values of tensors ({graph.decisions[0]}), and parameters on "
        f"another path were not reached ({graph.unused[0]}): what they read is not known"
    )
    for value in graph.values.values():
        if value.kind in ("parameter", "buffer"):
            for axis in labels[value.name].axes:
                facts.fix(axis.atoms, reason)


def _source(value: Value, graph: Graph, facts: Facts, unused: str) -> Labels:
    if value.kind in ("parameter", "buffer") and value.dtype.startswith(("float", "bfloat", "complex")):
        home = _home(value.name, graph)
        axes = [
            Source(None, free=True, facts=facts, key=(value.name, axis), length=length, home=home)
            if length > 1
            else fixed(length)
            for axis, length in enumerate(value.shape)
        ]
        if unused:
            for axis in axes:
                facts.fix(axis.atoms, unused)
        return Labels(value.name, tuple(axes))
    return Labels(value.name, tuple(fixed(length, zero=False) for length in value.shape))


def _home(name: str, graph: Graph) -> tuple[str, str] | None:
    """The kind and the module of all operations that read a tensor; None if they differ, or the model returns it."""
    readers = graph.consumers.get(name, ())
    if len(readers) == 1 and name not in graph.outputs:
        return readers[0].kind, readers[0].module
    homes = {(op.kind, op.module) for op in readers}
    return homes.pop() if len(homes) == 1 and name not in graph.outputs else None


def _apply(
    op: Op, graph: Graph, facts: Facts, labels: Mapping[str, Labels], rule: OpRule | None
) -> list[Sequence[Axis]]:
    made_from_sizes = rule is not None and (rule.creates or not op.inputs)
    if not made_from_sizes and not any(axis.free for name in op.inputs for axis in labels[name].axes):
        return _all_fixed(op, graph)
    if rule is None:
        return _refuse(op, graph, facts, labels, NO_RULE.format(kind=op.kind), NO_RULE_HINT)
    try:
        site = Site(op, graph, facts, labels, bind(op, rule.signature))
    except BindingError as error:
        reason = f"the rule for {op.kind!r} does not know this form of the call: {error}"
        return _refuse(op, graph, facts, labels, reason, NO_RULE_HINT)
    try:
        made = rule.apply(site)
    except NotImplementedError as error:
        return _refuse(op, graph, facts, labels, str(error), "")
    except Exception as error:
        raise PluginError(
            f"the rule {rule.name!r} failed on {op}: {type(error).__name__}: {error}", where=op.place
        ) from error
    outputs = _outputs(made, op, rule)
    if len(outputs) != len(op.outputs):
        raise PluginError(
            f"the rule {rule.name!r} labelled {len(outputs)} of {len(op.outputs)} outputs: {op}", where=op.place
        )
    for name, axes in zip(op.outputs, outputs, strict=True):
        lengths = tuple([len(axis) for axis in axes])
        if lengths != graph.values[name].shape:
            raise PluginError(
                f"the rule {rule.name!r} gave axes of lengths {lengths} to an output of shape "
                f"{graph.values[name].shape}: {op}",
                where=op.place,
            )
    return outputs


def _outputs(made: Any, op: Op, rule: OpRule) -> list[Sequence[Axis]]:
    """What a rule returned, as one sequence of axes per output; anything else is a `PluginError`."""
    several = isinstance(made, list) and made and not isinstance(made[0], Axis)
    outputs = [axes.axes if isinstance(axes, Labels) else axes for axes in (made if several else [made])]
    for axes in outputs:
        if not isinstance(axes, tuple | list) or not all(isinstance(axis, Axis) for axis in axes):
            raise PluginError(
                f"the rule {rule.name!r} gave {axes!r} where a sequence of axes is due: {op}", where=op.place
            )
    return outputs


def _all_fixed(op: Op, graph: Graph) -> list[Sequence[Axis]]:
    return [[fixed(n, zero=False) for n in graph.values[name].shape] for name in op.outputs]


def _refuse(
    op: Op, graph: Graph, facts: Facts, labels: Mapping[str, Labels], reason: str, hint: str
) -> list[Sequence[Axis]]:
    for name in op.inputs:
        for axis in labels[name].axes:
            facts.fix(axis.atoms, reason, hint=hint, op=op)
    return _all_fixed(op, graph)


def _overwrite(op: Op, facts: Facts, labels: dict[str, Labels]) -> None:
    """A call changed memory that other values share: they keep their labels only if the call kept its own.

    An operation of torch changes its first tensor; of any other, and with `out=`, it is not known which.
    """
    before, after = labels[op.inputs[0]], labels[op.outputs[0]]
    first = "::" not in op.kind and "." not in op.kind and "out" not in op.kwargs
    kept = (
        first
        and len(before) == len(after)
        and all(
            old.atoms is new.atoms or np.array_equal(old.atoms, new.atoms)
            for old, new in zip(before.axes, after.axes, strict=True)
        )
    )
    for name in op.overwrites:
        if name not in labels:
            continue
        if kept and op.kind == "zero":  # wherever they are written, what was zero still is
            continue
        if kept:
            labels[name] = Labels(name, tuple(axis.nonzero() for axis in labels[name].axes))
        else:
            for axis in labels[name].axes:
                facts.fix(axis.atoms, f"memory it shares is overwritten by {op.kind!r}", op=op)


def _mirror(graph: Graph, facts: Facts, labels: Mapping[str, Labels], adapters: Mapping[str, LayerAdapter]) -> None:
    known: dict[tuple[str, ...], list[tuple[str, list[Reference]]]] = {}
    for call in graph.calls:
        # A subclass that computes otherwise does no harm: attributes are matched by value, and a contradiction fixes.
        kinds = (call.type, *call.bases)
        mirrors = known.get(kinds)
        if mirrors is None:
            mirrors = known[kinds] = _mirrors(kinds, adapters)
        for attribute, references in mirrors:
            held: Any = graph.attributes.get((call.module, attribute))
            if held is None:
                continue
            for reference in references:
                mirrored = _referred(reference, call, graph, labels)
                if mirrored is not None:
                    if held == len(mirrored) and mirrored.free:
                        facts.sizes.append(SizeFact(Attribute(call.module, attribute), mirrored.atoms, None))
                    break


Reference = tuple[str, int]
"""A value, `"input"`, `"output"` or the name of a parameter, and an axis of it."""


def _mirrors(kinds: tuple[str, ...], adapters: Mapping[str, LayerAdapter]) -> list[tuple[str, list[Reference]]]:
    """The attributes of modules of a type that mirror an axis, each with what it may be, parsed."""
    adapter = next((adapters[kind] for kind in kinds if kind in adapters), None)
    mirrors = adapter.mirrors if adapter else {}
    return [(attribute, [_parsed(one) for one in several.split("|")]) for attribute, several in mirrors.items()]


def _referred(reference: Reference, call: ModuleCall, graph: Graph, labels: Mapping[str, Labels]) -> Axis | None:
    """The axis that `"input:1"` or `"weight:0"` means for one call; None if there is none."""
    where, axis = reference
    if where in ("input", "output"):
        names = call.inputs if where == "input" else call.outputs
        name = names[0] if names else ""
    else:
        name = f"{call.module}.{where}" if call.module else where
        name = graph.aliases.get(name, name)
    axes = labels[name].axes if name in labels else ()
    return axes[axis] if -len(axes) <= axis < len(axes) else None


def _parsed(reference: str) -> Reference:
    where, _, axis = reference.partition(":")
    return where, int(axis)
