"""Integers that remember where they came from.

A `TrackedInt` is an ordinary `int` for everything that computes with it, and carries an expression over axis lengths,
module attributes and literals. Arithmetic with + - * // % builds larger expressions; anything else (`int()`,
`math.prod`, division) gives a plain number, which counts as a literal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from secateur.graph.sizes import OPERATIONS, Arithmetic, Expr, Literal, Size

DEEPEST = 40
"""Expressions nested deeper than this (a counter that a loop increments) are taken for literals."""


class TrackedInt(int):
    """An integer with the expression it came from."""

    expr: Expr
    depth: int

    def __new__(cls, value: int, expr: Expr, depth: int = 0) -> TrackedInt:
        made = super().__new__(cls, value)
        made.expr, made.depth = expr, depth
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return int, (int(self),)

    def __deepcopy__(self, memo: dict[int, Any]) -> int:
        return int(self)

    def __neg__(self) -> Any:
        return 0 - self


def _operator(symbol: str, swapped: bool) -> Callable[[TrackedInt, Any], Any]:
    compute = OPERATIONS[symbol]

    def apply(self: TrackedInt, other: Any) -> Any:
        if not isinstance(other, int):
            return NotImplemented
        left, right = (other, self) if swapped else (self, other)
        value = compute(int(left), int(right))
        depth = 1 + max(self.depth, getattr(other, "depth", 0))
        if depth > DEEPEST:
            return value
        return TrackedInt(value, Arithmetic(symbol, expression(left), expression(right)), depth)

    return apply


for _symbol, _name in {"+": "add", "-": "sub", "*": "mul", "//": "floordiv", "%": "mod"}.items():
    setattr(TrackedInt, f"__{_name}__", _operator(_symbol, swapped=False))
    setattr(TrackedInt, f"__r{_name}__", _operator(_symbol, swapped=True))


def expression(number: int) -> Expr:
    """Return the expression of an integer: its own if it is tracked, a literal otherwise.

    >>> from secateur.graph.sizes import AxisLength
    >>> str(expression(TrackedInt(64, AxisLength("x", 1)) // 2))
    '(x.shape[1] // 2)'
    """
    return number.expr if isinstance(number, TrackedInt) else Literal(int(number))


def as_size(number: int) -> Size:
    """Return the record of an integer argument."""
    return Size(int(number), expression(number))
