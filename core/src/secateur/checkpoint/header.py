"""Read the header of a safetensors file: what is in it, and whether the file is whole, without reading a tensor."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BufferedReader
from math import prod
from pathlib import Path
from typing import Any

from attrs import frozen

from secateur.checkpoint.strict import parse
from secateur.errors import CheckpointError

LONGEST = 100_000_000
"""Bytes of the longest header that the format allows."""
MOST_AXES = 64
"""Axes that a tensor may have; torch has no more."""
BITS = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("BOOL", "I8", "U8", "F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "F8_E8M0"), 8),
}
"""Bits of one number of each dtype that a checkpoint may hold."""
SAVED_BY_US = "give a file that secateur.save wrote"


@frozen
class TensorInfo:
    """Shape, dtype in the format's own words (`"F32"`), bytes and place of one tensor in the file."""

    shape: tuple[int, ...]
    dtype: str
    size: int
    start: int
    """Its first byte, counted from the end of the header."""

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
    begin: int = 0
    """Where the tensors begin in the file."""


def read_header(path: str | os.PathLike[str]) -> Header:
    """Read and check the header of a file.

    Raises `CheckpointError`: no such file, a folder, unreadable, not safetensors, truncated, damaged.
    """
    with opened(path) as file:
        return header_of(file, str(path))


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[BufferedReader]:
    """Open a file for reading; what prevents that is a `CheckpointError`."""
    place = Path(path)
    if place.is_dir():
        raise CheckpointError("it is a folder", where=str(path), hint="name the checkpoint file in it")
    if place.exists() and not place.is_file():
        hint = "name an ordinary file"
        raise CheckpointError("it is a device, a pipe or a socket", where=str(path), hint=hint)
    try:
        with place.open("rb") as file:
            yield file
    except FileNotFoundError:
        raise CheckpointError("there is no such file", where=str(path), hint=_nearby(place)) from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise CheckpointError(f"it cannot be read ({reason})", where=str(path), hint="check its permissions") from error


def header_of(file: BufferedReader, where: str) -> Header:
    """Read and check the header of a file that is open, from its begin."""
    return _read(file, os.fstat(file.fileno()).st_size, where)


def _read(file: BufferedReader, size: int, where: str) -> Header:
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
        header = parse(begin + file.read(length - 1))
        metadata = _texts(header.pop("__metadata__", {}))
        tensors = {_text(name): _tensor(entry) for name, entry in header.items()}
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, MemoryError) as error:
        raise CheckpointError(f"its header is damaged ({error})", where=where, hint="save it again") from error
    stop = max((info.start + info.size for info in tensors.values()), default=0)
    expected = 8 + length + stop
    if size < expected:
        raise _truncated(size, f"{expected:,}", where)
    if size > expected or sum(info.size for info in tensors.values()) != stop:
        what = f"it is damaged: {size:,} bytes that its header does not account for"
        raise CheckpointError(what, where=where, hint="copy or save it again")
    reached = 0
    for name, info in sorted(tensors.items(), key=lambda entry: (entry[1].start, entry[1].size)):
        if info.start != reached:
            what = f"it is damaged: the bytes of {name!r} are shared with another tensor"
            raise CheckpointError(what, where=where, hint="save it again")
        reached += info.size
    return Header(tensors, metadata, size, 8 + length)


def _tensor(entry: Mapping[str, Any]) -> TensorInfo:
    start, stop = (_count(number) for number in entry["data_offsets"])
    shape, dtype = tuple(_count(length) for length in entry["shape"]), entry["dtype"]
    if dtype not in BITS:
        raise ValueError(f"unknown dtype {str(dtype)[:80]!r}")
    if len(shape) > MOST_AXES or stop - start != prod(shape) * (BITS[dtype] // 8):
        raise ValueError(f"shape {str(shape)[:80]} of {dtype} in bytes {start} to {stop}")
    return TensorInfo(shape, dtype, stop - start, start)


def _count(number: Any) -> int:
    if type(number) is not int or not 0 <= number < 1 << 63:
        raise ValueError(f"{str(number)[:80]} is no size")
    return number


def _text(text: Any) -> str:
    """A text that can be shown; `ValueError` for one that has no UTF-8."""
    if not isinstance(text, str):
        raise TypeError(f"{str(text)[:80]} is no text")
    text.encode("utf-8")
    return text


def _texts(entries: Any) -> dict[str, str]:
    return {_text(key): _text(value) for key, value in entries.items()}


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
