"""What each operation of a graph computes, holds and moves: multiply-accumulates, elements, bytes, intensity."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from math import prod

from attrs import frozen

from secateur.graph.ir import Graph, Value
from secateur.plugins import current
from secateur.records import OpRule


@frozen(kw_only=True)
class Cost:
    """What one operation costs in the recorded run, whatever its batch."""

    op: str
    kind: str
    module: str
    macs: int
    """Multiply-accumulates, by the rule of the operation; 0 if it has none that count."""
    parameters: int
    """Elements of the parameters it reads."""
    parameter_bytes: int
    """Bytes of the parameters and buffers it reads."""
    input_elements: int
    """Elements of the activations (and inputs of the model) it reads; one that it reads twice counts once."""
    input_bytes: int
    output_elements: int
    output_bytes: int

    @property
    def flops(self) -> int:
        """Floating-point operations: a multiply-accumulate is two of them."""
        return 2 * self.macs

    @property
    def bytes(self) -> int:
        """Bytes that move if everything it reads is read once, and what it writes is written once."""
        return self.parameter_bytes + self.input_bytes + self.output_bytes

    @property
    def intensity(self) -> float:
        """Arithmetic intensity, multiply-accumulates per byte that moves: `macs / bytes`.

        This is the compulsory traffic (Williams, Waterman and Patterson, "Roofline", CACM 52(4), 2009): caches hold
        everything, and nothing is fused. Twice as much in floating-point operations per byte.
        """
        return self.macs / self.bytes if self.bytes else 0.0


def costs(graph: Graph, rules: Mapping[str, OpRule] | None = None) -> dict[str, Cost]:
    """{operation: what it costs}, in the order in which they run; what only training does is left out.

    `rules`: those that count multiply-accumulates; by default of all plugins. The sum of `macs` over the length of the
    batch is `count_macs`. Takes time linear in the size of the graph.
    """
    known = current().op_rules if rules is None else rules
    found = {}
    for op in graph.ops.values():
        if op.training:
            continue
        rule = known.get(op.kind, None)
        read = [graph.values[name] for name in dict.fromkeys(op.inputs)]
        learned = [value for value in read if value.kind in ("parameter", "buffer")]
        data = [value for value in read if value.kind in ("input", "activation")]
        made = [graph.values[name] for name in op.outputs]
        found[op.name] = Cost(
            op=op.name,
            kind=op.kind,
            module=op.module,
            macs=rule.macs(op, graph) if rule is not None and rule.macs is not None else 0,
            parameters=_elements(value for value in learned if value.kind == "parameter"),
            parameter_bytes=_bytes(learned),
            input_elements=_elements(data),
            input_bytes=_bytes(data),
            output_elements=_elements(made),
            output_bytes=_bytes(made),
        )
    return found


def _elements(values: Iterable[Value]) -> int:
    return sum(prod(value.shape) for value in values)


def _bytes(values: Iterable[Value]) -> int:
    return sum(prod(value.shape) * item_bytes(value.dtype) for value in values)


def item_bytes(dtype: str) -> int:
    """Bytes of one element of a dtype, by its name in torch.

    >>> [item_bytes(name) for name in ("float32", "bfloat16", "bool", "complex64", "float8_e4m3fn")]
    [4, 2, 1, 8, 1]
    """
    bits = re.search(r"\d+", dtype)
    return max(int(bits[0]) // 8, 1) if bits else 1
