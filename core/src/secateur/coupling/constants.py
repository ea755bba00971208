"""Sizes that no axis follows: integers that a call reads as plain numbers, which therefore must keep their value.

`torch.zeros(x.shape[1])` makes a tensor whose length no rule ties to anything, `x * x.shape[1]` scales by it, and
`x.shape[1] ** -0.5` is lost to arithmetic. If such a number depends on an axis that could become shorter, the
units that would change it stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from secateur.coupling.facts import Facts, SizeFact
from secateur.coupling.labels import Labels
from secateur.graph.ir import Graph, Op, Ref, Source
from secateur.graph.sizes import COMPARISONS, Arithmetic, Attribute, AxisLength, Expr, Literal, Size, leaves

_PLAIN = frozenset({Ref, bool, int, float, str, type(None)})
"""Arguments that hold no size."""


def unfollowed(graph: Graph, facts: Facts, labels: Mapping[str, Labels]) -> list[SizeFact]:
    """A fact for every integer that may change with the network and that no rule accounted for."""
    solved = {fact.expr for fact in facts.sizes if isinstance(fact.expr, Attribute)}
    names = {attribute.name for attribute in solved}  # few of those that are asked for: strides and paddings are not

    def may_change(expr: Expr) -> bool:
        if isinstance(expr, AxisLength):
            return labels[expr.value].axes[expr.axis].free
        if isinstance(expr, Arithmetic):
            return may_change(expr.left) or may_change(expr.right)
        return isinstance(expr, Attribute) and expr.name in names and expr in solved

    return _constants(graph, facts, may_change)


def uses_of(attribute: Attribute, graph: Graph, facts: Facts) -> list[SizeFact]:
    """A fact for every integer that contains an attribute and that no rule accounted for."""
    return _constants(graph, facts, lambda expr: attribute in leaves(expr))


def _constants(graph: Graph, facts: Facts, may_change: Callable[[Expr], bool]) -> list[SizeFact]:
    nothing = np.empty(0, np.int64)
    found = [
        SizeFact(size.expr, nothing, op, size.value)
        for op in graph.ops.values()
        for size in _sizes(op)
        if id(size) not in facts.followed and may_change(size.expr)
    ]
    found += [
        SizeFact(size.expr, nothing, None, size.value, _use(size, source))
        for size, source in graph.numbers
        if may_change(size.expr)
    ]
    found += [
        SizeFact(size.expr, nothing, None, size.value, f"{size} scales something at {_place(source)}", scales=True)
        for size, source in graph.scales
        if may_change(size.expr)
    ]
    return found


def _use(size: Size, source: Source | None) -> str:
    if isinstance(size.expr, Arithmetic) and size.expr.operation in COMPARISONS:
        return f"the comparison {size} decides what runs at {_place(source)}"
    return f"{size} is used as a number at {_place(source)}"


def _place(source: Source | None) -> str:
    return "an unknown line" if source is None else str(source)


def _sizes(op: Op) -> list[Size]:
    """The integers among the arguments of a call that are more than a number, from left to right."""
    found: list[Size] = []
    _add_sizes(op.args, found)
    if op.kwargs:
        _add_sizes(op.kwargs.values(), found)
    return found


def _add_sizes(entries: Iterable[Any], found: list[Size]) -> None:
    for entry in entries:
        kind = type(entry)
        if kind is Size:
            if type(entry.expr) is not Literal:
                found.append(entry)
        elif kind in _PLAIN:
            continue
        elif isinstance(entry, tuple | list):
            _add_sizes(entry, found)
        elif isinstance(entry, Mapping):
            _add_sizes(entry.values(), found)
        elif isinstance(entry, slice):
            _add_sizes((entry.start, entry.stop, entry.step), found)


def branches(graph: Graph) -> list[str]:
    """Comparisons of sizes that another input could turn: "(x.shape[0] > 3) at model.py:7", one for each line.

    What was equal and is compared for equality is taken for a check, not a branch.
    """
    found: dict[Source, str] = {}
    for size, source in graph.numbers:
        expr = size.expr
        if source is None or not isinstance(expr, Arithmetic) or expr.operation not in COMPARISONS:
            continue
        check = (expr.operation, size.value) in (("==", 1), ("!=", 0))
        if not check and any(isinstance(leaf, AxisLength) for leaf in leaves(expr)):
            found.setdefault(source, f"{size} at {source}")
    return list(found.values())
