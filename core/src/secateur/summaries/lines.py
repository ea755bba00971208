"""What the rows of a summary say: what each module, or each operation, computes and holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod
from typing import TYPE_CHECKING

from attrs import define, field

from secateur.graph.ir import Graph
from secateur.measure import macs_by_op
from secateur.summaries.holdings import ITSELF, Holding, holdings, row_of
from secateur.summaries.memory import bytes_of, made_by
from secateur.summaries.table import Shape

if TYPE_CHECKING:
    from torch import nn

    from secateur.records import OpRule


@define
class Line:
    """One row: counts of the whole run, bytes, and seconds if they were taken."""

    name: str
    type: str
    module: str = ""
    calls: int = 0
    inputs: tuple[Shape, ...] | None = None
    outputs: tuple[Shape, ...] | None = None
    held: Holding = field(factory=lambda: Holding(""))
    ops: int = 0
    macs: int = 0
    activations: int = 0
    seconds: float | None = None

    @property
    def tells(self) -> bool:
        """Whether anything is computed or held there."""
        return bool(self.ops or self.held.parameters or self.held.buffer_bytes)

    def include(self, other: Line) -> None:
        """Add what another row says."""
        self.held.include(other.held)
        self.ops += other.ops
        self.macs += other.macs
        self.activations += other.activations
        if other.seconds is not None:
            self.seconds = (self.seconds or 0.0) + other.seconds


def module_lines(graph: Graph, rules: Mapping[str, OpRule], model: nn.Module, depth: int | None) -> dict[str, Line]:
    """{module path: its row}, in the order in which they run; what runs nothing follows the module before it."""
    lines = {row: Line(row or ITSELF, held.type, held=held) for row, held in holdings(model, depth).items()}
    macs = macs_by_op(graph, rules)
    first: dict[str, int] = {}
    for at, op in enumerate(graph.ops.values()):
        if op.training:
            continue
        row = _known(row_of(op.module, depth), lines)
        first.setdefault(row, at)
        lines[row].ops += 1
        lines[row].macs += macs.get(op.name, 0)
        lines[row].activations += made_by(op, graph)
    for call in graph.calls:
        line = lines.get(call.module)
        if line is None or not (call.inputs or call.outputs):  # only its parameters were used
            continue
        if any(name in graph.producer and graph.producer[name].training for name in call.outputs):
            continue
        line.calls += 1
        if line.inputs is None:
            line.inputs, line.outputs = _shapes(graph, call.inputs), _shapes(graph, call.outputs)
    places: dict[str, int] = {}
    before = -1
    for row in lines:
        before = places[row] = first.get(row, before)
    return {row: lines[row] for row in sorted(lines, key=places.__getitem__)}


def _known(path: str, lines: Mapping[str, Line]) -> str:
    """The path itself, or that of the nearest module around it which has a row."""
    while path and path not in lines:
        path = path.rpartition(".")[0]
    return path


def op_lines(graph: Graph, rules: Mapping[str, OpRule]) -> dict[str, Line]:
    """{operation: its row}, in the order in which they run. A parameter or buffer counts where it is read first."""
    macs = macs_by_op(graph, rules)
    lines: dict[str, Line] = {}
    seen: set[str] = set()
    for op in graph.ops.values():
        if op.training:
            continue
        line = lines[op.name] = Line(op.name, op.kind, op.module or ITSELF, calls=1, ops=1)
        taken = [name for name in op.inputs if graph.values[name].kind in ("input", "activation")]
        line.inputs, line.outputs = _shapes(graph, taken), _shapes(graph, op.outputs)
        line.macs, line.activations = macs.get(op.name, 0), made_by(op, graph)
        for value in (graph.values[name] for name in op.inputs if name not in seen):
            seen.add(value.name)
            if value.kind == "parameter":
                line.held.parameters += prod(value.shape)
                line.held.weight_bytes += bytes_of(value)
            elif value.kind == "buffer":
                line.held.buffer_bytes += bytes_of(value)
    return lines


def _shapes(graph: Graph, names: Iterable[str]) -> tuple[Shape, ...]:
    """The shapes of some values, each once; values that are not in the graph are left out."""
    return tuple(graph.values[name].shape for name in dict.fromkeys(names) if name in graph.values)
