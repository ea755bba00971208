"""Sorted indices as ranges: [[0, 3], [7, 8]] stands for 0, 1, 2, 7."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Indices = np.ndarray[Any, np.dtype[np.int64]]


def to_ranges(indices: Indices) -> list[list[int]]:
    """Write sorted indices as half-open ranges.

    >>> to_ranges(np.array([0, 1, 2, 7]))
    [[0, 3], [7, 8]]
    """
    if not len(indices):
        return []
    breaks = np.flatnonzero(np.diff(indices) != 1)
    starts = indices[np.concatenate([[0], breaks + 1])]
    stops = indices[np.concatenate([breaks, [len(indices) - 1]])] + 1
    return [[int(start), int(stop)] for start, stop in zip(starts, stops, strict=True)]


def from_ranges(ranges: Sequence[Sequence[int]]) -> Indices:
    """Read what `to_ranges` wrote; ranges that are not sorted or overlap are a `ValueError`.

    >>> from_ranges([[0, 3], [7, 8]]).tolist()
    [0, 1, 2, 7]
    """
    previous = -1
    for start, stop in ranges:
        if not (isinstance(start, int) and isinstance(stop, int) and previous < start < stop):
            raise ValueError(f"not a sorted range of indices: [{start}, {stop}]")
        previous = stop - 1
    parts = [np.arange(start, stop, dtype=np.int64) for start, stop in ranges]
    return np.concatenate([np.empty(0, np.int64), *parts])
