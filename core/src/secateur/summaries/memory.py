"""How many bytes the results of a run take, operation by operation, and at most at once."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

from secateur.graph.ir import Graph, Op, Value

SHOWING = (
    "view reshape view_as reshape_as flatten unflatten ravel permute transpose t T H mT mH adjoint movedim moveaxis "
    "swapaxes swapdims squeeze unsqueeze expand expand_as broadcast_to chunk split split_with_sizes tensor_split "
    "hsplit vsplit unbind select narrow diagonal unfold detach data alias real view_as_real view_as_complex"
)
"""Their results show the memory of their first tensor."""

PASSING = (
    "dropout dropout1d dropout2d dropout3d feature_dropout alpha_dropout feature_alpha_dropout identity contiguous "
    "requires_grad to type_as float double half bfloat16 cpu cuda setitem"
)
"""In eval mode they give their first tensor back, most of the time: where they do copy, that is left out."""

VIEWS = frozenset(" ".join((SHOWING, PASSING)).split())

FLOATS = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8, "complex32": 4, "complex64": 8, "complex128": 16}
OTHERS = {"bool": 1, "uint8": 1, "int8": 1, "int16": 2, "uint16": 2, "int32": 4, "uint32": 4, "int64": 8, "uint64": 8}
SIZES = FLOATS | OTHERS


def bytes_of(value: Value) -> int:
    """The bytes of one tensor; a type that is not known counts one byte for each element."""
    return prod(value.shape) * SIZES.get(value.dtype, 1)


def made_by(op: Op, graph: Graph) -> int:
    """The bytes of the results of one operation; none for a view, or for what is written in place.

    What `+=` and the like write in place cannot be told from new results, and counts as such.
    """
    return 0 if _reuses(op) else sum(bytes_of(graph.values[name]) for name in op.outputs)


def most_alive(graph: Graph) -> int:
    """The bytes of inputs and results that are alive at once, at most, in eval mode: each until it is read last.

    Inputs stay for the whole run, since the caller holds them. What an operation needs inside is not known.
    """
    ops = [op for op in graph.ops.values() if not op.training]
    root: dict[str, str] = {}
    for op in ops:
        if _reuses(op) and op.inputs:
            root.update(dict.fromkeys(op.outputs, root.get(op.inputs[0], op.inputs[0])))
    last: dict[str, int] = {}
    for at, op in enumerate(ops):
        last.update(dict.fromkeys((root.get(name, name) for name in (*op.inputs, *op.outputs)), at))
    last.update(dict.fromkeys((root.get(name, name) for name in (*graph.inputs, *graph.outputs)), len(ops)))
    alive = _total(graph, graph.inputs)
    most = alive
    leaving: dict[int, list[str]] = {}
    for name, at in last.items():
        leaving.setdefault(at, []).append(name)
    for at, op in enumerate(ops):
        alive += _total(graph, (name for name in op.outputs if name not in root))
        most = max(most, alive)
        alive -= _total(graph, (name for name in leaving.get(at, ()) if graph.values[name].kind == "activation"))
    return most


def _reuses(op: Op) -> bool:
    return op.kind in VIEWS or op.kwargs.get("inplace") is True or _indexes(op)


def _indexes(op: Op) -> bool:
    """Whether it is an indexing by numbers and slices, which is a view."""
    return op.kind == "getitem" and len(op.inputs) == 1


def _total(graph: Graph, names: Iterable[str]) -> int:
    return sum(bytes_of(graph.values[name]) for name in names)
