"""Load a checkpoint into a fresh dense model, which becomes the thin one: all of it, or nothing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeVar

from secateur.checkpoint.contents import MODEL, Contents
from secateur.checkpoint.fitting import check_fits, remaining
from secateur.checkpoint.header import Header, read_header
from secateur.checkpoint.optimizer import check_optimizer, load_optimizer
from secateur.checkpoint.rollback import Snapshot
from secateur.errors import CheckpointError
from secateur.thinning.recipe import Recipe
from secateur.thinning.transaction import replay

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

Model = TypeVar("Model", bound="nn.Module")


def load(path: str | os.PathLike[str], model: Model, optimizer: Optimizer | None = None) -> Model:
    """Make a fresh dense model the one that was saved: thin as it was, with its weights; return it.

    The model is changed in place and stays on its device and in its dtypes. A model that is thin by the same recipe
    already just gets the weights. `optimizer`: a new one of the same class over the model's parameters; it gets the
    saved state.

    Raises `CheckpointError` for a file that is missing, damaged, not ours, of another format version, or that does not
    fit. Then model and optimizer are exactly as they were. Nothing is ever unpickled.
    """
    where = str(path)
    header = read_header(path)
    contents = Contents.of(header, where)
    steps = remaining(model, contents.recipe, where)
    check_fits(model, steps, contents, header, where)
    if optimizer is not None:
        check_optimizer(optimizer, model, contents.optimizer, where)
    tensors = _read_tensors(path, header)
    snapshot = Snapshot(model, optimizer)
    try:
        _apply(model, optimizer, steps, contents, tensors)
    except BaseException as error:
        snapshot.restore()
        if not isinstance(error, Exception):
            raise
        what = f"it could not be loaded ({type(error).__name__}: {error})"
        raise CheckpointError(what, where=where, hint="model and optimizer are as they were") from error
    return model


def _read_tensors(path: str | os.PathLike[str], header: Header) -> dict[str, Tensor]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in header.tensors}
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        what = f"its tensors cannot be read ({type(error).__name__}: {error})"
        raise CheckpointError(what, where=str(path), hint="save it again") from error


def _apply(
    model: nn.Module, optimizer: Optimizer | None, steps: Recipe, contents: Contents, tensors: dict[str, Tensor]
) -> None:
    for step in steps.steps:
        replay(model, step.plan())
    values = {name.removeprefix(MODEL): value for name, value in tensors.items() if name.startswith(MODEL)}
    values |= {name: values[first] for name, first in contents.tied.items()}
    model.load_state_dict(values, strict=True)
    if optimizer is not None:
        load_optimizer(optimizer, model, contents.optimizer, tensors.__getitem__)
