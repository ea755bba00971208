"""What CIFAR-10 consists of: five batches of 10,000 images to train on and one to test, 3x32x32, ten classes.

Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009. Whatever file the images come from,
they pass through `Images.checked`, so that a wrong shape or label never reaches a network.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from attrs import frozen

from secateur.errors import DataError

__all__ = ["BATCHES", "Array", "Images", "joined"]

Array = np.ndarray[Any, Any]

CLASSES = 10
ROWS_PER_BATCH = 10_000
BATCHES = {"train": tuple(f"data_batch_{number}" for number in range(1, 6)), "test": ("test_batch",)}


@frozen(eq=False)
class Images:
    """Images as they are stored: `pixels` uint8 (n, 3, 32, 32), `labels` uint8 (n,) from 0 to 9."""

    pixels: Array
    labels: Array

    @classmethod
    def checked(cls, pixels: Array, labels: Any, *, rows: int, where: str) -> Images:
        """Make images of exactly `rows` examples, or raise `DataError` that says what does not fit."""
        if pixels.dtype != np.uint8 or pixels.shape != (rows, 3, 32, 32):
            raise DataError(
                f"pixels are {pixels.dtype} {pixels.shape}, not uint8 {(rows, 3, 32, 32)}",
                where=where,
                hint=AGAIN,
            )
        try:
            numbers = np.asarray(labels)
        except ValueError as error:
            raise DataError(f"labels are no list of numbers ({error})", where=where, hint=AGAIN) from error
        if numbers.dtype.kind not in "iu" or numbers.shape != (rows,):
            raise DataError(f"labels are {numbers.dtype} {numbers.shape}, not {rows} integers", where=where, hint=AGAIN)
        if rows and (numbers.min() < 0 or numbers.max() >= CLASSES):
            raise DataError(
                f"labels run from {numbers.min()} to {numbers.max()}, not within 0…{CLASSES - 1}",
                where=where,
                hint=AGAIN,
            )
        return cls(np.ascontiguousarray(pixels), numbers.astype(np.uint8))

    def sha256(self) -> str:
        """Return the checksum of pixels and labels."""
        digest = hashlib.sha256(np.ascontiguousarray(self.pixels).data)
        digest.update(np.ascontiguousarray(self.labels).data)
        return digest.hexdigest()


AGAIN = "the file is damaged or not CIFAR-10's: remove it and get it again"


def joined(parts: list[Images]) -> Images:
    """Put batches behind each other."""
    return Images(np.concatenate([part.pixels for part in parts]), np.concatenate([part.labels for part in parts]))


def rows_of(split: str) -> int:
    """Return the number of examples of a split."""
    return ROWS_PER_BATCH * len(BATCHES[split])
