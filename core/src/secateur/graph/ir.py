"""The graph: what a model did with its tensors when it ran once, in order, readable as a program.

A `Graph` is frozen and knows nothing of pruning. `str(graph)` prints it as a program; `predecessors` and
`successors` walk it from operations or modules, by depth or by kind; `parameters_of`, `inputs_of` and `outputs_of`
give shapes. Multiply-accumulates and bytes of each operation are `secateur.measure.costs`.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np
from attrs import define, field

from secateur.errors import SecateurError, suggestion
from secateur.graph.record import record
from secateur.graph.sizes import Size
from secateur.graph.walking import Neighbours, adjacency, modules, named, search

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

    @cached_property
    def topological_order(self) -> tuple[str, ...]:
        """Names of all operations, each behind those whose results it reads: the order in which they ran."""
        return tuple(self.ops)

    @cached_property
    def adjacency(self) -> Mapping[str, Neighbours]:
        """{operation: what comes right before and right after it}, by name.

        An operation that writes into memory which other values share comes before those that read these later.
        """
        return adjacency(self)

    @cached_property
    def modules(self) -> Mapping[str, Sequence[str]]:
        """{module path: the operations made within it, in the order in which they run}."""
        return modules(self)

    @cached_property
    def kinds(self) -> frozenset[str]:
        """The kinds of its operations."""
        return frozenset(op.kind for op in self.ops.values())

    def title(self, op: str | Op) -> str:
        """What an operation is called among modules: the path of its module, unless that contains others.

        The addition that a residual block makes itself keeps its own name, `layer1.0.add`.
        """
        found = self.op(op) if isinstance(op, str) else op
        return found.module if found.module and found.module not in self._containers else found.name

    @cached_property
    def _containers(self) -> frozenset[str]:
        """Modules within which other modules made operations."""
        return frozenset(path.rpartition(".")[0] for path in self.modules)

    def successors(self, name: str | Op, *, depth: int = 1, kind: str | Iterable[str] | None = None) -> list[str]:
        """What comes after an operation or a module, `depth` operations on, or, with `kind`, the first of a kind.

        `name`: an operation, or the path of a module: what leaves it, for one that contains others too, and the answer
        names modules then (`title`). `kind`: one or several, as the graph calls them (`conv2d`, `linear`) or as ONNX,
        Distiller and torch's modules do (`Conv`, `Gemm`, `BatchNorm2d`); each path is followed until it meets one and
        no further. Takes time linear in the size of the graph.

        Raises `SecateurError` for an unknown name or kind, with a suggestion.
        """
        return search(self, name, "successors", depth, kind)

    def predecessors(self, name: str | Op, *, depth: int = 1, kind: str | Iterable[str] | None = None) -> list[str]:
        """What comes before an operation, or enters a module; see `successors`."""
        return search(self, name, "predecessors", depth, kind)

    def parameters_of(self, name: str | Op, *, buffers: bool = False) -> dict[str, tuple[int, ...]]:
        """{parameter that an operation, or any of a module, reads: its shape}; with `buffers` those too."""
        kinds = ("parameter", "buffer") if buffers else ("parameter",)
        read = dict.fromkeys(value for op in named(self, name) for value in self.ops[op].inputs)
        return {value: self.values[value].shape for value in read if self.values[value].kind in kinds}

    def inputs_of(self, name: str | Op) -> dict[str, tuple[int, ...]]:
        """{value that enters an operation or a module: its shape}, without parameters, buffers and constants."""
        ops = [self.ops[op] for op in named(self, name)]
        made = {value for op in ops for value in op.outputs}
        read = dict.fromkeys(value for op in ops for value in op.inputs if value not in made)
        return {value: self.values[value].shape for value in read if self.values[value].kind in ("input", "activation")}

    def outputs_of(self, name: str | Op) -> dict[str, tuple[int, ...]]:
        """{value that leaves an operation or a module: its shape}: what others read, or the model returns."""
        ops = dict.fromkeys(named(self, name))
        made = [value for op in ops for value in self.ops[op].outputs]
        if len(ops) > 1:
            returned = set(self.outputs)
            readers = {value: [op.name for op in self.consumers.get(value, ())] for value in made}
            made = [value for value in made if value in returned or any(op not in ops for op in readers[value])]
        return {value: self.values[value].shape for value in made}

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
