"""Read `cifar-10-batches-py`, the official pickled batches, without trusting them.

Unpickling can run any code that the file names. Each file's checksum is compared before a byte of it is
interpreted, and the unpickler then knows only what these files need: containers, numbers, bytes, numpy
arrays.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from secateur.errors import DataError
from secateur_models import cifar10_data
from secateur_models.cifar10_data import AGAIN, Images, joined

__all__ = ["FOLDER", "read_batches", "read_folder"]

FOLDER = "cifar-10-batches-py"

# MD5 of the official files, as they have been published for years; torchvision checks the same.
MD5: Mapping[str, str] = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}


def read_folder(root: str | Path, split: str) -> Images:
    """Read one split from a user's folder: `cifar-10-batches-py` itself or the one that holds it."""
    top = Path(root).expanduser().absolute()
    folder = top / FOLDER if (top / FOLDER).is_dir() else top
    names = cifar10_data.BATCHES[split]
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        what = f"there is no {', '.join(missing)} in it" if folder.is_dir() else "there is no such folder"
        raise DataError(
            what,
            where=f"CIFAR-10 root {folder}",
            hint=f"give the folder that holds {FOLDER} (as torchvision writes it), or leave root out",
        )

    def read(name: str) -> bytes:
        try:
            return (folder / name).read_bytes()
        except OSError as error:
            raise DataError(f"cannot be read ({error.strerror or error})", where=str(folder / name)) from error

    return read_batches(read, split, where=str(folder))


def read_batches(read: Callable[[str], bytes], split: str, *, where: str) -> Images:
    """Read one split; `read(name)` gives the content of a file such as `data_batch_1`."""
    return joined([_batch(read(name), MD5[name], f"{where}/{name}") for name in cifar10_data.BATCHES[split]])


def _batch(content: bytes, expected: str, where: str) -> Images:
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != expected:
        raise DataError(
            f"its MD5 is {found}, not {expected}; it was not opened",
            where=where,
            hint=AGAIN,
        )
    try:
        batch = _ArraysOnly(io.BytesIO(content), encoding="bytes").load()
    except DataError as error:
        raise DataError(error.what, where=where, hint=error.hint) from error
    except Exception as error:  # a damaged pickle may raise anything
        raise DataError(f"is no readable batch ({type(error).__name__}: {error})", where=where, hint=AGAIN) from error
    pixels = batch.get(b"data") if isinstance(batch, dict) else None
    if not isinstance(pixels, np.ndarray) or b"labels" not in batch:
        raise DataError("holds no 'data' and 'labels'", where=where, hint=AGAIN)
    rows = cifar10_data.ROWS_PER_BATCH
    if pixels.size == rows * 3 * 32 * 32:
        pixels = pixels.reshape(rows, 3, 32, 32)  # stored plane by plane: 1024 red, 1024 green, 1024 blue
    return Images.checked(pixels, batch[b"labels"], rows=rows, where=where)


class _ArraysOnly(pickle.Unpickler):
    """An unpickler that can make numpy arrays and nothing else by name."""

    def find_class(self, module: str, name: str) -> Any:
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            maker: Any = np.empty(0).__reduce__()[0]  # where it lives differs between numpy 1 and 2
            return maker
        if (module, name) == ("numpy", "ndarray"):
            return np.ndarray
        if (module, name) == ("numpy", "dtype"):
            return np.dtype
        raise DataError(
            f"asks for {module}.{name}, which no CIFAR-10 file does; nothing was executed",
            hint="do not use this file: get CIFAR-10 from a source you trust",
        )
