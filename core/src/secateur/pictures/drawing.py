"""What a picture shows, before it is written down: boxes with their words and colours, in blocks, joined by lines."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from attrs import define

from secateur.graph.ir import Graph
from secateur.pictures.colours import LINE, OWN, PLAIN, Colour, Fill, colours_of
from secateur.pictures.folding import Folded, fold, own_dims, tree_of
from secateur.pictures.nodes import Node, edges_of, nodes_of, window
from secateur.pictures.widths import Width, Widths

if TYPE_CHECKING:
    from collections.abc import Sequence

    from secateur.thinning.plan import Plan

MOST_INNER = 3
"""Dims within a box that it lists."""
MOST_STRIPES = 6
"""Dims that are shown as stripes of one box."""
PRODUCT = 0.86
"""The share of a box that shows the first dim of a product; the second has the rest."""
OTHER = Colour(OWN, LINE, "")


@define(slots=False, frozen=True, eq=False, kw_only=True)
class Drawing:
    """All that is drawn of a graph."""

    graph: Graph
    nodes: Sequence[Node]
    edges: Mapping[tuple[int, int], str]
    widths: Widths
    folded: Folded
    parameters: bool

    @classmethod
    def of(cls, graph: Graph, plan: Plan | None, level: str, parameters: bool, folding: bool) -> Drawing:
        """Lay out the words of a picture; see `secateur.pictures.picture`."""
        widths = Widths.of(graph, plan)
        nodes = nodes_of(graph, level)
        edges = edges_of(nodes)
        folded = fold(graph, nodes, edges, widths) if folding else Folded(tree_of(nodes))
        return cls(graph=graph, nodes=nodes, edges=edges, widths=widths, folded=folded, parameters=parameters)

    @property
    def summary(self) -> str:
        """`23 boxes for 78 operations`."""
        boxes, ops = len(self.stood_for), sum(len(node.ops) for node in self.nodes)
        return f"{boxes:,} box{'' if boxes == 1 else 'es'} for {ops:,} operation{'' if ops == 1 else 's'}"

    @cached_property
    def stood_for(self) -> Mapping[int, list[int]]:
        """{box that is drawn: all that it stands for, itself first}."""
        found: dict[int, list[int]] = {}
        for position in range(len(self.nodes)):
            found.setdefault(self.folded.node(position), []).append(position)
        return found

    @cached_property
    def lines(self) -> Mapping[tuple[int, int], str]:
        """{(from, to): the value} between the boxes that are drawn; what joins folded repetitions is left out."""
        found: dict[tuple[int, int], str] = {}
        for (source, target), value in self.edges.items():
            pair = self.folded.node(source), self.folded.node(target)
            if pair[0] < pair[1] and (source, target) not in self.folded.between:
                found.setdefault(pair, value)
        return found

    @cached_property
    def dims(self) -> Mapping[int, int]:
        """{dim that is drawn: how many it stands for}, in the order in which the boxes first write them."""
        found: dict[int, set[int]] = {}
        for node in self.nodes:
            for dim in own_dims(node, self.widths):
                found.setdefault(self.folded.dim(dim), set()).add(dim)
        for dim in range(len(self.widths.dims)):
            if self.folded.dim(dim) in found:
                found[self.folded.dim(dim)].add(dim)
        return {dim: len(alike) for dim, alike in found.items()}

    @cached_property
    def coupled(self) -> Mapping[int, int]:
        """{dim that is drawn: how many layers write it}."""
        return {dim: len(self.widths.writers(dim)) for dim in self.dims}

    @cached_property
    def colours(self) -> Mapping[int, Colour]:
        """The colour of each dim that has one."""
        return colours_of(list(self.dims), [self.coupled[dim] > 1 for dim in self.dims])

    def parts(self, value: str) -> list[tuple[int, float]]:
        """The dims along a value that is drawn, each with its share of the width; none where nothing can leave."""
        found: dict[int, float] = {}
        widths = [width for width in self.widths.of_value(value) if width.dims]
        for width in widths:
            for dim, share in zip(width.dims, width.shares, strict=True):
                dim = self.folded.dim(dim)
                found[dim] = found.get(dim, 0.0) + share / sum(width.shares) / len(widths)
        return list(found.items())

    def fill(self, value: str) -> Fill:
        """How what holds a value is filled."""
        parts = self.parts(value)
        colours = [self.colours.get(dim, OTHER) for dim, _ in parts]
        if not parts:
            return Fill(PLAIN, LINE)
        if len(parts) == 1:
            return Fill(colours[0].fill, colours[0].line, letters=colours[0].letter)
        if self.product(value):
            letters = "×".join(colour.letter for colour in colours if colour.letter)
            fill = f"{colours[0].fill};{PRODUCT}:{colours[1].fill};{1 - PRODUCT:.2f}"
            return Fill(fill, colours[0].line, letters=letters)
        if len(parts) > MOST_STRIPES:
            return Fill(OWN, LINE)
        stripes = zip(colours, parts, strict=True)
        return Fill(":".join(f"{colour.fill};{share:.4f}" for colour, (_, share) in stripes), LINE, "striped")

    def fill_of(self, position: int) -> Fill:
        """How a box is filled: one that stands for boxes of other widths and dims has no colour."""
        return Fill(OWN, LINE) if "…" in self.width(position) else self.fill(self.nodes[position].output)

    def axis(self, name: str, axis: int) -> tuple[Width, str]:
        """The width of one axis of a parameter, and the fill of the dim along it."""
        width = self.widths.of_axis(name, axis)
        if not width.dims:
            return width, PLAIN
        alone = len(width.dims) == 1 or sum(width.shares) > width.before  # of a product the first
        return width, self.colours.get(self.folded.dim(width.dims[0]), OTHER).fill if alone else OWN

    def product(self, value: str) -> bool:
        """Whether each slice of a value belongs to several dims, as to a head and a place within it."""
        widths = [width for width in self.widths.of_value(value) if width.dims]
        return any(sum(width.shares) > width.before for width in widths) or len(widths) > 1

    def stays(self, node: Node) -> bool:
        """Whether a box writes a width of its own, and nothing of it can leave, or not without being asked for."""
        widths = self.widths.of_value(node.output)
        if not node.weights or not widths or any(width.before != width.after for width in widths):
            return False
        return self.on_request(node) or not any(width.dims for width in widths)

    def on_request(self, node: Node) -> bool:
        """Whether all dims of what a box gives are pruned on request only."""
        parts = self.parts(node.output)
        return bool(parts) and all(self.widths.on_request(dim) for dim, _ in parts)

    def width(self, position: int) -> str:
        """`64`, `64 → 32`, `12 × 64 → 6 × 64`; for boxes that stand for others of other widths `64…128`."""
        alike = [self.widths.of_value(self.nodes[each].output) for each in self.stood_for[position]]
        first = alike[0]
        if not first:
            return ""
        before = " × ".join(_range([each[axis] for each in alike], "before") for axis in range(len(first)))
        after = " × ".join(_range([each[axis] for each in alike], "after") for axis in range(len(first)))
        return before if before == after else f"{before} → {after}"

    def shows_width(self, node: Node) -> bool:
        """Whether a box makes a width of its own: by weights, or by laying several side by side."""
        return node.weights or (node.head.kind == "cat" and len(self.widths.of_value(node.output)) > 0)

    def inner(self, node: Node) -> list[str]:
        """What the boxes say of dims that lie within, such as the heads of an attention."""
        outside = {self.folded.dim(dim) for width in self.widths.of_value(node.output) for dim in width.dims}
        found = [dim for dim in own_dims(node, self.widths) if self.folded.dim(dim) not in outside]
        lines = [f"{self.dim_name(dim)}: {self.dim_width(dim)}" for dim in found[:MOST_INNER]]
        return [*lines, f"and {len(found) - MOST_INNER} more dims"] if len(found) > MOST_INNER else lines

    def dim_name(self, dim: int) -> str:
        """The name of a dim."""
        return self.widths.dims[dim].name

    def dim_width(self, dim: int) -> str:
        """`16` or `16 → 8`."""
        return str(Width(len(self.widths.dims[dim]), self.widths.kept(dim)))

    def place(self, node: Node) -> str:
        """`Conv 3×3 /2 · 16×16`: what a box does, and what lies beside the width of what it gives."""
        value = self.graph.values.get(node.output)
        labels = self.widths.coupling.labelling.labels.get(node.output)
        shape = value.shape if value is not None else ()
        if labels is None or len(shape) < 4:
            return " ".join(filter(None, (node.kind, window(self.graph, node))))
        rest = "×".join(str(size) for size in shape[2:])
        return " ".join(filter(None, (node.kind, window(self.graph, node)))) + f" · {rest}"

    @cached_property
    def reasons(self) -> Mapping[str, str]:
        """{parameter that stays along its first axis: why}."""
        plan = self.widths.plan
        refusals = plan.refusals if plan is not None else self.widths.coupling.refusals
        return {each.parameter: "; ".join(each.reasons) for each in refusals if each.axis == 0}


def _range(widths: Sequence[Width], side: str) -> str:
    sizes = [getattr(width, side) for width in widths]
    return f"{sizes[0]:,}" if min(sizes) == max(sizes) else f"{min(sizes):,}…{max(sizes):,}"
