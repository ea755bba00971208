"""What is drawn as one box: an operation, or the call of a module with what only passes its result on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import prod

from attrs import evolve, field, frozen

from secateur.graph.ir import Graph, Op
from secateur.plugins import current

SPELLED = {
    "conv1d": "Conv",
    "conv2d": "Conv",
    "conv3d": "Conv",
    "conv_transpose1d": "Transposed conv",
    "conv_transpose2d": "Transposed conv",
    "conv_transpose3d": "Transposed conv",
    "linear": "Linear",
    "multi_head_attention_forward": "Multi-head attention",
    "scaled_dot_product_attention": "Attention",
    "cat": "concat",
    "iadd": "add",
    "getitem": "index",
    "mul": "×",
    "lstm": "LSTM",
    "gru": "GRU",
    "rnn_tanh": "RNN",
    "rnn_relu": "RNN",
    "lstm_cell": "LSTM cell",
    "gru_cell": "GRU cell",
    "max_pool2d": "max pool",
    "avg_pool2d": "average pool",
    "adaptive_avg_pool2d": "average pool",
}
"""How kinds of operations are written in a box; others with spaces for underscores."""


@frozen(eq=False)
class Node:
    """One box: its operations in the order they run, and those of modules that only pass its result on."""

    name: str
    """The path of the module, or the name of the operation."""
    path: str
    """The module that contains it."""
    head: Op
    """The operation that says what it is."""
    ops: tuple[Op, ...]
    inputs: tuple[str, ...]
    """The values that it reads of other boxes, and of the outside."""
    output: str
    """The value it is known by: what it writes before others pass it on."""
    passing: tuple[str, ...] = ()
    """The modules or operations that only pass its result on."""
    weights: bool = False
    """Whether it multiplies and sums: its output is a width of its own."""
    parameters: tuple[str, ...] = field(default=())

    @property
    def kind(self) -> str:
        """What it does, in a word."""
        kind = self.head.kind
        return SPELLED.get(kind, kind.rpartition("::")[2].strip("_").replace("_", " "))


def nodes_of(graph: Graph, level: str) -> list[Node]:
    """The boxes of a graph, in the order they run; what only training does is left out."""
    ops = [op for op in graph.ops.values() if not op.training]
    if level == "op":
        return [_node(graph, [op], op.name, op.module) for op in ops]
    within = {op.module.rpartition(".")[0] for op in ops}
    for path in list(within):
        while path:
            path = path.rpartition(".")[0]
            within.add(path)
    found = [_node(graph, part, *_title(part, within)) for part in _calls(graph, ops, within)]
    return _merged(graph, found)


def _title(ops: Sequence[Op], within: set[str]) -> tuple[str, str]:
    """The name of a box, and the module that contains it."""
    module = ops[0].module
    if module and module not in within:
        return module, module.rpartition(".")[0]
    return ops[0].name, module


def _calls(graph: Graph, ops: Iterable[Op], within: set[str]) -> list[list[Op]]:
    """Operations grouped by the call of the innermost module that made them; others stand alone."""
    ends = {(call.module, name) for call in graph.calls for name in call.outputs}
    found: list[list[Op]] = []
    open_for = ""
    for op in ops:
        leaf = op.module if op.module not in within else ""
        if leaf and leaf == open_for:
            found[-1].append(op)
        else:
            found.append([op])
        open_for = "" if any((leaf, name) in ends for name in op.outputs) else leaf
    return found


def _node(graph: Graph, ops: Sequence[Op], name: str, path: str) -> Node:
    made = {output for op in ops for output in op.outputs}
    read = dict.fromkeys(value for op in ops for value in op.inputs if value not in made)
    rules = current().op_rules
    counting = [op for op in ops if (rule := rules.get(op.kind, None)) is not None and rule.macs is not None]
    head = max(counting or ops, key=lambda op: sum(graph.values[value].kind == "parameter" for value in op.inputs))
    outputs = [output for op in ops for output in op.outputs]
    learned = tuple(value for value in read if graph.values[value].kind in ("parameter", "buffer"))
    data = tuple(value for value in read if graph.values[value].kind in ("input", "activation"))
    weights = any(len(graph.values[each].shape) > 1 for each in learned if graph.values[each].kind == "parameter")
    known = head.outputs[0] if head.outputs else (outputs[-1] if outputs else "")
    return Node(name, path, head, tuple(ops), data, known, (), weights, learned)


def _merged(graph: Graph, nodes: Sequence[Node]) -> list[Node]:
    """Let boxes that only pass on what one other made, element by element, become a line of that one."""
    readers: dict[str, int] = dict.fromkeys(graph.outputs, 1)
    for node in nodes:
        for name in node.inputs:
            readers[name] = readers.get(name, 0) + 1
    found: list[Node] = []
    maker: dict[str, int] = {}
    for node in nodes:
        position = maker.get(node.inputs[0]) if len(node.inputs) == 1 else None
        if position is not None and readers[node.inputs[0]] == 1 and _passes(graph, node, found[position]):
            before = found[position]
            shown = node.kind if node.name == node.head.name or node.name.rpartition(".")[2].isdigit() else node.name
            found[position] = evolve(
                before,
                ops=before.ops + node.ops,
                passing=(*before.passing, shown),
                parameters=before.parameters + node.parameters,
            )
        else:
            position = len(found)
            found.append(node)
        for op in node.ops:
            maker.update(dict.fromkeys(op.outputs, position))
    return found


def _passes(graph: Graph, node: Node, before: Node) -> bool:
    """Whether a box gives every element that one made again, in its place or moved, and stands beside it."""
    if node.weights or node.path != before.path:
        return False
    before_shape = graph.values[node.inputs[0]].shape
    shapes = [graph.values[name].shape for op in node.ops for name in op.outputs]
    if before.name == before.head.name:  # no module: what gives it another shape belongs to what comes after
        return len(node.head.outputs) == 1 and all(shape == before_shape for shape in shapes)
    return len(node.head.outputs) == 1 and all(prod(shape) == prod(before_shape) for shape in shapes)


def edges_of(nodes: Sequence[Node]) -> dict[tuple[int, int], str]:
    """{(from, to): the value} between boxes, by their positions."""
    maker: dict[str, int] = {}
    found: dict[tuple[int, int], str] = {}
    for position, node in enumerate(nodes):
        for name in node.inputs:
            if name in maker:
                found.setdefault((maker[name], position), name)
        for op in node.ops:
            maker.update(dict.fromkeys(op.outputs, position))
    return found


def window(graph: Graph, node: Node) -> str:
    """`3×3 /2` of a convolution: the size of its kernel, and how many times shorter what it slides over becomes."""
    shapes: Mapping[str, tuple[int, ...]] = {name: graph.values[name].shape for name in node.parameters}
    if not node.head.kind.startswith("conv"):
        return ""
    weight = next((shape for shape in shapes.values() if len(shape) > 2), ())
    kernel = "×".join(map(str, weight[2:]))
    before, after = graph.values[node.head.inputs[0]].shape, graph.values[node.output].shape
    stride = round(before[-1] / after[-1]) if before and after and after[-1] else 1
    return kernel + (f" /{stride}" if stride > 1 else "")
