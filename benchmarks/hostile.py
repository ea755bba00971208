"""Damaged and hostile versions of a checkpoint, for `robustness.py`.

Damage keeps the old checksum, which must give it away. Hostile versions are sealed anew: the reader must refuse them
for what they say, or find them harmless.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import random
import struct
from collections.abc import Callable
from typing import Any

Header = dict[str, Any]
Change = Callable[[Header, dict[str, Any], random.Random], None]

ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**62, 2**63, 2**70, 10**400, 1.5, float("nan"), float("inf"), "", "x",
    "../../../../tmp/x", "/etc/passwd", "__class__", "model/../x", "\x00", "\ud800", "a" * 10_000, [], {}, [[]], [1, 2],
    [0, 2**62], {"tensor": "model/0.weight"}, {"tensor": "nowhere"}, {"tensor": 3}, {"list": [1]}, {"dict": [[1, 2]]},
    {"dict": [[[], 2]]}, {"array": "rng/torch"}, {"counter": [["a", "b"]]}, {"odd": 1}, {"a": 1, "b": 2},
)  # fmt: skip
"""Values that are put in place of others."""


def mutation(content: bytes, chance: random.Random) -> tuple[str, bytes, bool]:
    """A version of a checkpoint: its kind, its content, and whether its checksum is right."""
    kind = chance.choice([*DAMAGE, *HOSTILE, *RAW, *(["any value"] * 8)])
    if kind in DAMAGE:
        return kind, DAMAGE[kind](content, chance), False
    if kind in RAW:
        return kind, RAW[kind](content, chance), False
    return kind, rewritten(content, HOSTILE.get(kind, any_value), chance), True


# -- damage -----------------------------------------------------------------------------------------------------------


def _flip(content: bytes, chance: random.Random, begin: int, stop: int) -> bytes:
    made = bytearray(content)
    made[chance.randrange(begin, stop)] ^= 1 << chance.randrange(8)
    return bytes(made)


def _end(content: bytes) -> int:
    return 8 + int(struct.unpack("<Q", content[:8])[0])


def _overwritten(content: bytes, chance: random.Random, filling: Callable[[int], bytes]) -> bytes:
    begin = chance.randrange(len(content))
    length = min(chance.randrange(1, 5000), len(content) - begin)
    return content[:begin] + filling(length) + content[begin + length :]


def _moved(content: bytes, chance: random.Random) -> bytes:
    begin = chance.randrange(len(content))
    length = chance.randrange(1, 100)
    return chance.choice([content[:begin] + content[begin + length :], content[:begin] + content[begin - length :]])


DAMAGE: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "truncated": lambda content, chance: content[: chance.randrange(len(content))],
    "bit flipped in the header": lambda content, chance: _flip(content, chance, 0, _end(content)),
    "bit flipped in the tensors": lambda content, chance: _flip(content, chance, _end(content), len(content)),
    "bytes at random": lambda content, chance: _overwritten(content, chance, chance.randbytes),
    "a hole of zeros": lambda content, chance: _overwritten(content, chance, bytes),
    "bytes lost or doubled": _moved,
    "something appended": lambda content, chance: content + chance.randbytes(chance.randrange(1, 100)),
}


# -- hostile files that are no checkpoints ----------------------------------------------------------------------------


class _Bomb:
    """An object whose pickle would run something."""

    def __reduce__(self) -> Any:
        import os

        return os.system, ("echo executed > executed",)


def _header(text: bytes, content: bytes = b"") -> bytes:
    return struct.pack("<Q", len(text)) + text + content


RAW: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "a pickle": lambda content, chance: pickle.dumps(_Bomb(), protocol=chance.randrange(6)),
    "a huge header": lambda content, chance: struct.pack("<Q", chance.choice([2**63, 2**40, 2**26])) + content[8:],
    "no UTF-8": lambda content, chance: _header(b'{"\xff\xfe\x80": 1}'),
    "UTF-16": lambda content, chance: _header('{"a": {}}'.encode("utf-16-le")),
    "deep nesting": lambda content, chance: _header(b'{"a":' + b"[" * 10 ** chance.randrange(3, 7)),
    "deep objects": lambda content, chance: _header(b'{"a":' * 10 ** chance.randrange(3, 6)),
    "thousands of keys": lambda content, chance: _header(
        b"{" + b",".join(b'"%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}' % i for i in range(10_000)) + b"}"
    ),
}


# -- hostile checkpoints ----------------------------------------------------------------------------------------------


def rewritten(content: bytes, change: Change, chance: random.Random) -> bytes:
    """The file with another header, and a checksum that is right for it."""
    end = _end(content)
    header = json.loads(content[8:end])
    said = json.loads(header["__metadata__"]["secateur"])
    change(header, said, chance)
    if isinstance(header.get("__metadata__"), dict):
        if "secateur" in header["__metadata__"]:
            header["__metadata__"]["secateur"] = json.dumps(said)
        header["__metadata__"]["blake2b"] = "0" * 64
    text = json.dumps(header, separators=(",", ":")).encode()
    if "twice" in header:
        text = text.replace(b'"twice":', b'"model/0.weight":')
    made = _header(text, content[end:])
    digest = hashlib.blake2b(made, digest_size=32).hexdigest()
    return made.replace(b'"blake2b":"' + b"0" * 64, b'"blake2b":"' + digest.encode(), 1)


def any_value(header: Header, said: dict[str, Any], chance: random.Random) -> None:
    """Put an odd value in place of one anywhere, or take it away."""
    tree: Any = said if chance.random() < 0.8 else header
    while True:
        keys = list(tree) if isinstance(tree, dict) else list(range(len(tree)))
        if not keys:
            return
        key = chance.choice(keys)
        inner = tree[key]
        if isinstance(inner, dict | list) and inner and chance.random() < 0.85:
            tree = inner
            continue
        if chance.random() < 0.15:
            del tree[key]
        else:
            tree[key] = chance.choice(ODD)
        return


def _tensor(header: Header, chance: random.Random) -> dict[str, Any]:
    return header[chance.choice([name for name in header if name != "__metadata__"])]


def _dtype(header: Header, said: Any, chance: random.Random) -> None:
    _tensor(header, chance)["dtype"] = chance.choice(["F64", "F16", "I32", "U8", "BOOL", "C64", "F4", "X", "BF16", 3])


def _shape(header: Header, said: Any, chance: random.Random) -> None:
    shapes = [[2**62, 4], [-1, -5], [0], [1] * 1000, [2**31] * 60, [1.0], ["5"], None, [10**300], []]
    _tensor(header, chance)["shape"] = chance.choice(shapes)


def _offsets(header: Header, said: Any, chance: random.Random) -> None:
    entry = _tensor(header, chance)
    other = _tensor(header, chance)["data_offsets"]
    begin, stop = entry["data_offsets"]
    entry["data_offsets"] = chance.choice([other, [begin - 4, stop - 4], [stop, begin], [0, 2**62], [begin, stop + 4]])


def _swapped(header: Header, said: Any, chance: random.Random) -> None:
    one, other = _tensor(header, chance), _tensor(header, chance)
    one["shape"], other["shape"] = other["shape"], one["shape"]


def _name(header: Header, said: Any, chance: random.Random) -> None:
    name = chance.choice([name for name in header if name != "__metadata__"])
    odd = [
        "model/../../x",
        "/etc/passwd",
        "model/__class__",
        "model/0.weight.__dict__",
        "",
        "model/",
        "\x1b[2J",
        "C:\\x",
    ]
    header[chance.choice(odd)] = header.pop(name)


def _recipe(header: Header, said: dict[str, Any], chance: random.Random) -> None:
    step = said["recipe"]["steps"][0]
    entry = step["tensors"][chance.choice(list(step["tensors"]))]
    kept = [{"0": [[0, 2**62]]}, {"0": [[-5, 3]]}, {"9": [[0, 1]]}, {"-1": [[0, 1]]}, {"0": [[5, 1]]}, {"0": []}]
    odd: list[Callable[[], Any]] = [
        lambda: entry.update(kept=chance.choice(kept)),
        lambda: entry.update(shape=chance.choice([[2**62], [10**9] * 3, [-4], [2**40, 2**40]])),
        lambda: entry.update(shape=[10**10], kept={"0": [[0, 10**9]]}),
        lambda: said["recipe"]["steps"].append(step),
        lambda: said["recipe"].update(steps=[step] * 1000),
        lambda: step["tensors"].update({"0.nowhere": entry}),
        lambda: step["attributes"].append(["", chance.choice(["training", "__class__", "forward", "_version"]), 1, 0]),
        lambda: step["attributes"].append([chance.choice(["__class__", "0.__dict__", "9"]), "x", 1, 2]),
        lambda: step["attributes"][0].__setitem__(3, chance.choice([0, -1, 2**62, 7])),
        lambda: step["attributes"].pop(),
    ]
    chance.choice(odd)()


def _optimizer(header: Header, said: dict[str, Any], chance: random.Random) -> None:
    optimizer = said["optimizer"]
    group = optimizer["groups"][0]
    odd: list[Callable[[], Any]] = [
        lambda: optimizer.update({"class": chance.choice(["SGD", "os.system", "", "LBFGS"])}),
        lambda: group["options"].update({chance.choice(list(group["options"])): chance.choice(ODD)}),
        lambda: group["options"].update({chance.choice(["params", "__class__", "x"]): chance.choice(ODD)}),
        lambda: group["parameters"].pop(),
        lambda: group["parameters"].append(group["parameters"][0]),
        lambda: optimizer["state"]["0.weight"].update(exp_avg=chance.choice(ODD)),
        lambda: optimizer["state"]["0.weight"].update(exp_avg=optimizer["state"]["0.bias"]["exp_avg"]),
        lambda: optimizer.update(groups=optimizer["groups"] * 2),
    ]
    chance.choice(odd)()


def _part(header: Header, said: dict[str, Any], chance: random.Random) -> None:
    deep: Any = 1
    for _ in range(chance.choice([10, 99, 200, 400])):
        deep = {"list": [deep]}
    said["parts"][chance.choice(["rng", "lr_schedulers", "extra", "position", "odd"])] = chance.choice([deep, *ODD])


HOSTILE: dict[str, Change] = {
    "another dtype": _dtype,
    "an odd shape": _shape,
    "odd offsets": _offsets,
    "shapes swapped": _swapped,
    "odd names": _name,
    "a key twice": lambda header, said, chance: header.update(twice=header["model/0.weight"]),
    "an odd recipe": _recipe,
    "an odd optimizer": _optimizer,
    "an odd part": _part,
    "tied in a circle": lambda header, said, chance: said.update(tied={"0.weight": "1.weight", "1.weight": "0.weight"}),
    "another format": lambda header, said, chance: said.update(format=chance.choice([0, 1, 3, "2", 2.5, None])),
}
