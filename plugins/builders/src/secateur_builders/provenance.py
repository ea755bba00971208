"""Integers that remember where they came from.

A `TrackedInt` is an ordinary `int` for everything that computes with it, and carries an expression over axis lengths,
module attributes and literals. Arithmetic with + - * // % builds larger expressions; anything else (`int()`, division,
powers) gives a plain number, which is noted as such, with the line that asked for it: `losses` collects the notes.
What becomes a floating-point number (`C ** -0.5`) only scales something, and is noted apart. So is every comparison:
what a branch was decided by must come out the same after thinning. (Not seen is `2.0 * C`, which Python computes
without asking the integer.)
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

from secateur.graph.sizes import COMPARISONS, OPERATIONS, Arithmetic, Attribute, Expr, Literal, Size

DEEPEST = 40
"""Expressions nested deeper than this (a counter that a loop increments) become plain numbers."""

FAST_PATHS = tuple(os.path.join("torch", "nn", "modules", name) for name in ("activation.py", "transformer.py"))
"""Files of torch in which sizes are compared only to choose between two ways to compute the same (fused attention needs
an even number of heads)."""

Note = Callable[[Size], None]
_NOTE: ContextVar[Note | None] = ContextVar("note", default=None)

Scale = Callable[[Size], int]
_SCALE: ContextVar[Scale | None] = ContextVar("scale", default=None)


def unnoted(function: Callable[..., Any], *args: Any) -> Any:
    """Call a function while nobody is told of tracked integers that become plain numbers."""
    tokens = _NOTE.set(None), _SCALE.set(None)
    try:
        return function(*args)
    finally:
        _NOTE.reset(tokens[0])
        _SCALE.reset(tokens[1])


@contextmanager
def losses(note: Note | None, scale: Scale | None = None) -> Iterator[None]:
    """While the body runs, `note` is told of every tracked integer that becomes a plain number; None: nobody is.

    `scale` is told instead of what becomes a floating-point number, and answers with the integer to take for it.
    """
    tokens = _NOTE.set(note), _SCALE.set(scale)
    try:
        yield
    finally:
        _NOTE.reset(tokens[0])
        _SCALE.reset(tokens[1])


class TrackedInt(int):
    """An integer with the expression it came from."""

    depth: int = 0
    home: tuple[str, str, int | None]
    """Of an integer that a module holds: the module's path, the attribute, and the place in it."""
    _expr: Expr | None = None

    def __new__(cls, value: int, expr: Expr, depth: int = 0) -> TrackedInt:
        """Make one from its value, its expression and how deeply that is nested."""
        made = int.__new__(cls, value)
        made._expr = expr
        if depth:
            made.depth = depth
        return made

    @property
    def expr(self) -> Expr:
        """Where it came from; of an integer that a module holds it is made here, since of most nobody ever asks."""
        known = self._expr
        if known is None:
            known = self._expr = Attribute(*self.home)
        return known

    def __reduce__(self) -> tuple[Any, ...]:
        return int, (bare(self),)

    def __deepcopy__(self, memo: dict[int, Any]) -> int:
        return bare(self)

    def __neg__(self) -> Any:
        return 0 - self

    def __pos__(self) -> Any:
        return self


bare: Callable[[int], int] = int.__int__
"""The plain integer, without a note."""


def held_by(path: str, attribute: str, number: int, index: int | None = None) -> TrackedInt:
    """An integer that a module holds as an attribute, or in a tuple or list that is one."""
    made = int.__new__(TrackedInt, number)
    made.home = path, attribute, index
    return made


def _lost(number: TrackedInt) -> None:
    note = _NOTE.get()
    if note is not None:
        note(Size(bare(number), number.expr))


def _scaled(number: Any) -> Any:
    """What a number is taken for where it becomes a floating-point one."""
    scale = _SCALE.get()
    if not isinstance(number, TrackedInt):
        return number
    if scale is None:
        _lost(number)
        return bare(number)
    return scale(Size(bare(number), number.expr))


def _operator(symbol: str, name: str, swapped: bool) -> Callable[[TrackedInt, Any], Any]:
    compute = OPERATIONS[symbol]
    plain = getattr(int, name)

    def apply(self: TrackedInt, other: Any) -> Any:
        if isinstance(other, float):
            return getattr(float(_scaled(self)), name)(other)
        if not isinstance(other, int):
            if isinstance(other, complex):
                _lost(self)
            return plain(self, other)
        left, right = (other, self) if swapped else (self, other)
        value = compute(bare(left), bare(right))
        depth = 1 + max(self.depth, getattr(other, "depth", 0))
        if depth > DEEPEST:
            _lost(self)
            return value
        return TrackedInt(value, Arithmetic(symbol, expression(left), expression(right)), depth)

    return apply


def _comparison(symbol: str, name: str) -> Callable[[TrackedInt, Any], Any]:
    plain = getattr(int, name)

    def apply(self: TrackedInt, other: Any) -> Any:
        outcome = plain(self, other)
        note = _NOTE.get()
        if note is not None and isinstance(other, int) and not sys._getframe(1).f_code.co_filename.endswith(FAST_PATHS):
            note(Size(bare(outcome), Arithmetic(symbol, expression(self), expression(other))))
        return outcome

    return apply


def _leaving(name: str) -> Callable[..., Any]:
    plain = getattr(int, name)

    def apply(self: TrackedInt, *others: Any) -> Any:
        if any(isinstance(other, float) for other in others) and hasattr(float, name):
            return getattr(float(_scaled(self)), name)(*others)
        made = plain(self, *others)
        if isinstance(made, float):
            return plain(_scaled(self), *map(_scaled, others))
        if made is not NotImplemented or any(isinstance(other, float | complex) for other in others):
            for number in (self, *others):
                if isinstance(number, TrackedInt):
                    _lost(number)
        return made

    return apply


for _symbol, _name in {"+": "add", "-": "sub", "*": "mul", "//": "floordiv", "%": "mod"}.items():
    setattr(TrackedInt, f"__{_name}__", _operator(_symbol, f"__{_name}__", swapped=False))
    setattr(TrackedInt, f"__r{_name}__", _operator(_symbol, f"__r{_name}__", swapped=True))

for _symbol, _name in COMPARISONS.items():
    setattr(TrackedInt, f"__{_name}__", _comparison(_symbol, f"__{_name}__"))
TrackedInt.__hash__ = int.__hash__  # type: ignore[method-assign]

for _name in ["truediv", "pow", "divmod", "lshift", "rshift", "and", "or", "xor"]:
    setattr(TrackedInt, f"__{_name}__", _leaving(f"__{_name}__"))
    setattr(TrackedInt, f"__r{_name}__", _leaving(f"__r{_name}__"))

for _name in ["int", "float", "round", "trunc", "floor", "ceil", "abs", "invert"]:
    setattr(TrackedInt, f"__{_name}__", _leaving(f"__{_name}__"))


def expression(number: int) -> Expr:
    """Return the expression of an integer: its own if it is tracked, a literal otherwise.

    >>> from secateur.graph.sizes import AxisLength
    >>> str(expression(TrackedInt(64, AxisLength("x", 1)) // 2))
    '(x.shape[1] // 2)'
    """
    return number.expr if isinstance(number, TrackedInt) else Literal(bare(number))


def as_size(number: int) -> Size:
    """Return the record of an integer argument."""
    return Size(bare(number), number.expr) if isinstance(number, TrackedInt) else literal(bare(number))


@lru_cache(maxsize=1024)
def literal(number: int) -> Size:
    """The record of a plain integer; one object stands for all that are equal."""
    return Size(number, Literal(number))
