"""Where the integers of an exported graph came from.

An exported graph holds plain integers. While `torch.export` runs the model's forward, a torch function mode answers
questions about sizes with integers that remember their origin, and after each call writes on the nodes that the call
added which of their integers came from which of the call's arguments.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FunctionType
from typing import Any

import torch
from attrs import define, field, frozen
from torch import Tensor, nn
from torch.fx import Node
from torch.fx.experimental.proxy_tensor import get_proxy_mode, get_proxy_slot
from torch.overrides import TorchFunctionMode

from secateur.graph.ir import Source
from secateur.graph.sizes import Size
from secateur_builders.calls import is_library, operation_name
from secateur_builders.export_match import Given, Wanted, integers, matched
from secateur_builders.module_calls import module_calls
from secateur_builders.provenance import as_size, losses
from secateur_builders.shapes import SIZE_CALLS
from secateur_builders.tensors import tensors_of

MARK = "secateur"
"""The key of `Mark` in the metadata of a node."""

CHECKS = frozenset({"has_torch_function", "has_torch_function_unary", "has_torch_function_variadic"})
"""What functions of torch that are written in Python ask first: whether a mode wants the call as a whole."""

INDEXING = frozenset({"getitem", "setitem"})
"""Calls that become several nodes, of which only bounds and indices come from the arguments."""


@frozen(eq=False)
class Mark:
    """What is known of a node: how sizes refer to its value, who made it, and the origins of its integers in order."""

    token: str
    module: str = ""
    source: Source | None = None
    sizes: tuple[Size | None, ...] = ()


@frozen(eq=False)
class Called:
    """One call of a module, with its inputs and outputs by token ("" for an unknown tensor)."""

    path: str
    module: nn.Module
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@define
class Notes:
    """Sizes that were read as plain numbers or compared, or lost in a call, and those that became floating-point."""

    numbers: dict[tuple[Size, Source | None], None] = field(factory=dict)
    scales: dict[tuple[Size, Source | None], None] = field(factory=dict)

    def number(self, size: Size) -> None:
        """Note a size that was read as a plain number."""
        self.numbers[size, calling_line()] = None

    def scale(self, size: Size) -> int:
        """Note a size that became a floating-point number."""
        self.scales[size, calling_line()] = None
        return size.value

    def add(self, other: Notes) -> None:
        """Take over what another has noted."""
        self.numbers.update(other.numbers)
        self.scales.update(other.scales)


class SizeWatcher(TorchFunctionMode):
    """A torch function mode that marks the nodes of the graph that is being traced."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        # By their dicts: where a module has two paths, torch.export runs proxies that share the dict only.
        self.modules = {id(module.__dict__): (path, module) for path, module in model.named_modules()}
        self.stack: list[str] = []
        self.calls: list[Called] = []
        self.measured: dict[int, Tensor] = {}
        """Tensors whose sizes were asked for: they must not be taken for dead code."""
        self.notes = Notes()
        self.outputs = 0
        """How many tensors the forward gave back."""
        self.opaque = False
        """Whether it gave back an object of an unknown kind."""
        self._open: list[Any] = []
        self._tokens = 0

    # -- names -----------------------------------------------------------------------------------------------

    def name_of(self, tensor: Tensor) -> str:
        """The token of a tensor whose size is asked for."""
        self.measured[id(tensor)] = tensor
        return self._token(tensor)

    def _token(self, tensor: Tensor) -> str:
        """The token of a tensor; "" for a constant that is not in the graph yet."""
        mode = get_proxy_mode()
        node = get_proxy_slot(tensor, mode.tracer, None, _node_of) if mode is not None else None
        if not isinstance(node, Node):
            return ""
        if MARK not in node.meta:
            node.meta[MARK] = Mark(self._next())
        mark: Mark = node.meta[MARK]
        return mark.token

    def _next(self) -> str:
        self._tokens += 1
        return f"@{self._tokens}"

    # -- calls -----------------------------------------------------------------------------------------------

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = operation_name(func)[0]
        if name in SIZE_CALLS:  # of a constant, sizes are plain numbers
            known = self._token(args[0])
            return SIZE_CALLS[name](self, func, args, kwargs) if known else func(*args, **kwargs)
        mode = get_proxy_mode()
        if mode is None:
            return func(*args, **kwargs)
        graph = mode.tracer.graph
        last = next(iter(reversed(graph.nodes)), None)
        within = Notes()
        func = _unchecked(func)
        with losses(within.number, within.scale):
            if _asks(func) and func not in self._open:
                result = self._within(func, args, kwargs)
                nodes = list(_after(graph, last))
            else:
                result = func(*args, **kwargs)
                nodes = list(_after(graph, last))
                self._mark(name, nodes, args, kwargs)
        if sum(node.op == "call_function" and not _takes_out(node) for node in nodes) > 1:
            self.notes.add(within)  # no rule sees the call as a whole
        return result

    def _within(self, func: FunctionType, args: Any, kwargs: Any) -> Any:
        """Run a function of torch that is written in Python, and watch the calls it makes."""
        self._open.append(func)
        try:
            with self:
                return _opened(func)(*args, **kwargs)
        finally:
            self._open.pop()

    def _mark(self, name: str, nodes: list[Node], args: Any, kwargs: Any) -> None:
        source = calling_line()
        given = list(_given(args, kwargs))
        wanted = [Wanted(*entry) for node in nodes for entry in integers(node, only_indices=name in INDEXING)]
        sizes, swallowed = matched(given, wanted)
        for node in nodes:
            own = {entry.place: size for entry, size in zip(wanted, sizes, strict=True) if entry.node is node}
            places = range(1 + max(own, default=-1))
            token = node.meta[MARK].token if MARK in node.meta else self._next()
            module = self.stack[-1] if self.stack else ""
            node.meta[MARK] = Mark(token, module, source, tuple(own.get(place) for place in places))
        self.notes.numbers.update({(size, source): None for size in swallowed})

    # -- modules ---------------------------------------------------------------------------------------------

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch calls, modules and numbers while the body runs."""

        def enter(module: nn.Module, _: Any) -> None:
            known = self.modules.get(id(module.__dict__))
            self.stack.append(known[0] if known else self.stack[-1] if self.stack else "")

        def leave(module: nn.Module, inputs: Any, keywords: Any, outputs: Any) -> None:
            self.stack.pop()
            known = self.modules.get(id(module.__dict__))
            if known and outputs is not None:
                taken, made = tensors_of((inputs, keywords)), tensors_of(outputs)
                self.calls.append(Called(*known, tuple(map(self._token, taken)), tuple(map(self._token, made))))

        with module_calls(enter, leave), losses(self.notes.number, self.notes.scale), self:
            yield


def _given(args: Any, kwargs: Mapping[str, Any]) -> Iterator[Given]:
    """The integers among the arguments of a call, in order, each with its keyword ("" for positional ones)."""
    for key, nested in [*(("", entry) for entry in args), *kwargs.items()]:
        for number in _numbers(nested):
            yield Given(key, as_size(number))


def _numbers(nested: Any) -> Iterator[int]:
    if isinstance(nested, bool):
        return
    if isinstance(nested, int):
        yield nested
    elif isinstance(nested, Mapping):
        for entry in nested.values():
            yield from _numbers(entry)
    elif isinstance(nested, tuple | list):
        for entry in nested:
            yield from _numbers(entry)
    elif isinstance(nested, slice):
        yield from _numbers((nested.start, nested.stop, nested.step))


def _after(graph: Any, last: Node | None) -> Iterator[Node]:
    nodes: list[Node] = []
    for node in reversed(graph.nodes):
        if node is last:
            break
        nodes.append(node)
    return reversed(nodes)


def _takes_out(node: Node) -> bool:
    return getattr(node.target, "__name__", "") == "getitem"


def _node_of(entry: Any) -> Any:
    return entry.proxy.node


def _asks(func: Any) -> bool:
    return isinstance(func, FunctionType) and not CHECKS.isdisjoint(func.__code__.co_names)


def _opened(func: FunctionType) -> Callable[..., Any]:
    """The same function, but the answer to whether a torch function mode wants the call as a whole is no."""
    names = {**func.__globals__, **dict.fromkeys(CHECKS, _no)}
    opened = FunctionType(func.__code__, names, func.__name__, func.__defaults__, func.__closure__)
    opened.__kwdefaults__ = func.__kwdefaults__
    return opened


def _no(*_: Any) -> bool:
    return False


def _unchecked(func: Any) -> Any:
    """The function, or for batch norm one that takes a single value per channel in training too, as shapes do."""
    return _batch_norm if func is torch.nn.functional.batch_norm else func


def _batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    from_input = training and (running_mean is None or input.numel() > input.shape[1])
    return torch.batch_norm(input, weight, bias, running_mean, running_var, from_input, momentum, eps, False)


def calling_line() -> Source | None:
    """The innermost line of the model that is being exported; None if torch's own modules were called by no other."""
    frame = sys._getframe(1)
    while frame is not None and is_library(frame.f_code.co_filename):
        if frame.f_code.co_name == "build" and frame.f_globals.get("__name__") == "secateur_builders.export":
            return None
        frame = frame.f_back  # type: ignore[assignment]
    return Source(frame.f_code.co_filename, frame.f_lineno) if frame is not None else None
