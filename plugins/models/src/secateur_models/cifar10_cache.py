"""Keep CIFAR-10 in one file of our own, checked each time it is read and replaced in one step.

The folder is `$SECATEUR_CACHE`, or `~/.cache/secateur`. The file is a plain `.npz` (no pickle) of both
splits, with a SHA-256 of each.
"""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

from secateur.errors import DataError
from secateur_models import cifar10_data
from secateur_models.cifar10_data import Images

__all__ = ["FILE", "cache_folder", "read_cache", "write_cache"]

FILE = "cifar10.npz"
FORMAT = 1


def cache_folder() -> Path:
    """Return the folder, which need not exist."""
    chosen = os.environ.get("SECATEUR_CACHE")
    return Path(chosen).expanduser().absolute() if chosen else Path.home() / ".cache" / "secateur"


def read_cache(folder: Path, split: str) -> Images | None:
    """Return one split, or None if nothing is cached. Raises `DataError` if the file is damaged."""
    path = folder / FILE
    where, hint = str(path), "remove the file; it is fetched again when downloading is allowed"
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            meta = json.loads(str(file["meta"][()]))
            pixels, labels = file[f"{split}_pixels"], file[f"{split}_labels"]
        version, expected = meta["format"], meta["sha256"][split]
    except FileNotFoundError:
        return None
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"the cached file is damaged ({error})", where=where, hint=hint) from error
    if version != FORMAT:
        raise DataError(f"the cached file has format {version}, this release reads {FORMAT}", where=where, hint=hint)
    images = Images.checked(pixels, labels, rows=cifar10_data.rows_of(split), where=where)
    if images.sha256() != expected:
        raise DataError("the cached file is damaged (its checksum differs)", where=where, hint=hint)
    return images


def write_cache(folder: Path, data: Mapping[str, Images], source: str) -> None:
    """Write both splits beside the old file, flush, then rename: a reader sees a whole file, old or new."""
    checksums = {split: images.sha256() for split, images in data.items()}
    meta = {"format": FORMAT, "source": source, "sha256": checksums}
    arrays = {f"{split}_pixels": images.pixels for split, images in data.items()}
    arrays |= {f"{split}_labels": images.labels for split, images in data.items()}
    temporary = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=f"{FILE}.", delete=False) as file:
            temporary = Path(file.name)
            np.savez(file, meta=np.array(json.dumps(meta)), **arrays)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, folder / FILE)
    except OSError as error:
        raise unwritable(folder, error) from error
    finally:
        if temporary is not None:
            with suppress(FileNotFoundError):
                temporary.unlink()


def unwritable(folder: Path, error: OSError) -> DataError:
    """Return the error for a cache folder that cannot be written."""
    return DataError(
        f"cannot be written ({error.strerror or error})",
        where=f"cache folder {folder}",
        hint="set SECATEUR_CACHE to a folder with 400 MB of space that you may write",
    )
