"""What a network computes: multiply-accumulates, shapes, memory and seconds, module by module or call by call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from attrs import frozen

from secateur.errors import SecateurError, suggestion
from secateur.graph.capture import trace
from secateur.graph.ir import Graph
from secateur.measure import count_parameters
from secateur.plugins import current
from secateur.summaries.holdings import KB, Holding, row_of
from secateur.summaries.lines import Line, module_lines, op_lines
from secateur.summaries.memory import most_alive
from secateur.summaries.table import Cell, Column, Table, plain
from secateur.summaries.timing import in_turns, module_clock, op_clock

if TYPE_CHECKING:
    from torch import nn

    from secateur.records import OpRule

Level = Literal["module", "op"]
LEVELS: tuple[Level, ...] = ("module", "op")
MS = 1000


def compute(
    model: nn.Module,
    example_inputs: tuple[Any, ...] | Mapping[str, Any],
    *,
    level: Level = "module",
    depth: int | None = None,
    latency: bool = False,
    repeats: int = 20,
    warmup: int = 3,
    builder: str = "trace",
    name: str | None = None,
) -> Table:
    """What a model computes when it runs once on the example inputs, in eval mode, and what it holds for that.

    All numbers are of the whole run, whatever its batch. One row per module that computes or holds anything, in the
    order in which they run, without what modules in rows of their own do; with `depth`, a row has all that is below a
    module of so many names (`layer1.0` has two). Or, with `level="op"`, one row per operation. Columns:

    - `type`, and `calls` of a module in this run; `input` and `output`: shapes, of a module's first call.
    - `parameters`, their `memory`, and that of `buffers`, in KB (1000 bytes); a tied tensor counts where it is met
      first, by operation where it is read first.
    - `MACs`: multiply-accumulates as the rules of operations count them (convolutions, matrix products, einsum,
      attention, recurrent layers, …), and the `share of MACs`. What no rule counts (additions, activations, norms) has
      none.
    - `activations`, KB: what the operations return, without views and what `inplace=True` writes; the most of it that
      is alive at once is told below the table.
    - with `latency`: milliseconds and the `share of latency`, as `secateur.summaries.timing` takes them, medians of
      `repeats`. Their total is the sum of the rows; the whole forward, timed by itself, is told below the table. It
      may take longer than the sum: an interruption by other programs hits one module or another, but every whole pass.

    Raises `CaptureError` if the model does not run on the inputs, `SecateurError` for an unknown level.
    """
    subject = Subject(model, example_inputs, name or type(model).__name__)
    (table,) = computed(
        [subject], level=level, depth=depth, latency=latency, repeats=repeats, warmup=warmup, builder=builder
    )
    return table


@frozen(eq=False)
class Subject:
    """A model, what it takes, and what titles call it."""

    model: nn.Module
    inputs: Any
    name: str


def computed(
    subjects: Sequence[Subject],
    *,
    level: Level = "module",
    depth: int | None = None,
    latency: bool = False,
    repeats: int = 20,
    warmup: int = 3,
    builder: str = "trace",
) -> list[Table]:
    """What `compute` tells of each of several models; they are timed in turns, so that all meet the same machine."""
    if level not in LEVELS:
        raise SecateurError(f"no level {level!r}", where="compute", hint=suggestion(level, LEVELS))
    if level == "op" and depth is not None:
        raise SecateurError("depth goes with level 'module'", where="compute", hint="leave out one of them")
    rules = current().op_rules
    told: list[tuple[str, dict[str, Line], list[str]]] = []
    for subject in subjects:
        graph = trace(subject.model, subject.inputs, builder)
        lines = op_lines(graph, rules) if level == "op" else module_lines(graph, rules, subject.model, depth)
        shapes = ", ".join(plain(graph.values[entry].shape, "×") for entry in graph.inputs)
        notes = _notes(graph, rules)
        unread = count_parameters(subject.model) - sum(line.held.parameters for line in lines.values())
        if unread:
            notes.append(f"{unread:,} parameters are read by no operation in eval mode")
        told.append((f"compute of {subject.name} on {shapes}", lines, notes))
    if latency:
        by_op = level == "op"
        clocks = [op_clock(s.model, s.inputs, builder) if by_op else module_clock(s.model, s.inputs) for s in subjects]
        for (_, lines, notes), timed in zip(told, in_turns(clocks, repeats, warmup), strict=True):
            _add_seconds(lines, timed.own if by_op else _by_row(timed.own, depth))
            notes.append(f"the whole forward, timed by itself in between: {timed.whole}")
    return [
        _table([line for line in lines.values() if line.tells], title, level, latency, notes)
        for title, lines, notes in told
    ]


def _notes(graph: Graph, rules: Mapping[str, OpRule]) -> list[str]:
    found = [f"at most {most_alive(graph) / KB:,.1f} KB of inputs and activations are alive at once"]
    unknown = sorted({op.kind for op in graph.ops.values() if op.kind not in rules and not op.training})
    if unknown:
        found.append(f"not counted, for want of a rule: {', '.join(unknown)}")
    return found


def _add_seconds(lines: Mapping[str, Line], own: Mapping[str, float]) -> None:
    for key, seconds in own.items():
        if key in lines:
            lines[key].seconds = seconds


def _by_row(own: Mapping[str, float], depth: int | None) -> dict[str, float]:
    """The seconds of modules, summed over those that share a row."""
    found: dict[str, float] = {}
    for path, seconds in own.items():
        found[row_of(path, depth)] = found.get(row_of(path, depth), 0.0) + seconds
    return found


def _table(lines: Sequence[Line], title: str, level: Level, latency: bool, notes: Iterable[str]) -> Table:
    every = Line("total", "", held=Holding(""))
    for line in lines:
        every.include(line)
    timed = every.seconds or 0.0

    def cells(line: Line, known: bool = True) -> tuple[Cell, ...]:
        seconds = None if line.seconds is None else line.seconds * MS
        share = None if line.seconds is None or not timed else line.seconds / timed
        return (
            line.calls if known and level == "module" else None,
            _shapes(line.inputs),
            _shapes(line.outputs),
            line.held.parameters,
            line.held.weight_bytes / KB,
            line.held.buffer_bytes / KB,
            line.activations / KB,
            line.macs,
            line.macs / every.macs if every.macs else None,
            *((seconds, share) if latency else ()),
        )

    return Table(
        title=title,
        columns=(
            Column("module" if level == "module" else "op"),
            Column("type" if level == "module" else "kind", rank=5),
            *([Column("in module", rank=12)] if level == "op" else []),
            Column("calls", zero="-", rank=10),
            Column("input", rank=7),
            Column("output", rank=4),
            Column("parameters", form=",d", zero="-", rank=1, compared=True),
            Column("memory", "KB", ",.1f", "-", rank=6, compared=True),
            Column("buffers", "KB", ",.1f", "-", rank=9, compared=True),
            Column("activations", "KB", ",.1f", "-", rank=3, compared=True),
            Column("MACs", form=",d", zero="-", compared=True),
            Column("share of MACs", form=".1%", zero="-", rank=2),
            *([Column("latency", "ms", ".3f", compared=True)] if latency else []),
            *([Column("share of latency", form=".1%", rank=3)] if latency else []),
        ),
        rows=[(line.name, line.type, *([line.module] if level == "op" else []), *cells(line)) for line in lines],
        total=("total", None, *([None] if level == "op" else []), *cells(every, known=False)),
        notes=notes,
    )


def _shapes(shapes: tuple[tuple[int, ...], ...] | None) -> Cell:
    """One shape as it is, several in a tuple."""
    return shapes[0] if shapes and len(shapes) == 1 else shapes or None
