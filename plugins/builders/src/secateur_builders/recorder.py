"""Watch every torch call of one run and write it down as an operation of the graph."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from attrs import define, field
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from secateur.graph.ir import ModuleCall, Op, Ref, Source, Value
from secateur.graph.sizes import Size
from secateur.records import Intercept
from secateur_builders.arguments import written
from secateur_builders.calls import calling_line
from secateur_builders.known import CHANGES_MEMORY, DECISIONS, VALUE_READS, Call
from secateur_builders.module_calls import module_calls
from secateur_builders.provenance import unnoted
from secateur_builders.tensors import collect, map_nested, numbers_of, storage_of, to_meta, version_of

Place = tuple[str, Source | None]


@define
class Record:
    """What one or more runs wrote down."""

    ops: dict[str, Op] = field(factory=dict)
    values: dict[str, Value] = field(factory=dict)
    calls: list[ModuleCall] = field(factory=list)
    used: set[str] = field(factory=set)
    lost: Place | None = None
    """The module and line at which a tensor was first used that no recorded call had made."""
    numbers: dict[tuple[Size, Source | None], None] = field(factory=dict)
    """Sizes that were read as plain numbers or compared, and where."""
    scales: dict[tuple[Size, Source | None], None] = field(factory=dict)
    """Sizes that became floating-point numbers, and where."""
    decisions: dict[str, None] = field(factory=dict)
    """Places at which values of tensors were read."""
    names: dict[str, int] = field(factory=dict)
    """How often a name was asked for."""

    def longer(self) -> Record:
        """A copy that another run can add to."""
        return Record(
            dict(self.ops),
            dict(self.values),
            list(self.calls),
            set(self.used),
            self.lost,
            dict(self.numbers),
            dict(self.scales),
            dict(self.decisions),
            dict(self.names),
        )


class Recorder(TorchFunctionMode):
    """A torch function mode that records calls, with the module and line that made each."""

    def __init__(
        self,
        record: Record,
        names: Mapping[int, str],
        on_meta: bool,
        training: bool,
        intercept: Intercept | None = None,
        scales: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__()
        self.intercept, self.scales = intercept, scales or {}
        self.record, self.paths, self.on_meta, self.training = record, names, on_meta, training
        self.stack: list[str] = []
        self.known: dict[int, str] = {}
        self.alive: list[Tensor] = []
        self.met: dict[str, None] = {}
        """The tensors among the arguments of the call that is being written."""
        self._memory: dict[int, list[int]] = {}
        self._placed = 0
        self._calls: dict[Any, Call] = {}
        self._dtypes: dict[torch.dtype, str] = {}
        self._kinds: dict[type, tuple[str, ...]] = {}
        self._refs: dict[str, Ref] = {}
        self._kernels = on_meta and intercept is None

    # -- tensors and their names ---------------------------------------------------------------------------

    def define(self, name: str, tensor: Tensor, kind: Any) -> str:
        """Give a tensor a name; the tensor is kept alive so that its identity stays its own."""
        values = self.record.values
        if name in values:
            name = fresh_name(name, values, self.record.names)
        data = None
        if kind == "constant" or (kind == "buffer" and not tensor.is_floating_point()):
            data = numbers_of(tensor)
        dtype = self._dtypes.get(tensor.dtype)
        if dtype is None:
            dtype = self._dtypes[tensor.dtype] = str(tensor.dtype).removeprefix("torch.")
        values[name] = Value(name, tuple(tensor.shape), dtype, kind, data)
        self.bind(name, tensor)
        return name

    def bind(self, name: str, tensor: Tensor) -> None:
        """Let a tensor object stand for a value from now on."""
        self.alive.append(tensor)
        self.known[id(tensor)] = name

    def memory(self) -> dict[int, list[int]]:
        """{memory: identities of the tensors that lie in it}, of all tensors with a name."""
        for tensor in self.alive[self._placed :]:
            self._memory.setdefault(storage_of(tensor), []).append(id(tensor))
        self._placed = len(self.alive)
        return self._memory

    def name_of(self, tensor: Tensor) -> str:
        """The value a tensor stands for; a tensor nobody recorded becomes a constant."""
        name = self.known.get(id(tensor))
        if name is None:
            made_here = tensor.is_meta or not self.on_meta or storage_of(tensor) in self.memory()
            if made_here and self.record.lost is None:
                self.record.lost = (self.stack[-1] if self.stack else "", calling_line())
            name = self.define("constant", tensor, "constant")
        self.record.used.add(name)
        return name

    # -- calls ---------------------------------------------------------------------------------------------

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if kwargs is None:
            kwargs = {}
        call = self._calls.get(func)
        if call is None:
            call = self._calls[func] = Call.of(func)
        if call.size is not None:
            return call.size(self, func, args, kwargs)
        name, in_place = call.name, call.in_place
        if self._kernels and call.kernel is not None and not torch.is_grad_enabled():
            result = call.kernel(args, kwargs)
            if result is not None:
                given = args[::-1] if call.reflected and len(args) == 2 else args
                made = [result] if isinstance(result, Tensor) else [tensor for tensor in result if tensor is not None]
                self._write(name, given, kwargs, [], made, in_place or result is args[0])
                return result
        tensors: list[Tensor] = []
        collect(args, tensors)
        if kwargs:
            collect(kwargs.values(), tensors)
        if in_place or name in CHANGES_MEMORY:
            self.memory()
        versions = [version_of(tensor) for tensor in tensors]
        # What torch itself does with sizes is the business of the operation's rule, and not noted.
        meta = [tensor.is_meta for tensor in tensors] if self.on_meta else []
        if any(meta) and not all(meta):
            moved_args, moved_kwargs = map_nested(to_meta, args), map_nested(to_meta, kwargs)
            result = unnoted(self._call, name, func, moved_args, moved_kwargs)
        else:
            result = unnoted(self._call, name, func, args, kwargs)
        outputs: list[Tensor] = []
        collect((result,), outputs)
        changed = [tensors[0]] if name in ("setitem", "property_set") and tensors else []
        touched = _touched(tensors, versions) if call.own or any(o is t for o in outputs for t in tensors) else ()
        if call.own:  # what it changed in place is a result too, whether it returns it or not
            changed = list({id(t): t for t in [*outputs, *(t for t in tensors if id(t) in touched)]}.values())
        if name in DECISIONS and tensors and not outputs:
            self.record.decisions[str(calling_line() or "an unknown line")] = None
        if outputs or changed or (tensors and name in VALUE_READS):
            given = tuple(reversed(args)) if call.reflected and len(args) == 2 else args
            made = changed or outputs
            in_place = in_place or any(id(output) in touched for output in made)
            self._write(name.removeprefix("property:"), given, kwargs, tensors, made, in_place)
        return result

    def _call(self, kind: str, func: Any, args: Any, kwargs: Any) -> Any:
        if self.intercept is None:
            return func(*args, **kwargs)
        kind = kind.removeprefix("property:")
        return self.intercept(self._name_of_op(kind, dict(self.record.names)), kind, func, args, kwargs)

    def _name_of_op(self, kind: str, counts: dict[str, int]) -> str:
        module = self.stack[-1] if self.stack else ""
        return fresh_name(f"{module}.{kind}" if module else kind, self.record.ops, counts)

    def _write(
        self,
        kind: str,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        tensors: list[Tensor],
        outputs: list[Tensor],
        in_place: bool,
    ) -> None:
        record = self.record
        self.met = dict.fromkeys([self.name_of(tensor) for tensor in tensors]) if tensors else {}
        refer = self._refer
        positional = tuple([written(entry, refer) for entry in args])
        keywords = {key: written(entry, refer) for key, entry in kwargs.items()} if kwargs else {}
        inputs = tuple(self.met)
        record.used.update(inputs)
        overwrites = self._aliases_of(outputs) if in_place else ()
        module = self.stack[-1] if self.stack else ""
        name = fresh_name(f"{module}.{kind}" if module else kind, record.ops, record.names)
        made = tuple([self.define(name, output, "activation") for output in outputs])
        record.ops[name] = Op(
            name=name,
            kind=kind,
            module=module,
            inputs=inputs,
            outputs=made,
            args=positional,
            kwargs=keywords,
            source=calling_line(),
            overwrites=overwrites,
            training=self.training,
        )

    def _aliases_of(self, outputs: Iterable[Tensor]) -> tuple[str, ...]:
        own = {id(output) for output in outputs}
        found: dict[str, None] = {}
        for output in outputs:
            for key in self.memory().get(storage_of(output), ()):
                if key not in own:
                    found[self.known[key]] = None
        return tuple(found)

    def note_scale(self, size: Size) -> int:
        """Remember a size that became a floating-point number; return what to take for it."""
        self.record.scales[size, calling_line()] = None
        return self.scales.get(str(size.expr), size.value)

    def note_number(self, size: Size) -> None:
        """Remember a size that was read as a plain number."""
        self.record.numbers[size, calling_line()] = None

    def _refer(self, tensor: Tensor) -> Ref:
        name = self.known.get(id(tensor))
        if name is None:
            name = self.name_of(tensor)
        self.met[name] = None
        ref = self._refs.get(name)
        if ref is None:
            ref = self._refs[name] = Ref(name)
        return ref

    def _known(self, entries: tuple[Any, ...]) -> tuple[str, ...]:
        if len(entries) == 1 and type(entries[0]) is Tensor:  # by far the most
            return (self.known.get(id(entries[0]), ""),)
        found: list[Tensor] = []
        collect(entries, found)
        return tuple([self.known.get(id(tensor), "") for tensor in found])

    # -- modules -------------------------------------------------------------------------------------------

    @contextmanager
    def watching_modules(self) -> Iterator[None]:
        """Keep a stack of the module paths while the body runs, and note every module call."""

        def enter(module: nn.Module, _: Any) -> None:
            self.stack.append(self.paths.get(id(module), self.stack[-1] if self.stack else ""))

        def leave(module: nn.Module, inputs: Any, keywords: Any, outputs: Any) -> None:
            path = self.stack.pop()
            if outputs is not None and id(module) in self.paths:
                types = self._kinds.get(type(module))
                if types is None:
                    types = self._kinds[type(module)] = type_names(module)
                given, made = self._known((inputs, keywords) if keywords else inputs), self._known((outputs,))
                self.record.calls.append(ModuleCall(path, types[0], given, made, types[1:]))

        with module_calls(enter, leave):
            yield


def fresh_name(name: str, taken: Mapping[str, Any], counts: dict[str, int]) -> str:
    """The name, or with a number if it is taken; `counts` remembers how often each was asked for."""
    candidate = name
    while candidate in taken:
        count = counts[name] = counts.get(name, 0) + 1
        candidate = f"{name}.{count}"
    return candidate


def note_uncalled(modules: Iterable[tuple[str, nn.Module]], record: Record) -> None:
    """Note the modules that were never called, as calls without inputs: functions may have used their weights."""
    called = {call.module for call in record.calls}
    for path, module in modules:
        if path not in called and any(parameter is not None for parameter in module._parameters.values()):
            types = type_names(module)
            record.calls.append(ModuleCall(path, types[0], (), (), types[1:]))


def type_names(module: nn.Module) -> tuple[str, ...]:
    """Qualified names of a module's type and of the modules it derives from, nearest first."""
    kinds = [kind for kind in type(module).__mro__ if issubclass(kind, nn.Module) and kind is not nn.Module]
    return tuple(f"{kind.__module__}.{kind.__qualname__}" for kind in kinds) or ("torch.nn.modules.module.Module",)


def _touched(tensors: Sequence[Tensor], versions: Sequence[int | None]) -> set[int]:
    """The identities of the tensors that were changed in place since they had these versions."""
    return {id(t) for t, old in zip(tensors, versions, strict=True) if old is not None and version_of(t) != old}
