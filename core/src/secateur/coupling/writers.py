"""Who wrote this tensor? The rows of a linear layer whose results reach one place and no other.

Between the layer and the place lie only operations that move elements: reshapes, permutations, slices. They are
repeated on an array of row numbers. If the rows that reach the place reach nothing else, scaling them scales the
tensor there, and changes nothing more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import numpy as np
from attrs import frozen

from secateur.coupling.binding import BindingError, bind
from secateur.graph.ir import Graph, Op
from secateur.graph.sizes import Size

Array = np.ndarray[Any, Any]
Bound = Mapping[str, Any]

LARGEST = 1 << 24
"""Tensors of more elements than this are not followed."""


@frozen(eq=False)
class Rows:
    """Rows `indices` of the parameter `weight`, and of `bias` if there is one."""

    weight: str
    bias: str | None
    indices: Array


def _plain(argument: Any) -> Any:
    if isinstance(argument, tuple | list):
        return tuple(_plain(entry) for entry in argument)
    if isinstance(argument, slice):
        return slice(_plain(argument.start), _plain(argument.stop), _plain(argument.step))
    return argument.value if isinstance(argument, Size) else argument


def _parts(x: Array, axis: int, lengths: list[int]) -> list[Array]:
    return np.split(x, np.cumsum(lengths)[:-1], axis=axis)


Move = Callable[[Array, Bound, list[tuple[int, ...]]], list[Array]]
"""`move(row numbers, arguments, shapes of the outputs)` gives the row numbers of the outputs."""

MOVES: Mapping[str, tuple[str, Move]] = {
    "permute": ("input, *dims", lambda x, a, _: [x.transpose(a["dims"])]),
    "transpose": ("input, dim0|axis0, dim1|axis1", lambda x, a, _: [x.swapaxes(a["dim0"], a["dim1"])]),
    "movedim": ("input, source, destination", lambda x, a, _: [np.moveaxis(x, a["source"], a["destination"])]),
    "getitem": ("input, index", lambda x, a, _: [x[a["index"]]]),
    "select": ("input, dim, index", lambda x, a, _: [np.take(x, a["index"], axis=a["dim"])]),
    "unbind": ("input, dim=0", lambda x, a, _: list(np.moveaxis(x, a["dim"], 0))),
    **{
        kind: ("input|tensor, sizes, dim=0", lambda x, a, shapes: _parts(x, a["dim"], [s[a["dim"]] for s in shapes]))
        for kind in ("split", "chunk", "split_with_sizes")
    },
    **{
        kind: (
            "input, *rest, start_dim=0, end_dim=0, dim=0, sizes=0, memory_format=0",
            lambda x, a, s: [x.reshape(s[0])],
        )
        for kind in ("reshape", "view", "flatten", "unflatten", "squeeze", "unsqueeze", "contiguous", "clone")
    },
}
"""{operation: its signature, and what it does to row numbers}."""


def rows_of(graph: Graph, name: str) -> Rows | None:
    """The rows of a linear layer that alone write the value `name`, whose one reader is the operation that asks.

    None if it is written otherwise, or if the same rows are read elsewhere.
    """
    path: list[Op] = []
    start = name
    while (op := graph.producer.get(start)) is not None and op.kind in MOVES:
        path.insert(0, op)
        start = op.inputs[0]
    if op is None or op.kind != "linear" or len(graph.consumers.get(name, ())) != 1 or not _private(graph, op):
        return None
    shape = graph.values[start].shape
    if prod(shape) > LARGEST:
        return None
    numbers: Array = np.broadcast_to(np.arange(shape[-1], dtype=np.int32), shape)
    on_path = [*(step.inputs[0] for step in path), name]
    others: list[Array] = []
    try:
        for step, following in zip(path, on_path[1:], strict=True):
            made = {
                output: rows
                for reader in graph.consumers[step.inputs[0]]
                for output, rows in zip(reader.outputs, _moved(graph, reader, numbers), strict=True)
            }
            numbers = made.pop(following)
            others += made.values()
    except (BindingError, ValueError, IndexError, TypeError):
        return None
    indices = np.unique(numbers)
    if any(np.isin(indices, rows).any() for rows in others):
        return None
    return Rows(op.inputs[1], op.inputs[2] if len(op.inputs) > 2 else None, indices)


def _moved(graph: Graph, op: Op, numbers: Array) -> list[Array]:
    if op.kind not in MOVES:
        raise BindingError(f"{op.kind} does more than move elements")
    signature, move = MOVES[op.kind]
    arguments = {key: _plain(argument) for key, argument in bind(op, signature).items()}
    return move(numbers, arguments, [graph.values[output].shape for output in op.outputs])


def _private(graph: Graph, writer: Op) -> bool:
    """Whether only this call of the layer (or its like in training mode) reads its weight and bias."""
    calls = {reader.name for name in writer.inputs[1:] for reader in graph.consumers[name] if not reader.training}
    return calls <= {writer.name} or writer.training
