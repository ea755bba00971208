"""Save a model, the recipe of how it became thin, and its optimizer, in one file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from secateur.checkpoint.contents import MODEL, Contents
from secateur.checkpoint.files import check_writable, replacing
from secateur.checkpoint.naming import check_names, renamed
from secateur.checkpoint.optimizer import save_optimizer
from secateur.checkpoint.tensors import state_tensors
from secateur.errors import CheckpointError
from secateur.thinning.recipe import recipe_of

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer


def save(
    path: str | os.PathLike[str], model: nn.Module, optimizer: Optimizer | None = None, *, extra: Any = None
) -> None:
    """Save a model, thin or dense, as a safetensors file with its recipe; `secateur.load` reads it.

    `optimizer`: its state and hyper-parameters are saved too, by parameter name. `extra`: anything made of dicts,
    lists, strings and numbers, for `secateur.checkpoint.inspect(path)["extra"]` to return. The file appears whole
    or not at all; an old one is replaced.

    Raises `CheckpointError` if the path cannot be written, if such a file cannot hold something of the model or the
    optimizer, or if the model no longer has a tensor by the name under which it was thinned. Masks of
    `torch.nn.utils.prune` may have been removed since.
    """
    where = str(path)
    check_replaceable(path)
    for name, module in model.named_modules():
        if module is not model and recipe_of(module).steps:
            hint = f"save {name!r} by itself, or thin the whole model"
            raise CheckpointError(f"only its part {name!r} was thinned", where=where, hint=hint)
    held, tied = state_tensors(model, where)
    recipe = renamed(model, recipe_of(model))
    check_names(model, recipe, where)
    tensors = {f"{MODEL}{name}": tensor for name, tensor in held.items()}
    said = save_optimizer(optimizer, model, tensors, where) if optimizer is not None else None
    contents = Contents(recipe=recipe, tied=tied, optimizer=said, extra=extra)
    try:
        metadata = contents.to_metadata()
    except (TypeError, ValueError, RecursionError) as error:
        hint = "give dicts, lists, strings, numbers, true, false and None"
        raise CheckpointError(f"extra= is not fit for JSON ({error})", where=where, hint=hint) from error
    _write(path, _plain(tensors, where), metadata)


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
        except (SafetensorError, ValueError, RuntimeError, KeyError) as error:
            what = f"the tensors cannot be written ({type(error).__name__}: {error})"
            hint = "is the disk full, or a dtype not of the safetensors format?"
            raise CheckpointError(what, where=str(path), hint=hint) from error
