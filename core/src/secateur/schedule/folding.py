"""Weights as they are once the normalisation behind them is folded in: what a channel contributes in eval mode.

A layer y = W x followed by z = (y - mean) / sd * gamma + beta computes z = (gamma / sd * W) x + ...: ranked by the
product, a filter with a small gamma is small. Which operations multiply channel by channel, and by what, the rules say
(`OpRule.channel_factor`); which argument of a layer is its weight they say too (`OpRule.contracts`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from secateur.coupling.binding import bind
from secateur.graph.ir import Graph, Op, Ref
from secateur.plugins import current
from secateur.records import OpRule

if TYPE_CHECKING:
    from torch import Tensor


def folded_weights(graph: Graph, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights that something folds into, multiplied; nothing of the model is changed.

    A weight of shape (out, ...) is folded with the operation that directly follows its layer. One whose output goes
    to several operations, or that is used several times, is left out.
    """
    rules = current().op_rules
    readers: dict[str, list[Op]] = {}
    for op in graph.ops.values():
        if not op.training:
            for name in op.inputs:
                readers.setdefault(name, []).append(op)
    found: dict[str, Tensor] = {}
    for op in graph.ops.values():
        rule = rules.get(op.kind, None)
        if op.training or rule is None or rule.contracts is None:
            continue
        weight = _bound(op, rule).get(rule.contracts.factors[1])
        after = readers.get(op.outputs[0], [])
        if not isinstance(weight, Ref) or weight.name not in tensors or len(readers[weight.name]) + len(after) != 2:
            continue
        factor = _factor(after[0], rules.get(after[0].kind, None), op.outputs[0], tensors)
        data = tensors[weight.name].detach()
        if factor is not None and len(factor) == len(data):
            found[weight.name] = data * factor.to(data.dtype).reshape(-1, *[1] * (data.dim() - 1))
    return found


def _factor(op: Op, rule: OpRule | None, data: str, tensors: Mapping[str, Tensor]) -> Tensor | None:
    """By what an operation multiplies each channel of a value; None if it does not do just that."""
    if rule is None or rule.channel_factor is None:
        return None
    arguments = {
        name: tensors.get(value.name) if isinstance(value, Ref) else value for name, value in _bound(op, rule).items()
    }
    return rule.channel_factor(arguments) if op.inputs[0] == data else None


def _bound(op: Op, rule: OpRule) -> dict[str, Any]:
    return bind(op, rule.signature)
