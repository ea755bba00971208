"""The graph: what a model did with its tensors when it ran once, in order, readable as a program.

A `Graph` is frozen and knows nothing of pruning. `str(graph)` prints it as a program; `predecessors` and
`successors` walk it by depth or by kind of operation.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, Literal

import numpy as np
from attrs import define, field

from secateur.errors import SecateurError, suggestion
from secateur.graph.record import record
from secateur.graph.sizes import Size

ValueKind = Literal["input", "parameter", "buffer", "constant", "activation"]


@record
class Ref:
    """A tensor among the arguments of a call, by the name of its value."""

    name: str

    def __str__(self) -> str:
        return f"%{self.name}"


@record
class Opaque:
    """An argument that is neither a number, a string nor a tensor: kept for printing only."""

    text: str

    def __str__(self) -> str:
        return self.text


@record
class Source:
    """The line of the user's code that made a call."""

    file: str
    line: int

    def __str__(self) -> str:
        relative = os.path.relpath(self.file)
        shown = relative if not relative.startswith("..") else os.sep.join(self.file.split(os.sep)[-2:])
        return f"{shown}:{self.line}"


@record(eq=False)
class Value:
    """One tensor of the recorded run: its name, shape, dtype (`"float32"`) and where it came from."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    kind: ValueKind
    data: np.ndarray[Any, Any] | None = None
    """The numbers of a small integer or boolean constant, so that index rules can follow it."""


@record(eq=False, kw_only=True)
class Op:
    """One call: `kind` is the operation's normalised name, `module` the path of the module that made it."""

    name: str
    kind: str
    module: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(factory=dict)
    source: Source | None = None
    overwrites: tuple[str, ...] = ()
    """Values that share memory with the one this call changed in place."""
    training: bool = False
    """Seen in a second run, in training mode, which is recorded if it does anything else than the first."""

    @property
    def place(self) -> str:
        """The module path and the line of source, for messages."""
        where = self.module or "the model itself"
        return f"{where} ({self.source})" if self.source else where

    def __str__(self) -> str:
        shown = [_show(argument) for argument in self.args]
        shown += [f"{key}={_show(argument)}" for key, argument in self.kwargs.items()]
        outputs = ", ".join(f"%{name}" for name in self.outputs)
        note = f"  # {self.place}"
        return f"{outputs} = {self.kind}({', '.join(shown)}){note}"


def _show(argument: Any) -> str:
    if isinstance(argument, Ref | Opaque | Size):
        return str(argument)
    if isinstance(argument, tuple | list):
        return f"({', '.join(_show(entry) for entry in argument)})"
    if isinstance(argument, slice):
        return ":".join("" if part is None else _show(part) for part in (argument.start, argument.stop))
    return repr(argument)


@record(eq=False)
class ModuleCall:
    """One call of a module: its path, exact type, and the values that went in and came out."""

    module: str
    type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    bases: tuple[str, ...] = ()
    """The types it derives from, nearest first."""


