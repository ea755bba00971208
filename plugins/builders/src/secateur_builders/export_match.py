"""Match the integers of exported nodes with the integers of the call that made them, by keyword, order and value."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from attrs import frozen
from torch.fx import Node

from secateur.graph.sizes import Arithmetic, Literal, Size
from secateur_builders.tensors import map_nested

BOUNDS = frozenset({"index", "start", "end", "step", "value"})


@frozen(eq=False)
class Given:
    """An integer among the arguments of a Python call, with its keyword ("" for a positional argument)."""

    key: str
    size: Size


@frozen(eq=False)
class Wanted:
    """An integer among the arguments of a node: the `place`-th of all its integers."""

    node: Node
    place: int
    name: str
    value: int


def integers(node: Node, only_indices: bool = False) -> Iterator[tuple[Node, int, str, int]]:
    """The integers among a node's arguments in order: the node, the place, the argument's name, and the value."""
    schema = getattr(node.target, "_schema", None)
    if node.op != "call_function" or schema is None:
        return
    names = [argument.name for argument in schema.arguments]
    place = 0
    for name, argument in [*zip(names, node.args, strict=False), *node.kwargs.items()]:
        for value in filter(is_integer, _entries(argument)):
            if not only_indices or name in BOUNDS:
                yield node, place, name, value
            place += 1


def _entries(nested: Any) -> list[Any]:
    """The entries of nested arguments, in the order of `map_nested`."""
    found: list[Any] = []
    map_nested(found.append, nested)
    return found


def is_integer(argument: Any) -> bool:
    """Whether an argument is an integer, and no boolean."""
    return isinstance(argument, int) and not isinstance(argument, bool)


def matched(given: Sequence[Given], wanted: Sequence[Wanted]) -> tuple[list[Size | None], list[Size]]:
    """Return the origin of every wanted integer (None: unknown), and the origins that reached no node.

    Keyword arguments go to the argument of that name; the rest is matched by the longest common sequence of values.
    """
    found: list[Size | None] = [None] * len(wanted)
    if all(isinstance(entry.size.expr, Literal) for entry in given):
        return found, []
    left = list(given)
    for key in dict.fromkeys(entry.key for entry in given if entry.key):
        own = [entry for entry in given if entry.key == key]
        places = [index for index, entry in enumerate(wanted) if entry.name == key]
        if [entry.size.value for entry in own] == [wanted[index].value for index in places]:
            for entry, index in zip(own, places, strict=True):
                found[index] = entry.size
            left = [entry for entry in left if entry.key != key]
    open_places = [index for index in range(len(wanted)) if found[index] is None]
    pairs = _common([entry.size.value for entry in left], [wanted[index].value for index in open_places])
    for i, j in pairs:
        found[open_places[j]] = left[i].size
    used = {i for i, _ in pairs}
    return found, [entry.size for i, entry in enumerate(left) if i not in used and _may_change(entry.size)]


def _may_change(size: Size) -> bool:
    """Whether a size could change at all: no literal does, and no axis of length 1 becomes shorter."""
    return not isinstance(size.expr, Literal) and (isinstance(size.expr, Arithmetic) or size.value not in (0, 1))


def _common(left: Sequence[int], right: Sequence[int]) -> list[tuple[int, int]]:
    """The places of a longest common subsequence of two sequences.

    >>> _common([1, 8, 4], [0, 1, 4, 4])
    [(0, 1), (2, 2)]
    """
    if list(left) == list(right):
        return [(index, index) for index in range(len(left))]
    lengths = [[0] * (len(right) + 1) for _ in range(len(left) + 1)]
    for i in reversed(range(len(left))):
        for j in reversed(range(len(right))):
            same = left[i] == right[j]
            lengths[i][j] = lengths[i + 1][j + 1] + 1 if same else max(lengths[i + 1][j], lengths[i][j + 1])
    pairs, i, j = [], 0, 0
    while i < len(left) and j < len(right):
        if left[i] == right[j]:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif lengths[i + 1][j] >= lengths[i][j + 1]:
            i += 1
        else:
            j += 1
    return pairs
