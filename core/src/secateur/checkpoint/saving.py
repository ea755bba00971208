"""Save a model, the recipe of how it became thin, and what trains it, in one file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from secateur.checkpoint.checksum import seal
from secateur.checkpoint.contents import MODEL, Contents
from secateur.checkpoint.files import check_writable, replacing
from secateur.checkpoint.fitting import check_kinds
from secateur.checkpoint.header import LONGEST
from secateur.checkpoint.naming import check_names, renamed
from secateur.checkpoint.optimizer import save_optimizer
from secateur.checkpoint.parts import Parts, Resumable
from secateur.checkpoint.tensors import state_tensors
from secateur.checkpoint.tree import encode
from secateur.errors import CheckpointError
from secateur.thinning.recipe import recipe_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler


def save(
    path: str | os.PathLike[str],
    model: nn.Module,
    optimizer: Optimizer | None = None,
    *,
    scheduler: Resumable | None = None,
    lr_schedulers: LRScheduler | Sequence[LRScheduler] = (),
    rng: bool | None = None,
    generators: Mapping[str, torch.Generator] | None = None,
    position: Any = None,
    extra: Any = None,
) -> None:
    """Save a model, thin or dense, as a safetensors file with its recipe; `secateur.load` reads it.

    To go on training from the file, give also what trains it: `optimizer`, whose state and hyper-parameters are saved
    by parameter name; `scheduler`, a `secateur.Scheduler`, between two mini-batches; `lr_schedulers`, one or several
    of torch's; `generators` by name, such as that of a data loader; `position`, where training is, for example
    `{"epoch": 3, "step": 120}`. `rng`: whether the random states of Python, numpy and torch are saved too; left out,
    they are if an optimizer or a schedule is. `extra` and `position` are anything made of dicts, lists, strings,
    numbers and tensors, which `secateur.checkpoint.read(path)` returns; `extra` is also the place for the `state_dict`
    of an object that has no argument here, such as a `GradScaler`.

    The file appears whole or not at all; an old one is replaced. It carries a checksum of all of it.

    Raises `CheckpointError` if the path cannot be written, if such a file cannot hold something of what is given, or
    if the model no longer has a tensor by the name under which it was thinned. Masks of `torch.nn.utils.prune` may
    have been removed since.
    """
    where = str(path)
    check_replaceable(path)
    check_kinds(model, optimizer, where)
    for name, module in model.named_modules():
        if module is not model and recipe_of(module).steps:
            hint = f"save {name!r} by itself, or thin the whole model"
            raise CheckpointError(f"only its part {name!r} was thinned", where=where, hint=hint)
    held, tied = state_tensors(model, where)
    recipe = renamed(model, recipe_of(model))
    check_names(model, recipe, where)
    tensors = {f"{MODEL}{name}": tensor for name, tensor in held.items()}
    said = save_optimizer(optimizer, model, tensors, where) if optimizer is not None else None
    rng = (optimizer is not None or scheduler is not None) if rng is None else rng
    trees = Parts.of(scheduler, lr_schedulers, rng, generators).trees()
    trees |= {name: tree for name, tree in (("position", position), ("extra", extra)) if tree is not None}
    parts = {name: _part(name, tree, tensors, where) for name, tree in trees.items()}
    metadata = Contents(recipe=recipe, tied=tied, optimizer=said, parts=parts).to_metadata()
    if sum(map(len, metadata.values())) > LONGEST // 2:
        what = f"what stands beside the tensors takes {sum(map(len, metadata.values())):,} bytes, too many"
        raise CheckpointError(what, where=where, hint="give long lists of numbers in extra= as tensors")
    _write(path, _plain(tensors, where), metadata)


def _part(name: str, tree: Any, tensors: dict[str, Tensor], where: str) -> Any:
    try:
        return encode(tree, name, tensors)
    except (TypeError, ValueError) as error:
        what = f"{error}, which a checkpoint cannot hold"
        hint = "give dicts, lists, strings, numbers, true, false, None and tensors"
        raise CheckpointError(what, where=where, hint=hint) from error


def check_replaceable(path: str | os.PathLike[str]) -> None:
    """Refuse a path that cannot be written, or where something else than a safetensors file stands already."""
    check_writable(path, CheckpointError)
    try:
        with open(path, "rb") as old:
            start = old.read(9)
    except OSError:
        return  # nothing there yet, or not for us to read
    if start and start[8:9] != b"{":
        hint = "remove it first, or write elsewhere"
        raise CheckpointError("a file that is no checkpoint would be overwritten", where=str(path), hint=hint)


def _plain(tensors: dict[str, Tensor], where: str) -> dict[str, Tensor]:
    """The same tensors on the CPU, dense, contiguous, each with memory of its own, as the format wants them."""
    import torch

    plain: dict[str, Tensor] = {}
    taken: set[int] = set()
    for name, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.is_quantized or type(tensor.data) is not torch.Tensor:
            what = f"{name} is a {tensor.layout} {type(tensor).__name__}"
            raise CheckpointError(f"{what}, which a checkpoint cannot hold", where=where, hint="make it a dense tensor")
        plain[name] = tensor.detach().cpu().contiguous()
        if tensor.is_conj() or tensor.is_neg() or plain[name].untyped_storage().data_ptr() in taken:
            plain[name] = plain[name].clone().resolve_conj().resolve_neg()
        taken.add(plain[name].untyped_storage().data_ptr())
    return plain


def _write(path: str | os.PathLike[str], tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    with replacing(path, CheckpointError) as temporary:
        try:
            save_file(tensors, temporary, metadata)
            seal(temporary)
        except (SafetensorError, ValueError, RuntimeError, KeyError) as error:
            what = f"the tensors cannot be written ({type(error).__name__}: {error})"
            hint = "is the disk full, or a dtype not of the safetensors format?"
            raise CheckpointError(what, where=str(path), hint=hint) from error
