"""Read the header of a safetensors file: what is in it, and whether the file is whole, without reading a tensor."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

from attrs import frozen

from secateur.errors import CheckpointError

LONGEST = 100_000_000
"""Bytes of the longest header that the format allows."""
SAVED_BY_US = "give a file that secateur.save wrote"


@frozen
class TensorInfo:
    """Shape, dtype in the format's own words (`"F32"`), and bytes of one tensor in the file."""

    shape: tuple[int, ...]
    dtype: str
    size: int

    @property
    def kind(self) -> str:
        """`floating`, `integer`, `complex` or `boolean`."""
        if self.dtype == "BOOL":
            return "boolean"
        return {"F": "floating", "B": "floating", "C": "complex"}.get(self.dtype[:1], "integer")


@frozen
class Header:
    """The tensors of a file by name, its metadata, and its length in bytes."""

    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, str]
    size: int


def read_header(path: str | os.PathLike[str]) -> Header:
    """Read and check the header of a file.

    Raises `CheckpointError`: no such file, a folder, unreadable, not safetensors, truncated, damaged.
    """
    place = Path(path)
    if place.is_dir():
        raise CheckpointError("it is a folder", where=str(path), hint="name the checkpoint file in it")
    try:
        with place.open("rb") as file:
            return _read(file, os.fstat(file.fileno()).st_size, str(path))
    except FileNotFoundError:
        raise CheckpointError("there is no such file", where=str(path), hint=_nearby(place)) from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise CheckpointError(f"it cannot be read ({reason})", where=str(path), hint="check its permissions") from error


def _read(file: BinaryIO, size: int, where: str) -> Header:
    front, begin = file.read(8), file.read(1)
    # The length of a header may begin with any byte, but what follows it is a brace.
    if front[:4] == b"PK\x03\x04" or (front[:1] == b"\x80" and begin != b"{"):
        raise CheckpointError(
            "it is a pickle (of torch.save?), which is never read, because reading a pickle can run any code",
            where=where,
            hint="load it with torch.load(…, weights_only=True) yourself if you trust it, then use secateur.save",
        )
    if size < 8:
        raise _truncated(size, "at least 8", where)
    length = int.from_bytes(front, "little")
    if length > LONGEST or (begin != b"{" and size > 8):
        raise CheckpointError("it is not a safetensors file", where=where, hint=SAVED_BY_US)
    if 8 + length > size:
        raise _truncated(size, f"more than {8 + length:,}", where)
    try:
        header = json.loads(begin + file.read(length - 1))
        metadata = {str(key): str(value) for key, value in header.pop("__metadata__", {}).items()}
        tensors = {name: _tensor(entry) for name, entry in header.items()}
        stop = max((int(entry["data_offsets"][1]) for entry in header.values()), default=0)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise CheckpointError(f"its header is damaged ({error})", where=where, hint="save it again") from error
    expected = 8 + length + stop
    if size < expected:
        raise _truncated(size, f"{expected:,}", where)
    if size > expected or sum(info.size for info in tensors.values()) != stop:
        what = f"it is damaged: {size:,} bytes that its header does not account for"
        raise CheckpointError(what, where=where, hint="copy or save it again")
    return Header(tensors, metadata, size)


def _tensor(entry: Mapping[str, Any]) -> TensorInfo:
    start, stop = entry["data_offsets"]
    shape = tuple(int(length) for length in entry["shape"])
    if not 0 <= start <= stop or min(shape, default=0) < 0 or (stop - start) % max(prod(shape), 1):
        raise ValueError(f"shape {shape} in bytes {start} to {stop}")
    return TensorInfo(shape, str(entry["dtype"]), stop - start)


def _truncated(size: int, expected: str, where: str) -> CheckpointError:
    what = f"it is truncated: {size:,} bytes, where there should be {expected}"
    return CheckpointError(what, where=where, hint="copy or save it again")


def _nearby(path: Path) -> str:
    """Name the checkpoints that are in the folder instead."""
    folder = path.parent
    if not folder.is_dir():
        return f"there is no folder {str(folder)!r} either"
    found = sorted(file.name for file in folder.glob("*.safetensors"))[:5]
    return f"in that folder are {', '.join(found)}" if found else "check the path"
