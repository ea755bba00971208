"""Load a checkpoint into a fresh dense model, which becomes the thin one: all of it, or nothing."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from secateur.checkpoint.contents import MODEL
from secateur.checkpoint.fitting import check_bound, check_fits, check_kinds, check_wrapped, remaining
from secateur.checkpoint.optimizer import check_optimizer, load_optimizer
from secateur.checkpoint.parts import Parts, Resumable
from secateur.checkpoint.reading import Checkpoint, read
from secateur.checkpoint.rollback import Snapshot
from secateur.errors import CheckpointError
from secateur.thinning.recipe import Recipe, annotate
from secateur.thinning.transaction import replay

if TYPE_CHECKING:
    import torch
    from torch import nn
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

Model = TypeVar("Model", bound="nn.Module")


def load(
    path: str | os.PathLike[str] | Checkpoint,
    model: Model,
    optimizer: Optimizer | None = None,
    *,
    scheduler: Resumable | None = None,
    lr_schedulers: LRScheduler | Sequence[LRScheduler] = (),
    rng: bool = False,
    generators: Mapping[str, torch.Generator] | None = None,
) -> Model:
    """Make a fresh dense model the one that was saved: thin as it was, with its weights; return it.

    The model is changed in place and stays on its device and in its dtypes. A model that is thin by the same recipe
    already just gets the weights. What else is given gets its saved state, and is made as for a new training:
    `optimizer`, of the same class over the model's parameters; `scheduler`, a `secateur.Scheduler` of the same schedule
    over this model; `lr_schedulers`, one or several of torch's, in the order in which they were saved; `generators` by
    name. `rng=True` sets the random states of the process too.

    `path` may be what `secateur.checkpoint.read` returned, which also tells the position and extras in the file.

    Raises `CheckpointError` for a file that is missing, damaged, not ours, of another format version, or that does not
    fit. Then everything given is exactly as it was. Nothing is ever unpickled.
    """
    import torch

    with torch.inference_mode(False):  # what is made there could never be trained
        return _load(path, model, optimizer, Parts.of(scheduler, lr_schedulers, rng, generators))


def _load(path: str | os.PathLike[str] | Checkpoint, model: Model, optimizer: Optimizer | None, parts: Parts) -> Model:
    checkpoint = path if isinstance(path, Checkpoint) else read(path)
    where, contents, header = checkpoint.path, checkpoint.contents, checkpoint.header
    check_kinds(model, optimizer, where)
    check_wrapped(model, header, where)
    check_bound(model, parts.scheduler, where)
    steps = remaining(model, contents.recipe, where)
    check_fits(model, steps, contents, header, where)
    if optimizer is not None:
        check_optimizer(optimizer, model, contents.optimizer, header, where)
    try:
        parts.check(checkpoint.trees, where)
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"its metadata is damaged ({error!r})", where=where, hint="save it again") from error
    snapshot = Snapshot(model, optimizer, parts)
    try:
        _apply(model, optimizer, parts, steps, checkpoint)
    except BaseException as error:
        snapshot.restore()
        if not isinstance(error, Exception):
            raise
        what = f"it could not be loaded ({type(error).__name__}: {error})"
        raise CheckpointError(what, where=where, hint="model and optimizer are as they were") from error
    return model


def _apply(model: nn.Module, optimizer: Optimizer | None, parts: Parts, steps: Recipe, checkpoint: Checkpoint) -> None:
    for step in steps.steps:
        replay(model, step.plan())
    annotate(model, [step.made for step in checkpoint.contents.recipe.steps])
    tensors = checkpoint.tensors
    values = {name.removeprefix(MODEL): value for name, value in tensors.items() if name.startswith(MODEL)}
    values |= {name: values[first] for name, first in checkpoint.contents.tied.items()}
    model.load_state_dict(values, strict=True)
    if optimizer is not None:
        load_optimizer(optimizer, model, checkpoint.contents.optimizer, lambda name: tensors[name].clone())
    parts.restore(copy.deepcopy(checkpoint.trees), steps.steps)
