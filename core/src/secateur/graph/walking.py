"""Walk a graph from an operation or a module: what comes before, what after, by depth or by kind.

Every walk looks at each operation, and at each of its edges, at most once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from attrs import frozen

from secateur.errors import SecateurError, suggestion
from secateur.graph.kinds import kinds_named

if TYPE_CHECKING:
    from secateur.graph.ir import Graph, Op

Direction = Literal["predecessors", "successors"]


@frozen
class Neighbours:
    """The operations right before and right after one, by name, in the order in which they run."""

    predecessors: tuple[str, ...]
    successors: tuple[str, ...]


def adjacency(graph: Graph) -> dict[str, Neighbours]:
    """{operation: its neighbours}. What writes into memory that others share comes before those that read it later."""
    writers = {name: [op.name] for name, op in graph.producer.items()}
    before: dict[str, dict[str, None]] = {}
    after: dict[str, dict[str, None]] = {name: {} for name in graph.ops}
    for op in graph.ops.values():
        own = set(op.outputs)
        before[op.name] = dict.fromkeys(
            writer for value in op.inputs if value not in own for writer in writers.get(value, ())
        )
        for source in before[op.name]:
            after[source][op.name] = None
        for value in op.overwrites:
            writers.setdefault(value, []).append(op.name)
    return {name: Neighbours(tuple(before[name]), tuple(after[name])) for name in graph.ops}


def modules(graph: Graph) -> dict[str, list[str]]:
    """{module path: the operations made within it}, in the order in which they run."""
    found: dict[str, list[str]] = {}
    for op in graph.ops.values():
        path = op.module
        while path:
            found.setdefault(path, []).append(op.name)
            path = path.rpartition(".")[0]
    return found


def named(graph: Graph, name: str | Op) -> list[str]:
    """The operations that a name means: one, or all of a module. An unknown one is a `SecateurError`."""
    if not isinstance(name, str):
        return [name.name]
    if name in graph.ops:
        return [name]
    if name in graph.modules:
        return list(graph.modules[name])
    hint = suggestion(name, {*graph.ops, *graph.modules})
    raise SecateurError(f"no operation or module named {name!r}", where="graph", hint=hint)


def search(
    graph: Graph, start: str | Op, direction: Direction, depth: int, kind: str | Iterable[str] | None
) -> list[str]:
    """Names of what comes before or after; see `Graph.successors`."""
    begin = named(graph, start)
    if kind is None and depth < 1:
        raise SecateurError(f"depth is {depth}", where=direction, hint="give a whole number from 1")
    wanted = None if kind is None else kinds_named(kind, graph.kinds)
    inside = set(begin)
    seen: set[str] = set()
    frontier, found = begin, list[str]()
    level = 0
    while frontier and (wanted is not None or level < depth):
        following: dict[str, None] = {}
        for name in frontier:
            for other in getattr(graph.adjacency[name], direction):
                if other not in seen and not (level == 0 and other in inside):
                    following[other] = None
        seen.update(following)
        level += 1
        if wanted is None:
            found = frontier = list(following)
        else:
            found += [name for name in following if graph.ops[name].kind in wanted]
            frontier = [name for name in following if graph.ops[name].kind not in wanted]
    if wanted is None and level < depth:
        return []
    by_module = isinstance(start, str) and start not in graph.ops
    return list(dict.fromkeys(graph.title(name) for name in found)) if by_module else found
