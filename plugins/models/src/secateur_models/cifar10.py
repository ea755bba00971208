"""CIFAR-10: 50,000 images to train on and 10,000 to test, fetched once and kept."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from secateur.errors import DataError, suggestion
from secateur.hookspecs import hookimpl
from secateur.records import DatasetEntry, DataSplit

if TYPE_CHECKING:
    from secateur_models.cifar10_data import Images

WHERE = "data set cifar10"
SPLITS = ("train", "test")

# Mean and standard deviation of the training images, per colour, on the scale [0, 1].
MEAN = (0.4914, 0.4822, 0.4465)
STD = (0.2470, 0.2435, 0.2616)


@hookimpl
def secateur_datasets() -> Iterable[DatasetEntry]:
    """Add `cifar10`."""
    return [
        DatasetEntry(
            name="cifar10",
            load=load,
            input_shape=(3, 32, 32),
            classes=10,
            offline=False,
            summary="CIFAR-10: from `root`, else from the cache, else fetched once (139 to 170 MB).",
        )
    ]


def load(split: str, *, root: str | Path | None = None, download: bool = True, limit: int | None = None) -> DataSplit:
    """Return a split: inputs float32 (n, 3, 32, 32), standardised per colour, targets int64 (n,).

    With `root`, only that folder is read: `cifar-10-batches-py` as torchvision writes it, or its parent.
    Otherwise the cache (`$SECATEUR_CACHE` or `~/.cache/secateur`), which is filled first if it is empty or
    damaged and `download` is true. `limit` keeps the first so many examples; their order is random already.

    Raises `DataError` if the arguments are wrong, a file is damaged or not CIFAR-10's, or no source works.
    """
    if split not in SPLITS:
        raise DataError(f"there is no split {split!r}", where=WHERE, hint=suggestion(str(split), SPLITS))
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise DataError(f"limit is {limit!r}", where=WHERE, hint="give an integer of at least 1, or leave it out")
    if not isinstance(download, bool):
        raise DataError(f"download is {download!r}", where=WHERE, hint="give true or false")
    if root is not None and not isinstance(root, (str, Path)):
        raise DataError(f"root is {root!r}", where=WHERE, hint="give the path of a folder")
    return _standardised(_images(split, root, download), limit)


def _images(split: str, root: str | Path | None, download: bool) -> Images:
    from secateur_models.cifar10_batches import read_folder
    from secateur_models.cifar10_cache import cache_folder, read_cache
    from secateur_models.cifar10_fetch import fetch

    if root is not None:
        return read_folder(root, split)
    folder = cache_folder()
    try:
        cached = read_cache(folder, split)
    except DataError:
        if not download:
            raise
        cached = None  # a damaged file is fetched anew and replaced
    if cached is not None:
        return cached
    if not download:
        raise DataError(
            f"it is not in the cache folder {folder}, and download is false",
            where=WHERE,
            hint="set download: true, or give the folder that holds cifar-10-batches-py as root:",
        )
    return fetch(folder)[split]


def _standardised(images: Images, limit: int | None) -> DataSplit:
    import torch

    inputs = torch.from_numpy(images.pixels[:limit]).float().div_(255.0)
    inputs.sub_(torch.tensor(MEAN).view(3, 1, 1)).div_(torch.tensor(STD).view(3, 1, 1))
    return DataSplit(inputs=inputs, targets=torch.from_numpy(images.labels[:limit]).long())
