"""Axes of charts: round ticks, on linear and logarithmic scales."""

from __future__ import annotations

import math
from collections.abc import Sequence

from attrs import frozen

STEEP = 40.0
"""A scale is logarithmic if its largest value is so many times the smallest."""


@frozen
class Scale:
    """Maps values to shares of an axis, 0 at `low` and 1 at `high`."""

    low: float
    high: float
    logarithmic: bool = False

    def share(self, value: float) -> float:
        """Where a value lies."""
        if self.logarithmic:
            return (math.log10(value) - math.log10(self.low)) / (math.log10(self.high) - math.log10(self.low))
        return (value - self.low) / (self.high - self.low)


def linear(values: Sequence[float], wanted: int = 5, from_zero: bool = False) -> tuple[Scale, list[float]]:
    """A scale that begins and ends at ticks, and the ticks.

    >>> linear([0.12, 0.97])[1]
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    >>> linear([3.0, 3.0])[1][0] < 3 < linear([3.0, 3.0])[1][-1]
    True
    """
    low, high = min(values), max(values)
    low = min(low, 0.0) if from_zero else low
    if not math.isfinite(high - low) or high - low <= 1e-12 * max(abs(low), abs(high)):
        pad = 0.5 * abs(high) if high else 0.5
        low, high = (low if from_zero else low - pad), high + pad
    step = _round((high - low) / wanted)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = [_tidy(n * step, step) for n in range(first, last + 1)]
    return Scale(ticks[0], ticks[-1]), ticks


def logarithmic(values: Sequence[float]) -> tuple[Scale, list[float]]:
    """A logarithmic scale of positive values, with ticks at 1, 2 and 5 of each decade if there are few.

    >>> logarithmic([3, 4000])[1]
    [1.0, 10.0, 100.0, 1000.0, 10000.0]
    """
    first, last = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    last = max(last, first + 1)
    parts = (1.0, 2.0, 5.0) if last - first <= 2 else (1.0,)
    every = max(1, (last - first) // 5)
    ticks = [part * 10.0**n for n in range(first, last + 1, every) for part in parts]
    low, high = min(values), max(values)
    lower = max((tick for tick in ticks if tick <= low), default=ticks[0])
    upper = min((tick for tick in ticks if tick >= high), default=10.0**last)
    inside = [tick for tick in ticks if lower <= tick <= upper]
    return Scale(lower, upper, True), inside


def scaled(values: Sequence[float], from_zero: bool = False) -> tuple[Scale, list[float]]:
    """The scale that shows some finite values best."""
    if not from_zero and min(values) > 0 and max(values) / min(values) > STEEP:
        return logarithmic(values)
    return linear(values, from_zero=from_zero)


def whole(low: float, high: float, wanted: int = 6) -> list[float]:
    """Ticks at whole numbers between two, such as epochs.

    >>> whole(0, 19)
    [0.0, 5.0, 10.0, 15.0]
    >>> whole(3, 3)
    [3.0]
    """
    step = max(1, round(_round((high - low) / wanted))) if high > low else 1
    return [float(n) for n in range(math.ceil(low / step) * step, math.floor(high) + 1, step)]


def _round(step: float) -> float:
    """The round number, 1, 2, 2.5 or 5 times a power of ten, that is not below a step."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(part * power for part in (1, 2, 2.5, 5, 10) if part * power >= step * (1 - 1e-9))


def _tidy(value: float, step: float) -> float:
    return round(value, 2 - math.floor(math.log10(step)))
