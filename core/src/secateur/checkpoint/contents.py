"""What a checkpoint says beside its tensors: format, recipe, tied names, the optimizer, and whatever the user adds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

import secateur
from secateur.checkpoint.header import SAVED_BY_US, Header
from secateur.checkpoint.optimizer import tensor_names
from secateur.errors import CheckpointError
from secateur.thinning.recipe import Recipe

FORMAT = 1
KEY = "secateur"
MODEL = "model/"


@frozen(eq=False, kw_only=True)
class Contents:
    """The part of a checkpoint that is kept as JSON in the metadata of the file."""

    recipe: Recipe
    tied: Mapping[str, str] = field(factory=dict)
    """Further names of tied tensors, each with the name under which the tensor is in the file."""
    optimizer: Mapping[str, Any] | None = None
    extra: Any = None
    version: str = secateur.__version__
    """The version of Secateur that wrote it."""

    def to_metadata(self) -> dict[str, str]:
        """The metadata of the file. Raises `TypeError` or `ValueError` if `extra` is not fit for JSON."""
        said = {
            "format": FORMAT,
            "version": self.version,
            "recipe": self.recipe.to_dict(),
            "tied": dict(self.tied),
            "optimizer": self.optimizer,
            "extra": self.extra,
        }
        return {"format": "pt", KEY: json.dumps(said)}

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
            said = json.loads(header.metadata[KEY])
            version = str(said["version"])
            if said["format"] != FORMAT:
                raise _another(said["format"], version, where)
            contents = cls(
                recipe=Recipe.from_dict(said["recipe"]),
                tied={str(name): str(first) for name, first in said["tied"].items()},
                optimizer=said["optimizer"],
                extra=said["extra"],
                version=version,
            )
            belong = tensor_names(contents.optimizer)
        except CheckpointError as error:
            if error.where == where:
                raise
            raise CheckpointError(str(error), where=where, hint="save it again") from error
        except (ValueError, KeyError, TypeError, AttributeError, MemoryError) as error:
            raise CheckpointError(f"its metadata is damaged ({error!r})", where=where, hint="save it again") from error
        there = {name for name in header.tensors if not name.startswith(MODEL)}
        for name in sorted(there ^ belong):
            what = f"the tensor {name!r} belongs to nothing" if name in there else f"the tensor {name!r} is missing"
            raise CheckpointError(f"it is damaged: {what}", where=where, hint="save it again")
        return contents


def _another(found: Any, version: str, where: str) -> CheckpointError:
    what = (
        f"it has format {found!r}, written by Secateur {version}; Secateur {secateur.__version__} reads format {FORMAT}"
    )
    return CheckpointError(what, where=where, hint=f"read it with Secateur {version}")
