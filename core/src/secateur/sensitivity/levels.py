"""The levels at which a network is looked at: shares of the units, or of the elements, that leave."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Real
from typing import Any, Final

from secateur.errors import ConfigError

DEFAULT: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)

HINT: Final = "give shares in (0, 1) in ascending order, such as 0.1, 0.5, 0.9"


def check_levels(levels: Any) -> tuple[float, ...]:
    """The levels as floats; a `ConfigError` unless they are ascending numbers in (0, 1).

    >>> check_levels([0.1, 0.5])
    (0.1, 0.5)
    """
    if isinstance(levels, str) or not isinstance(levels, Iterable):
        raise ConfigError(f"expected a list of numbers, got {levels!r}", where="levels", hint=HINT)
    found: list[float] = []
    for level in levels:
        if isinstance(level, bool) or not isinstance(level, Real):
            raise ConfigError(f"expected numbers, got {level!r}", where="levels", hint=HINT)
        value = float(level)
        if not 0 < value < 1:
            raise ConfigError(f"{level} is no share in (0, 1)", where="levels", hint=HINT)
        if found and value <= found[-1]:
            raise ConfigError(f"{level} comes after {found[-1]}", where="levels", hint=HINT)
        found.append(value)
    if not found:
        raise ConfigError("there is none", where="levels", hint=HINT)
    return tuple(found)


def parse_levels(text: str) -> tuple[float, ...]:
    """Read `0.1,0.5,0.9`, or `first:last:step`, where the last counts too.

    >>> parse_levels("0.1:0.5:0.2"), parse_levels("0.25,0.5")
    ((0.1, 0.3, 0.5), (0.25, 0.5))
    """
    try:
        if ":" not in text:
            return check_levels([float(part) for part in text.split(",")])
        first, last, step = (float(part) for part in text.split(":"))
    except ValueError:
        raise ConfigError(
            f"{text!r} are no levels", where="--levels", hint="give 0.1,0.5,0.9 or first:last:step, 0.1:0.9:0.1"
        ) from None
    if not step > 0:
        raise ConfigError(f"the step {step} is not above 0", where="--levels", hint="such as 0.1:0.9:0.1")
    if (last - first) / step > 10_000:
        raise ConfigError(f"{text!r} are more than 10,000 levels", where="--levels", hint="take a larger step")
    count = int((last - first) / step + 1e-9) + 1
    return check_levels([round(first + i * step, 10) for i in range(max(count, 0))])
