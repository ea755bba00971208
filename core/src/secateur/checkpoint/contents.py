"""What a checkpoint says beside its tensors: format, recipe, tied names, the optimizer, where training was.

It is JSON in the metadata of the file. `parts` are trees (`secateur.checkpoint.tree`) by name: the schedule's state,
learning-rate schedulers, random states, generators, the position, and whatever the user adds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

import secateur
from secateur.checkpoint import checksum
from secateur.checkpoint.header import SAVED_BY_US, Header
from secateur.checkpoint.optimizer import optimizer_tensors
from secateur.checkpoint.strict import parse
from secateur.checkpoint.tree import decode, encode
from secateur.errors import CheckpointError
from secateur.thinning.recipe import Recipe

FORMAT = 2
READ = (1, 2)
"""Formats that are read. 1: without parts and checksum."""
KEY = "secateur"
MODEL = "model/"
PARTS = ("scheduler", "lr_schedulers", "rng", "generators", "position", "extra")


@frozen(eq=False, kw_only=True)
class Contents:
    """The part of a checkpoint that is kept as JSON in the metadata of the file."""

    recipe: Recipe
    tied: Mapping[str, str] = field(factory=dict)
    """Further names of tied tensors, each with the name under which the tensor is in the file."""
    optimizer: Mapping[str, Any] | None = None
    parts: Mapping[str, Any] = field(factory=dict)
    """Trees by name; those that were not saved are left out."""
    version: str = secateur.__version__
    """The version of Secateur that wrote it."""
    checksum: str = ""
    """Of the file; empty if it has none (format 1)."""

    def to_metadata(self) -> dict[str, str]:
        """The metadata of the file, with a blank in place of the checksum."""
        said = {
            "format": FORMAT,
            "version": self.version,
            "recipe": self.recipe.to_dict(),
            "tied": dict(self.tied),
            "optimizer": self.optimizer,
            "parts": dict(self.parts),
        }
        return {"format": "pt", KEY: json.dumps(said), checksum.KEY: checksum.BLANK}

    @classmethod
    def of(cls, header: Header, where: str) -> Contents:
        """Read the metadata of a file.

        Raises `CheckpointError`: not one of our files, another version of the format, damaged.
        """
        if KEY not in header.metadata:
            raise CheckpointError(
                "it is a safetensors file, but not a Secateur checkpoint (it holds no recipe)",
                where=where,
                hint=f"{SAVED_BY_US}; plain weights are loaded with safetensors.torch.load_model",
            )
        try:
            contents = _read(parse(header.metadata[KEY]), header, where)
            belong = _tensor_names(contents)
        except CheckpointError as error:
            if error.where == where:
                raise
            raise CheckpointError(str(error), where=where, hint="save it again") from error
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, MemoryError, OverflowError) as error:
            raise CheckpointError(f"its metadata is damaged ({error!r})", where=where, hint="save it again") from error
        there = {name for name in header.tensors if not name.startswith(MODEL)}
        for name in sorted(there ^ belong):
            what = f"the tensor {name!r} belongs to nothing" if name in there else f"the tensor {name!r} is missing"
            raise CheckpointError(f"it is damaged: {what}", where=where, hint="save it again")
        return contents


def _read(said: Any, header: Header, where: str) -> Contents:
    version = str(said["version"])
    if said["format"] not in READ:
        raise _another(said["format"], version, where)
    old = said["format"] == 1
    if old:  # `extra` was plain JSON
        extra: dict[str, Any] = {}
        said = {**said, "parts": {} if said["extra"] is None else {"extra": encode(said["extra"], "extra", extra)}}
    if unknown := sorted(set(said["parts"]) - set(PARTS)):
        raise ValueError(f"an unknown part {unknown[0][:80]!r}")
    return Contents(
        recipe=Recipe.from_dict(said["recipe"]),
        tied={str(name): str(first) for name, first in said["tied"].items()},
        optimizer=said["optimizer"],
        parts=dict(said["parts"]),
        version=version,
        checksum="" if old else header.metadata[checksum.KEY],
    )


def _tensor_names(contents: Contents) -> set[str]:
    """The names of all tensors that are not the model's; each belongs to one place."""
    found: list[str] = optimizer_tensors(contents.optimizer)
    for tree in contents.parts.values():
        decode(tree, found.append)
    names = set(found)
    if len(names) != len(found):
        raise ValueError("a tensor that stands in two places")
    return names


def _another(found: Any, version: str, where: str) -> CheckpointError:
    what = (
        f"it has format {found!r}, written by Secateur {version}; "
        f"Secateur {secateur.__version__} reads formats {READ[0]} to {READ[-1]}"
    )
    return CheckpointError(what, where=where, hint=f"read it with Secateur {version}")