@define(slots=False, frozen=True, eq=False, kw_only=True)
class Graph:
    """The program of one run: operations by name in execution order, and the values between them."""

    ops: Mapping[str, Op]
    values: Mapping[str, Value]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    calls: tuple[ModuleCall, ...] = ()
    aliases: Mapping[str, str] = field(factory=dict)
    """Other names of tied parameters and buffers, each with the name of the value that stands for it."""
    attributes: Mapping[tuple[str, str], Any] = field(factory=dict)
    """Integers, and tuples of integers, that modules hold: {(module path, attribute): value}."""
    numbers: tuple[tuple[Size, Source | None], ...] = ()
    """Sizes that were read as plain numbers (`int(x.shape[1])`) or compared, and where."""
    scales: tuple[tuple[Size, Source | None], ...] = ()
    """Sizes that became floating-point numbers (`x.shape[1] ** -0.5`), and where: they scale something."""
    unused: tuple[str, ...] = ()
    """Parameters that took no part in any recorded call."""
    decisions: tuple[str, ...] = ()
    """Lines at which the forward read values of tensors: only the path that the example took is in the graph."""
    training_failure: str = ""
    """Why the model could not be run in training mode, if so."""
    on_values: bool = False
    """Whether the forward ran only on tensors with data: it reads their values."""
    builder: str = ""

    @cached_property
    def producer(self) -> Mapping[str, Op]:
        """The operation that made each activation."""
        return {output: op for op in self.ops.values() for output in op.outputs}

    @cached_property
    def consumers(self) -> Mapping[str, tuple[Op, ...]]:
        """The operations that read each value."""
        found: dict[str, list[Op]] = defaultdict(list)
        for op in self.ops.values():
            for name in dict.fromkeys(op.inputs):
                found[name].append(op)
        return {name: tuple(ops) for name, ops in found.items()}

    @cached_property
    def types(self) -> Mapping[str, str]:
        """{module path: qualified type} of every module that was called, or whose parameters were used."""
        return {call.module: call.type for call in self.calls}

    def op(self, name: str) -> Op:
        """Return the operation of that name; an unknown name is a `SecateurError` with a suggestion."""
        if name not in self.ops:
            raise SecateurError(f"no operation named {name!r}", where="graph", hint=suggestion(name, self.ops))
        return self.ops[name]

    def successors(self, op: str | Op, *, depth: int = 1, kind: str | Iterable[str] | None = None) -> list[str]:
        """Names of the operations that come after one, `depth` steps on, or, with `kind`, the first of a kind.

        With `kind` each path is followed until it meets an operation of a wanted kind and no further.
        """
        return self._search(op, self._after, depth, kind)

    def predecessors(self, op: str | Op, *, depth: int = 1, kind: str | Iterable[str] | None = None) -> list[str]:
        """Names of the operations that come before one; see `successors`."""
        return self._search(op, self._before, depth, kind)

    def _after(self, op: Op) -> Iterator[Op]:
        for output in op.outputs:
            yield from self.consumers.get(output, ())

    def _before(self, op: Op) -> Iterator[Op]:
        for name in op.inputs:
            if name in self.producer:
                yield self.producer[name]

    def _search(self, op: str | Op, step: Any, depth: int, kind: str | Iterable[str] | None) -> list[str]:
        start = self.op(op) if isinstance(op, str) else op
        wanted = {kind} if isinstance(kind, str) else set(kind) if kind is not None else None
        seen: set[str] = set()
        frontier, found = [start], []
        level = 0
        while frontier and (wanted is not None or level < depth):
            following: dict[str, Op] = {}
            for current in frontier:
                following.update({after.name: after for after in step(current) if after.name not in seen})
            seen |= set(following)
            level += 1
            if wanted is None:
                found = list(following)
                frontier = list(following.values())
            else:
                found += [name for name, after in following.items() if after.kind in wanted]
                frontier = [after for after in following.values() if after.kind not in wanted]
        return found if wanted is not None or level == depth else []

    def __str__(self) -> str:
        lines = [f"inputs: {', '.join(f'%{name}' for name in self.inputs)}"]
        lines += [f"{'[training] ' if op.training else ''}{op}" for op in self.ops.values()]
        return "\n".join([*lines, f"outputs: {', '.join(f'%{name}' for name in self.outputs)}"])


def check(graph: Graph) -> Graph:
    """Check that every value is defined before it is read and made once; return the graph.

    A builder's mistake is a `SecateurError` that shows the operation at fault.
    """
    known = {name for name, value in graph.values.items() if value.kind != "activation"}
    for op in graph.ops.values():
        if not known.issuperset(op.inputs):
            missing = [name for name in op.inputs if name not in known]
            raise SecateurError(f"reads {missing} before they are made: {op}", where=f"graph of {graph.builder}")
        if not known.isdisjoint(op.outputs):
            again = [name for name in op.outputs if name in known]
            raise SecateurError(f"makes {again} a second time: {op}", where=f"graph of {graph.builder}")
        known.update(op.outputs)
    if missing := [name for name in graph.outputs if name not in known]:
        raise SecateurError(f"outputs {missing} are never made", where=f"graph of {graph.builder}")
    return graph
