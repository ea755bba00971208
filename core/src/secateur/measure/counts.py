"""Count what a network holds and what it computes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attrs import frozen

from secateur.graph.ir import Graph
from secateur.records import OpRule

if TYPE_CHECKING:
    from torch import nn


def count_parameters(model: nn.Module) -> int:
    """The number of elements of all parameters; a tied parameter counts once."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_bytes(model: nn.Module) -> int:
    """The bytes of all parameters and buffers that a checkpoint holds; tied ones count once."""
    held = {id(tensor): tensor for tensor in model.state_dict(keep_vars=True).values() if hasattr(tensor, "numel")}
    return sum(tensor.numel() * tensor.element_size() for tensor in held.values())


def count_macs(graph: Graph, rules: Mapping[str, OpRule]) -> int:
    """Multiply-accumulates of one example: those of all operations of the run, over the length of its batch.

    The batch is axis 0 of the first input. Operations of training mode only are left out, and so are those whose rule
    counts nothing (additions, activations, normalisations).
    """
    counted = sum(macs_by_op(graph, rules).values())
    shape = graph.values[graph.inputs[0]].shape if graph.inputs else ()
    return counted // max(shape[0], 1) if shape else counted


def macs_by_op(graph: Graph, rules: Mapping[str, OpRule]) -> dict[str, int]:
    """{name of an operation: its multiply-accumulates, of the whole batch}, for those that `count_macs` counts."""
    counted = {}
    for op in graph.ops.values():
        rule = rules.get(op.kind, None)
        if rule is not None and rule.macs is not None and not op.training:
            counted[op.name] = rule.macs(op, graph)
    return counted


@frozen
class Batch:
    """What a recorded run worked on: `count` of them, and what one is called, "example" or "token"."""

    count: int
    noun: str


def batch_of(graph: Graph) -> Batch:
    """The batch of a recorded run: axis 0 of its first input.

    If that is tokens (integers of two axes, time and batch in either order) and an output has an answer for each of
    them, as a language model's [time, batch, words], it is all the tokens.
    """
    if not graph.inputs or not graph.values[graph.inputs[0]].shape:
        return Batch(1, "example")
    first = graph.values[graph.inputs[0]]
    answers = [graph.values[name].shape for name in graph.outputs]
    if (
        first.dtype.startswith(("int", "uint"))
        and len(first.shape) == 2
        and any(len(shape) == 3 and tuple(shape[:2]) == tuple(first.shape) for shape in answers)
    ):
        return Batch(max(first.shape[0] * first.shape[1], 1), "token")
    return Batch(max(first.shape[0], 1), "example")


def macs_each(graph: Graph, rules: Mapping[str, OpRule]) -> int:
    """Multiply-accumulates of one example or token, as `batch_of` counts them."""
    return sum(macs_by_op(graph, rules).values()) // batch_of(graph).count


def macs(model: nn.Module, example_inputs: tuple[Any, ...] | Mapping[str, Any], builder: str = "trace") -> int:
    """Multiply-accumulates of one example, from a recorded run; see `count_macs`.

    Raises `CaptureError` if the model does not run on the inputs.
    """
    from secateur.graph.capture import trace
    from secateur.plugins import current

    return count_macs(trace(model, example_inputs, builder), current().op_rules)
