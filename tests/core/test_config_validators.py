"""Validators accept what their name says, and say what they refuse."""

from __future__ import annotations

from typing import Any

import pytest

from secateur.config.validators import in_range, non_empty, non_negative, positive


@pytest.mark.parametrize(
    ("validator", "good", "bad", "message"),
    [
        (in_range(0, 1), [0, 0.5, 1], 1.5, "must be in [0, 1], got 1.5"),
        (in_range(0, 1, low_open=True), [0.1, 1], 0, "must be in (0, 1], got 0"),
        (in_range(0, 1, high_open=True), [0, 0.9], 1.0, "must be in [0, 1), got 1.0"),
        (in_range(0, 1, low_open=True, high_open=True), [0.5], 0.0, "must be in (0, 1), got 0.0"),
        (in_range(-1, 1), [-1], float("nan"), "must be in [-1, 1], got nan"),
        (positive, [1, 0.1], 0, "must be positive, got 0"),
        (positive, [1], float("nan"), "must be positive, got nan"),
        (non_negative, [0, 1], -0.5, "must not be negative, got -0.5"),
        (non_empty, ["a", [1], {1: 2}], "", "must not be empty"),
        (non_empty, [(1,)], (), "must not be empty"),
    ],
)
def test_validators(validator: Any, good: list[Any], bad: Any, message: str) -> None:
    for value in good:
        validator(None, None, value)
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        validator(None, None, bad)
    assert str(caught.value) == message
