"""Read a checkpoint, whole and checked, without a model."""

from __future__ import annotations

import os
from io import BufferedReader
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from secateur.checkpoint import checksum
from secateur.checkpoint.contents import Contents
from secateur.checkpoint.header import Header, TensorInfo, header_of, opened
from secateur.checkpoint.tree import decode
from secateur.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
    "C64": "complex64",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2": "float8_e5m2",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "F8_E8M0": "float8_e8m0fnu",
}
"""The format's words for dtypes, and torch's."""


@frozen(eq=False)
class Checkpoint:
    """A checkpoint in memory. What was not saved is None."""

    path: str
    header: Header = field(repr=False)
    contents: Contents = field(repr=False)
    tensors: dict[str, Tensor] = field(repr=False)
    """All tensors of the file, on the CPU, by their names in it."""
    trees: dict[str, Any] = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        trees = {name: decode(tree, self.tensors.__getitem__) for name, tree in self.contents.parts.items()}
        object.__setattr__(self, "trees", trees)

    @property
    def position(self) -> Any:
        """Where training was, as given to `save`."""
        return self.trees.get("position")

    @property
    def extra(self) -> Any:
        """Whatever was given to `save` as `extra`."""
        return self.trees.get("extra")

    @property
    def scheduler(self) -> Any:
        """The state of the schedule, for `secateur.Scheduler(…, state=…)`."""
        return self.trees.get("scheduler")


def read(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint and check all of it against its checksum; give the result to `load` in place of the path.

    It takes as much memory as the file. Raises `CheckpointError` for a file that is missing, damaged, not ours, or of
    another format version. Nothing is ever unpickled.
    """
    import torch

    where = str(path)
    with torch.inference_mode(False), opened(path) as file:
        header = header_of(file, where)
        contents = _contents(file, header, where)
        tensors = {name: _tensor(file, header.begin, name, info, where) for name, info in header.tensors.items()}
    try:
        return Checkpoint(where, header, contents, tensors)
    except (TypeError, ValueError, KeyError) as error:
        raise CheckpointError(f"its metadata is damaged ({error!r})", where=where, hint="save it again") from error


def verify(path: str | os.PathLike[str]) -> bool:
    """Check a file against its checksum, without memory for its tensors; False if it is of format 1, without one.

    Raises `CheckpointError` as `read` does.
    """
    where = str(path)
    with opened(path) as file:
        return bool(_contents(file, header_of(file, where), where).checksum)


def _contents(file: BufferedReader, header: Header, where: str) -> Contents:
    """What the file says; the checksum first, so that damage is called damage."""
    if checksum.KEY in header.metadata:
        checksum.check(file, header.metadata[checksum.KEY], where)
    return Contents.of(header, where)


def _tensor(file: BufferedReader, begin: int, name: str, info: TensorInfo, where: str) -> Tensor:
    import torch

    dtype = getattr(torch, DTYPES[info.dtype], None)
    if dtype is None:
        what = f"{name!r} has the dtype {info.dtype}, which torch {torch.__version__} lacks"
        raise CheckpointError(what, where=where, hint="load it with a newer torch")
    if not info.size:
        return torch.empty(info.shape, dtype=dtype)
    content = bytearray(info.size)
    file.seek(begin + info.start)
    if file.readinto(content) != info.size:
        raise CheckpointError(f"it became shorter while {name!r} was read", where=where, hint="load it again")
    if dtype == torch.bool:  # any byte but 0 is true
        return (torch.frombuffer(content, dtype=torch.uint8) != 0).reshape(info.shape)
    return torch.frombuffer(content, dtype=dtype).reshape(info.shape)
