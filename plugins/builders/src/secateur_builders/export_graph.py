"""Turn an exported program into operations of the graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from attrs import define, evolve, field
from torch import Tensor
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, InputSpec, OutputKind
from torch.fx import Node

from secateur.graph.ir import ModuleCall, Op, Opaque, Ref, Value, ValueKind
from secateur.graph.sizes import Arithmetic, AxisLength, Expr, Literal, Size
from secateur_builders.export_match import is_integer
from secateur_builders.export_names import SILENT, first_tensor, is_own, spoken
from secateur_builders.export_sizes import MARK, Mark, SizeWatcher
from secateur_builders.recorder import Record, fresh_name, type_names
from secateur_builders.substitute import StandIns
from secateur_builders.tensors import map_nested, numbers_of, storage_of

PREFIX = "model."
"""What the names of the model's tensors begin with in the program, which is made of a wrapper around it."""


@define
class Reader:
    """Reads one program and adds what it does to a record."""

    program: ExportedProgram
    watcher: SizeWatcher
    stand_ins: StandIns
    record: Record
    training: bool
    input_names: list[str]
    owners: Mapping[str, str]
    """The names of parameters and buffers, by every name that each can be reached under."""
    constants: dict[str, Tensor] = field(factory=dict)
    """Constants by name, of the record so far and of this program."""
    inputs: list[str] = field(factory=list)
    names: dict[Node, str] = field(factory=dict)
    parts: dict[Node, Mapping[int, str]] = field(factory=dict)
    """The values of nodes with several results, by place."""
    tokens: dict[str, str] = field(factory=dict)
    memory: dict[int, list[str]] = field(factory=dict)
    shadowed: set[str] = field(factory=set)
    """Parameters and buffers whose numbers are constants of the program as well."""
    outputs: list[str] = field(factory=list)

    def read(self) -> None:
        """Read all nodes; of the program's results the first ones are those of the model."""
        specs = {getattr(spec.arg, "name", ""): spec for spec in self.program.graph_signature.input_specs}
        for name, tensor in self.stand_ins.tensors.items():
            if name not in self.record.values:
                self._define(name, tensor, self.stand_ins.kinds[name], data=tensor)
        for node in self.program.graph.nodes:
            if node.op == "placeholder":
                self._placeholder(node, specs[node.name])
            elif node.op == "call_function":
                self._call(node)
            elif node.op == "output":
                self._outputs(node)
        self._modules()
        for size, source in self.watcher.notes.numbers:
            self.record.numbers[self._size(size), source] = None
        for size, source in self.watcher.notes.scales:
            self.record.scales[self._size(size), source] = None

    # -- values ----------------------------------------------------------------------------------------------

    def _placeholder(self, node: Node, spec: InputSpec) -> None:
        value = node.meta["val"]
        target = (spec.target or "").removeprefix(PREFIX)
        if spec.kind in (InputKind.PARAMETER, InputKind.BUFFER):
            name = self.owners[target]
        elif spec.kind == InputKind.USER_INPUT:
            name = self._define(self.input_names[len(self.inputs)], value, "input")
            self.inputs.append(name)
        else:
            name = self._constant(value, self.program.constants.get(spec.target or ""))
        self._bind(node, name, value)

    def _constant(self, value: Tensor, data: Any) -> str:
        """The name of a constant; one that the record has already keeps its name.

        A parameter that shares memory with a constant (`self.pair = (self.weight, …)`) is noted: the constant would
        not become thinner with it.
        """
        if not isinstance(data, Tensor):
            return self._define("constant", value, "constant")
        for name, held in self.stand_ins.tensors.items():
            if storage_of(held) == storage_of(data):
                self.shadowed.add(name)
        for name, known in self.constants.items():
            if known.dtype == data.dtype and known.shape == data.shape and torch.equal(known, data):
                return name
        name = self._define("constant", value, "constant", data=data)
        self.constants[name] = data
        return name

    def _outputs(self, node: Node) -> None:
        kinds = [spec.kind for spec in self.program.graph_signature.output_specs]
        results = list(_nodes(node.args))
        first = sum(kind != OutputKind.USER_OUTPUT for kind in kinds)  # tensors that were changed in place come first
        found = [self.names[entry] for entry in results[first : first + self.watcher.outputs]]
        self.outputs = list(dict.fromkeys(found))

    def _define(self, name: str, tensor: Any, kind: ValueKind, data: Any = None) -> str:
        name = fresh_name(name, self.record.values, self.record.names)
        known = isinstance(data, Tensor) and (kind == "constant" or (kind == "buffer" and not data.is_floating_point()))
        shape = tuple(int(length) for length in tensor.shape)
        dtype = str(tensor.dtype).removeprefix("torch.")
        self.record.values[name] = Value(name, shape, dtype, kind, numbers_of(data) if known else None)
        return name

    def _bind(self, node: Node, name: str, value: Tensor) -> None:
        self.names[node] = name
        self.memory.setdefault(storage_of(value), []).append(name)
        if MARK in node.meta:
            self.tokens[node.meta[MARK].token] = name

    # -- operations ------------------------------------------------------------------------------------------

    def _call(self, node: Node) -> None:
        if getattr(node.target, "__name__", "") == "getitem" and node.args[0] in self.parts:
            name = self.parts[node.args[0]].get(node.args[1], "")  # type: ignore[index, arg-type]
            if name:
                self._bind(node, name, node.meta["val"])
            return
        mark: Mark = node.meta.get(MARK) or Mark("")
        sizes = iter(mark.sizes)

        def written(entry: Any) -> Any:
            if isinstance(entry, Node):
                return Ref(self.names[entry]) if entry in self.names else Opaque(entry.name)
            if is_integer(entry):
                size = next(sizes, None)
                return Size(entry, Literal(entry)) if size is None else self._size(size)
            return entry if isinstance(entry, bool | float | str | None.__class__) else Opaque(str(entry))

        args = tuple(map_nested(written, entry) for entry in node.args)
        kwargs = {key: map_nested(written, entry) for key, entry in node.kwargs.items()}
        first = self.record.values.get(first_tensor(args, kwargs))
        call = spoken(node.target, args, kwargs, len(first.shape) if first is not None else 0)
        results = dict(enumerate(_results(node.meta.get("val"))))
        made = {place: result for place, result in results.items() if isinstance(result, Tensor)}
        changed = dict(enumerate(_changed(node), start=len(results))) if is_own(call.kind) else {}
        made |= {place: entry.meta["val"] for place, entry in changed.items()}
        inputs = tuple(
            dict.fromkeys(self.names[entry] for entry in _nodes((node.args, node.kwargs)) if entry in self.names)
        )
        if call.kind in SILENT or not (made or inputs):
            return
        overwrites = self._overwritten(made) if _is_mutable(node) else ()
        op = fresh_name(f"{mark.module}.{call.kind}" if mark.module else call.kind, self.record.ops, self.record.names)
        names = {place: self._define(op, result, "activation") for place, result in made.items()}
        if isinstance(node.meta.get("val"), Tensor):
            self._bind(node, names[0], made[0])
        else:
            self.parts[node] = names
            for place, name in names.items():
                self.memory.setdefault(storage_of(made[place]), []).append(name)
        for place, entry in changed.items():
            self._bind(entry, names[place], made[place])
        self.record.used |= set(inputs)
        self.record.ops[op] = Op(
            name=op,
            kind=call.kind,
            module=mark.module,
            inputs=inputs,
            outputs=tuple(names.values()),
            args=call.args,
            kwargs=call.kwargs,
            source=mark.source,
            overwrites=overwrites,
            training=self.training,
        )

    def _overwritten(self, made: Mapping[int, Tensor]) -> tuple[str, ...]:
        found = [name for result in made.values() for name in self.memory.get(storage_of(result), ())]
        return tuple(dict.fromkeys(found))

    # -- sizes and modules -----------------------------------------------------------------------------------

    def _size(self, size: Size) -> Size:
        return evolve(size, expr=self._named(size.expr))

    def _named(self, expr: Expr) -> Expr:
        """The expression with the names of values in place of tokens."""
        if isinstance(expr, AxisLength):
            name = self.tokens.get(expr.value, "")
            if name:
                return AxisLength(name, expr.axis)
            raise ValueError(f"the size of a tensor that is not in the exported graph: {expr}")
        if isinstance(expr, Arithmetic):
            return Arithmetic(expr.operation, self._named(expr.left), self._named(expr.right))
        return expr

    def _modules(self) -> None:
        for call in self.watcher.calls:
            types = type_names(call.module)
            taken = tuple(self.tokens.get(token, "") for token in call.inputs)
            made = tuple(self.tokens.get(token, "") for token in call.outputs)
            self.record.calls.append(ModuleCall(call.path, types[0], taken, made, types[1:]))


def _nodes(nested: Any) -> Iterator[Node]:
    if isinstance(nested, Node):
        yield nested
    elif isinstance(nested, Mapping):
        for entry in nested.values():
            yield from _nodes(entry)
    elif isinstance(nested, tuple | list):
        for entry in nested:
            yield from _nodes(entry)
    elif isinstance(nested, slice):
        yield from _nodes((nested.start, nested.stop, nested.step))


def _results(value: Any) -> list[Any]:
    return list(value) if isinstance(value, tuple | list) else [value]


def _changed(node: Node) -> list[Node]:
    """The tensors that a call changes in place besides what it returns."""
    arguments = getattr(getattr(node.target, "_schema", None), "arguments", ())
    given = {argument.name: entry for argument, entry in zip(arguments, node.args, strict=False)} | dict(node.kwargs)
    written = [given.get(a.name) for a in arguments if a.alias_info is not None and a.alias_info.is_write]
    returned = {id(result) for result in _results(node.meta.get("val"))}
    return [entry for entry in dict.fromkeys(_nodes(written)) if id(entry.meta["val"]) not in returned]


def _is_mutable(node: Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return schema is not None and bool(schema.is_mutable)
