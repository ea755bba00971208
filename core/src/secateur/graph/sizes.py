"""Where did this integer come from? Size expressions over axes, attributes and literals.

`view(b, n, self.num_heads, -1)` holds integers that must follow when a network becomes thinner. A builder records
for each of them an expression: the length of an axis of a value, an attribute of a module, or arithmetic on
these. Evaluating the expression with the thin lengths tells what the call will receive after thinning.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any

from secateur.graph.record import record

OPERATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "//": operator.floordiv,
    "%": operator.mod,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}

COMPARISONS = {"==": "eq", "!=": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge"}
"""Operations whose value is the outcome of a comparison, 0 or 1, with the names of Python's methods."""


@record
class Literal:
    """A number written in the source, or one whose origin was lost."""

    value: int

    def __str__(self) -> str:
        return str(self.value)


@record
class AxisLength:
    """The length of one axis of a value: `x.shape[1]`."""

    value: str
    axis: int

    def __str__(self) -> str:
        return f"{self.value}.shape[{self.axis}]"


@record
class Attribute:
    """An integer held by a module, `attn.num_heads`, or one entry of a tuple of integers it holds."""

    module: str
    name: str
    index: int | None = None

    def __str__(self) -> str:
        path = f"{self.module}.{self.name}" if self.module else self.name
        return path if self.index is None else f"{path}[{self.index}]"


@record
class Arithmetic:
    """Two expressions joined by one of + - * // %, or compared."""

    operation: str
    left: Literal | AxisLength | Attribute | Arithmetic
    right: Literal | AxisLength | Attribute | Arithmetic

    def __str__(self) -> str:
        return f"({self.left} {self.operation} {self.right})"


Expr = Literal | AxisLength | Attribute | Arithmetic


@record
class Size:
    """An integer argument of a call: its value when recorded, and the expression it came from."""

    value: int
    expr: Expr

    def __str__(self) -> str:
        return f"{self.value}" if isinstance(self.expr, Literal) else f"{self.expr}"


def leaves(expr: Expr) -> Iterator[Literal | AxisLength | Attribute]:
    """Yield the axes, attributes and literals an expression is made of.

    >>> [str(leaf) for leaf in leaves(Arithmetic("//", AxisLength("x", 1), Literal(2)))]
    ['x.shape[1]', '2']
    """
    if isinstance(expr, Arithmetic):
        yield from leaves(expr.left)
        yield from leaves(expr.right)
    else:
        yield expr


def evaluate(expr: Expr, length: Callable[[str, int], Any], attribute: Callable[[Attribute], Any]) -> Any:
    """Compute an expression, given the length of axes and the value of attributes (numbers or numpy arrays).

    >>> evaluate(Arithmetic("//", AxisLength("x", 1), Literal(2)), lambda value, axis: 64, lambda a: 0)
    32
    """
    if isinstance(expr, Literal):
        return expr.value
    if isinstance(expr, AxisLength):
        return length(expr.value, expr.axis)
    if isinstance(expr, Attribute):
        return attribute(expr)
    left, right = evaluate(expr.left, length, attribute), evaluate(expr.right, length, attribute)
    return OPERATIONS[expr.operation](left, right)
