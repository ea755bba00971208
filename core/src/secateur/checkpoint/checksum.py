"""The checksum of a checkpoint: BLAKE2b of the whole file, in which its own digits count as zeros.

It stands in the metadata of the header, so that other programs read the file as before. Every flipped bit is found,
in tensors, recipe, or the header itself.
"""

from __future__ import annotations

import hashlib
from io import BufferedRandom, BufferedReader
from pathlib import Path

from secateur.errors import CheckpointError

KEY = "blake2b"
BYTES = 32
BLANK = "0" * (2 * BYTES)
CHUNK = 1 << 20


def seal(path: Path) -> None:
    """Write the checksum into a file that was saved with `BLANK` in its place."""
    with path.open("r+b") as file:
        front = file.read(8)
        header = file.read(int.from_bytes(front, "little"))
        digest = _hash(file, front, header)
        file.seek(8 + _place(header, BLANK))
        file.write(digest.encode("ascii"))


def check(file: BufferedReader, found: str, where: str) -> None:
    """Raise `CheckpointError` unless the open file has the checksum `found`; it is left at its end."""
    file.seek(0)
    front = file.read(8)
    header = file.read(int.from_bytes(front, "little"))
    try:
        place = _place(header, found)
    except ValueError:
        place = -1
    blank = header[:place] + BLANK.encode("ascii") + header[place + len(BLANK) :]
    if place < 0 or len(found) != len(BLANK) or _hash(file, front, blank) != found:
        what = "it is damaged: its content does not match its checksum"
        raise CheckpointError(what, where=where, hint="copy it again from where it is whole, or take an older one")


def _place(header: bytes, digits: str) -> int:
    """Where the digits stand in the header; quotes that are not escaped are in no text of ours."""
    text = f'"{KEY}":"{digits}"'.encode("ascii")
    if header.count(text) != 1:
        raise ValueError("the header has no place for a checksum")
    return header.index(text) + len(KEY) + 4


def _hash(file: BufferedReader | BufferedRandom, *front: bytes) -> str:
    made = hashlib.blake2b(digest_size=BYTES)
    for part in front:
        made.update(part)
    while chunk := file.read(CHUNK):
        made.update(chunk)
    return made.hexdigest()
