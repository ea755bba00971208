"""Validators for attrs fields, with messages that can stand behind a key: "must be in [0, 1), got 1.2"."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

Validator = Callable[[Any, "attrs.Attribute[Any]", Any], None]

__all__ = ["in_range", "non_empty", "non_negative", "positive"]


def in_range(low: float, high: float, low_open: bool = False, high_open: bool = False) -> Validator:
    """Make a validator that accepts numbers between `low` and `high`; an open end excludes its bound.

    NaN is in no range.

    >>> in_range(0, 1, high_open=True)(None, None, 1.2)
    Traceback (most recent call last):
      ...
    ValueError: must be in [0, 1), got 1.2
    """
    shown = f"{'(' if low_open else '['}{low}, {high}{')' if high_open else ']'}"

    def validate(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        above = value > low if low_open else value >= low
        below = value < high if high_open else value <= high
        if not (above and below):
            raise ValueError(f"must be in {shown}, got {value}")

    return validate


def positive(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Accept numbers greater than 0."""
    if not value > 0:
        raise ValueError(f"must be positive, got {value}")


def non_negative(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Accept numbers from 0 on."""
    if not value >= 0:
        raise ValueError(f"must not be negative, got {value}")


def non_empty(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Accept strings, lists and mappings that hold something."""
    if len(value) == 0:
        raise ValueError("must not be empty")
