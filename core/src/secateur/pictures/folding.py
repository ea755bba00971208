"""Repeated blocks are found, so that one of them can stand for all.

The boxes lie in a tree of modules. Within each module, stretches of equal items that follow one another are folded:
they are built alike, what they write is as wide before and after, and their dims correspond one to one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attrs import define, evolve, field, frozen

from secateur.graph.ir import Graph, Opaque, Ref
from secateur.graph.sizes import Size
from secateur.pictures.nodes import Node
from secateur.pictures.widths import Widths

LONGEST = 8
"""Items that may make up what is repeated."""
FEWEST = 3
"""Boxes that a fold must save."""


@frozen(eq=False)
class Block:
    """A module, or a stretch of equal ones: its items, boxes by position or blocks."""

    path: str
    items: tuple[Item, ...]
    times: int = 1
    last: str = ""
    """Of a stretch: the path of the last of it; `path` is that of the first."""
    length: int = 1
    """Of a stretch: how many modules are drawn once."""
    module: str = ""
    """The module that its items lie in: `path` for a block that is no stretch."""
    reads_all: bool = False
    """Of a stretch: each reads what all before it wrote, not only the one before."""

    def nodes(self) -> list[int]:
        """The positions of all boxes within."""
        return [node for item in self.items for node in _nodes(item)]


Item = int | Block


@define
class Folded:
    """The tree that is drawn, and which box and dim stand for each."""

    tree: Block
    stands_for: dict[int, int] = field(factory=dict)
    """{box that is not drawn: the one that stands for it}"""
    dims: dict[int, int] = field(factory=dict)
    """{dim that is not drawn: the one that stands for it}"""
    between: set[tuple[int, int]] = field(factory=set)
    """Lines from one repetition to another, which are not drawn."""

    def node(self, position: int) -> int:
        """The box that is drawn for one."""
        while position in self.stands_for:
            position = self.stands_for[position]
        return position

    def dim(self, position: int) -> int:
        """The dim that is drawn for one."""
        while position in self.dims:
            position = self.dims[position]
        return position


def _nodes(item: Item) -> list[int]:
    return [item] if isinstance(item, int) else item.nodes()


def tree_of(nodes: Sequence[Node]) -> Block:
    """The boxes in a tree of the modules that contain them; a module that runs twice stands there twice."""
    return _tree("", list(range(len(nodes))), nodes)


def _tree(path: str, positions: Sequence[int], nodes: Sequence[Node]) -> Block:
    items: list[Item] = []
    depth = path.count(".") + 1 if path else 0
    waiting: list[int] = []
    child = ""

    def close() -> None:
        if waiting:
            items.append(_tree(child, list(waiting), nodes))
            waiting.clear()

    for position in positions:
        inside = nodes[position].path
        if inside == path:
            close()
            items.append(position)
            continue
        following = ".".join(inside.split(".")[: depth + 1])
        if following != child:
            close()
        child = following
        waiting.append(position)
    close()
    return Block(path, tuple(items), module=path)


def fold(graph: Graph, nodes: Sequence[Node], edges: Mapping[tuple[int, int], str], widths: Widths) -> Folded:
    """Fold what repeats."""
    folder = _Folder(graph, nodes, edges, widths)
    folder.folded.tree = folder.fold(tree_of(nodes))
    return folder.folded


class _Folder:
    def __init__(
        self, graph: Graph, nodes: Sequence[Node], edges: Mapping[tuple[int, int], str], widths: Widths
    ) -> None:
        self.graph, self.nodes, self.widths = graph, nodes, widths
        self.folded = Folded(Block("", ()))
        self.before: dict[int, list[int]] = {}
        self.after: dict[int, list[int]] = {}
        for source, target in edges:
            self.before.setdefault(target, []).append(source)
            self.after.setdefault(source, []).append(target)
        self.signs = [_sign(graph, node, widths) for node in nodes]

    def fold(self, block: Block) -> Block:
        """The block with all that repeats in it folded, what is inside of items last."""
        items = list(block.items)
        signs = [self.sign(item) for item in items]
        ids: dict[Any, int] = {}
        numbers = [ids.setdefault(sign, len(ids)) for sign in signs]
        found: list[Item] = []
        start = 0
        while start < len(items):
            length, times = self._longest(items, numbers, start)
            unit = items[start : start + length]
            if times > 1:
                found.append(self._stretch(block.path, items[start : start + length * times], length, times))
            else:
                found += [self.fold(item) if isinstance(item, Block) else item for item in unit]
            start += length * times
        return evolve(block, items=tuple(found))

    def sign(self, item: Item) -> Any:
        """What must be equal of items for one to stand for the other, but for edges and dims."""
        if isinstance(item, int):
            return self.signs[item]
        return tuple(self.sign(each) for each in item.items)

    def _longest(self, items: Sequence[Item], numbers: Sequence[int], start: int) -> tuple[int, int]:
        """How many items from here on are repeated, and how often: the most that can be folded."""
        best = (1, 1)
        for length in range(1, min(LONGEST, (len(items) - start) // 2) + 1):
            times = 1
            while numbers[start : start + length] == numbers[start + times * length : start + (times + 1) * length]:
                times += 1
            unit = items[start : start + length]
            boxes = sum(len(_nodes(item)) for item in unit)
            if (times - 1) * boxes < FEWEST or boxes < 2:
                continue
            units = [
                [node for item in items[start + k * length : start + (k + 1) * length] for node in _nodes(item)]
                for k in range(times)
            ]
            times = self._alike(units)
            if (times - 1) * boxes >= FEWEST and (times - 1) * length > (best[1] - 1) * best[0]:
                best = (length, times)
        return best

    def _alike(self, units: Sequence[Sequence[int]]) -> int:
        """How many units from the first on are joined alike, inside and with the rest, and have the same dims."""
        times = 1
        while times < len(units) and self._corresponds(units[0], units[times]):
            times += 1
        while times > 1 and not self._joined(units[:times]):
            times -= 1
        return times

    def _corresponds(self, first: Sequence[int], other: Sequence[int]) -> bool:
        """Whether two units have the same edges inside, and the dims that they write correspond one to one."""
        there, others = dict(zip(first, other, strict=True)), set(other)
        back: dict[int, int] = {}
        forth: dict[int, int] = {}
        for a, b in there.items():
            inner = {there[source] for source in self.before.get(a, ()) if source in there}
            if inner != others.intersection(self.before.get(b, ())):
                return False
            if len(self._own(a)) != len(self._own(b)):
                return False
            for p, q in zip(self._own(a), self._own(b), strict=True):
                if forth.setdefault(p, q) != q or back.setdefault(q, p) != p:
                    return False
        return True

    def _own(self, node: int) -> list[int]:
        """The dims that a box writes, or holds inside."""
        return own_dims(self.nodes[node], self.widths)

    def _joined(self, units: Sequence[Sequence[int]]) -> bool:
        """Whether units, box by box, read and are read alike, so that one can stand for all.

        Each reads what the one before it wrote, or what all before it wrote, besides what the first reads too. Others
        read all of them, or the last alone.
        """
        place = {node: (k, position) for k, unit in enumerate(units) for position, node in enumerate(unit)}
        reads: list[set[tuple[int, int]]] = [set() for _ in units]
        read: list[set[tuple[int, int]]] = [set() for _ in units]
        chained: list[set[tuple[int, int]]] = [set() for _ in units]
        back: list[set[int]] = [set() for _ in units]
        for node, (k, position) in place.items():
            for source in self.before.get(node, ()):
                unit, at = place.get(source, (-1, 0))
                if unit < 0:
                    reads[k].add((position, source))
                elif unit != k:
                    chained[k].add((position, at))
                    back[k].add(k - unit)
            read[k].update((position, target) for target in self.after.get(node, ()) if target not in place)
        entries = [{position for position, _ in outer | inner} for outer, inner in zip(reads, chained, strict=True)]
        return (
            all(outer <= reads[0] for outer in reads)
            and all(entry == entries[0] for entry in entries)
            and all(inner == chained[-1] for inner in chained[1:])
            and (
                all(steps <= {1} for steps in back)
                or all(steps == set(range(1, k + 1)) for k, steps in enumerate(back))
            )
            and (not any(read[:-1]) or all(each == read[-1] for each in read[:-1]))
        )

    def _stretch(self, path: str, items: Sequence[Item], length: int, times: int) -> Block:
        """The block that stands for a stretch of items."""
        units = [[node for item in items[k * length : (k + 1) * length] for node in _nodes(item)] for k in range(times)]
        member = {node: k for k, unit in enumerate(units) for node in unit}
        between = [(s, t) for t, k in member.items() for s in self.before.get(t, ()) if member.get(s, k) != k]
        self.folded.between.update(between)
        reads_all = any(member[target] - member[source] > 1 for source, target in between)
        for unit in units[1:]:
            for shown, other in zip(units[0], unit, strict=True):
                self.folded.stands_for[other] = shown
                for p, q in zip(self._own(shown), self._own(other), strict=True):
                    if p != q:
                        self.folded.dims[q] = p
        first = tuple(items[:length])
        only = first[0] if length == 1 else None
        drawn = self.fold(only if isinstance(only, Block) else Block(path, first, module=path))
        modules = [item for item in first if isinstance(item, Block)]
        last = [item for item in items if isinstance(item, Block)] if modules else items
        return evolve(
            drawn,
            path=self._name((modules or first)[0]),
            times=times,
            last=self._name(last[-1]),
            length=len(modules),
            reads_all=reads_all,
        )

    def _name(self, item: Item) -> str:
        """The path of a module, without those that contain nothing else, or the name of a box."""
        if isinstance(item, int):
            return self.nodes[item].name
        return self._name(item.items[0]) if len(item.items) == 1 and isinstance(item.items[0], Block) else item.path


def own_dims(node: Node, widths: Widths) -> list[int]:
    """The dims that the weights of a box are written along: that of its output, and those within."""
    if not node.weights:
        return []
    found = [dim for width in widths.of_value(node.output) for dim in width.dims]
    for name in node.parameters:
        for axis, _ in enumerate(widths.coupling.graph.values[name].shape):
            reads = [dim for dim in widths.of_axis(name, axis).dims if (name, axis) not in widths.dims[dim].readers]
            found += reads
    return list(dict.fromkeys(found))


def _sign(graph: Graph, node: Node, widths: Widths) -> Any:
    """What must be equal of two boxes for one to stand for the other."""
    own = tuple(str(width) for width in widths.of_value(node.output)) if node.weights else ()
    shape = graph.values[node.output].shape if node.weights and node.output in graph.values else ()
    literal = tuple((op.kind, tuple(_literals([*op.args, *op.kwargs.values()]))) for op in node.ops)
    kernels = tuple(graph.values[name].shape[2:] for name in node.parameters)
    inner = tuple((len(widths.dims[dim]), widths.kept(dim)) for dim in own_dims(node, widths))
    return literal, own, shape, kernels, inner


def _literals(arguments: Any) -> Iterator[Any]:
    """The arguments that are no tensors, as they can be compared; tensors in lists are not counted."""
    for argument in arguments:
        if isinstance(argument, Size):
            yield argument.value
        elif isinstance(argument, tuple | list):
            yield tuple(_literals(argument))
        elif isinstance(argument, Ref):
            continue
        elif isinstance(argument, Opaque):
            yield argument.text
        elif isinstance(argument, int | float | str | bool | type(None)):
            yield argument


__all__ = ["Block", "Folded", "Item", "fold", "own_dims", "tree_of"]
