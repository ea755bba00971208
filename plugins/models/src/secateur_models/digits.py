"""Scikit-learn's handwritten digits: 1797 real 8x8 images that are always there, sized up to 32x32.

They come with scikit-learn itself (Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI,
1998), so a schedule can train, prune and thin to the end on any machine without a network.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from secateur.errors import DataError, suggestion
from secateur.hookspecs import hookimpl
from secateur.records import DatasetEntry, DataSplit

if TYPE_CHECKING:
    import numpy as np

SPLITS = ("train", "test")
SEED = 0
TEST_SHARE = 0.2
SMALLEST, LARGEST = 8, 256


@hookimpl
def secateur_datasets() -> Iterable[DatasetEntry]:
    """Add `digits`."""
    return [
        DatasetEntry(
            name="digits",
            load=load,
            input_shape=(3, 32, 32),
            classes=10,
            offline=True,
            summary="Handwritten digits of scikit-learn: 1438 images to train on, 359 to test, 3x32x32.",
        )
    ]


def load(split: str, *, size: int = 32) -> DataSplit:
    """Return a split: inputs float32 (n, 3, size, size), targets int64 (n,).

    The 8x8 images are scaled to [0, 1], standardised by the mean and standard deviation of the training
    images, enlarged bilinearly, and repeated over three channels. Every class gives a fifth of its images,
    drawn with a fixed seed, to the test split. Raises `DataError` for an unknown split, a size outside 8…256,
    or a missing scikit-learn.
    """
    if split not in SPLITS:
        raise DataError(f"there is no split {split!r}", where="data set digits", hint=suggestion(str(split), SPLITS))
    if isinstance(size, bool) or not isinstance(size, int) or not SMALLEST <= size <= LARGEST:
        raise DataError(
            f"size is {size!r}", where="data set digits", hint=f"give an integer from {SMALLEST} to {LARGEST}"
        )
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise DataError(
            "scikit-learn, which holds the images, is not installed",
            where="data set digits",
            hint="pip install scikit-learn",
        ) from error
    import torch
    from torch.nn.functional import interpolate

    digits = load_digits()
    rows = split_rows(digits.target)
    images = torch.from_numpy(digits.images).float() / 16.0
    training = images[torch.from_numpy(rows["train"])]
    chosen = torch.from_numpy(rows[split])
    inputs = ((images[chosen] - training.mean()) / training.std())[:, None]
    inputs = interpolate(inputs, size=(size, size), mode="bilinear", align_corners=False)
    targets = torch.from_numpy(digits.target)[chosen].long()
    return DataSplit(inputs=inputs.repeat(1, 3, 1, 1), targets=targets)


def split_rows(targets: np.ndarray[Any, Any]) -> dict[str, np.ndarray[Any, Any]]:
    """Return the sorted row numbers of each split, the same on every machine and in every run."""
    import numpy as np

    random = np.random.RandomState(SEED)  # its stream is frozen across numpy versions, a Generator's is not
    test = np.zeros(len(targets), dtype=bool)
    for label in np.unique(targets):
        rows = random.permutation(np.flatnonzero(targets == label))
        test[rows[: round(TEST_SHARE * len(rows))]] = True
    return {"train": np.flatnonzero(~test), "test": np.flatnonzero(test)}
