"""Write the weights of a thin network as a plain state dict, beside a Python file that rebuilds its structure."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from secateur.checkpoint.contents import KEY
from secateur.checkpoint.files import check_writable, replacing
from secateur.checkpoint.header import read_header
from secateur.checkpoint.saving import check_replaceable
from secateur.checkpoint.tensors import state_tensors
from secateur.errors import CheckpointError
from secateur.export.source import MARK, source
from secateur.export.structure import structure_of

if TYPE_CHECKING:
    from torch import Tensor, nn


def export_python(path: str | os.PathLike[str], model: nn.Module) -> Path:
    """Write a thin network for programs without Secateur, as two files; return the path of the second.

    `path`, such as `thin.py`, becomes a Python file that imports nothing but torch. Its function `thin(model)` gives a
    fresh dense model of the same class the thin structure. Beside it, `thin.weights.safetensors` holds the weights, by
    the names of the state dict, tied ones under each of their names:

        model = thin(Net())
        model.load_state_dict(safetensors.torch.load_file("thin.weights.safetensors"))

    The structure is that which `secateur.thin` and `secateur.load` left. Buffers that the state dict does not hold are
    cut from those of the fresh model. The text depends on nothing but the model. Both files are complete before
    either takes its place; old ones are replaced.

    Raises `CheckpointError`: a path that cannot be written, a file there that is not such an export, a state that
    safetensors cannot hold, a model that was changed by other hands since it was thinned.
    """
    program = Path(path)
    if program.suffix != ".py":
        raise CheckpointError("it does not end in .py", where=str(path), hint="name a Python file, such as thin.py")
    weights = program.with_suffix(".weights.safetensors")
    _check_ours(program)
    _check_no_checkpoint(weights)
    tensors = _state(model, str(path))
    held = set(tensors)
    text = source(model, structure_of(model, str(path)), held, weights.name)
    with ExitStack() as files:  # the program takes its place last: while it is missing, nobody loads the weights
        files.enter_context(replacing(program, CheckpointError)).write_text(text, encoding="utf-8", newline="\n")
        _write(files.enter_context(replacing(weights, CheckpointError)), tensors, str(weights))
    return weights


def _check_ours(path: Path) -> None:
    check_writable(path, CheckpointError)
    try:
        old = path.read_bytes()
    except OSError:
        return  # nothing there yet, or not for us to read
    if old and MARK.encode() not in old:
        hint = "remove it first, or write elsewhere"
        raise CheckpointError("a file that is no export would be overwritten", where=str(path), hint=hint)


def _check_no_checkpoint(weights: Path) -> None:
    """Refuse to overwrite a checkpoint by mere weights."""
    check_replaceable(weights)
    try:
        metadata = read_header(weights).metadata
    except CheckpointError:
        return  # nothing there yet, or a damaged file
    if KEY in metadata:
        hint = "name another Python file, or move the checkpoint"
        raise CheckpointError("a checkpoint would be overwritten by mere weights", where=str(weights), hint=hint)


def _state(model: nn.Module, where: str) -> dict[str, Tensor]:
    """The state dict, each tensor dense, on the CPU, with memory of its own."""
    import torch

    tensors, tied = state_tensors(model, where)
    plain: dict[str, Tensor] = {}
    for name in sorted({*tensors, *tied}):
        tensor = tensors[tied.get(name, name)].detach()
        if tensor.layout != torch.strided or tensor.is_quantized:
            what = f"{name!r} is a tensor of layout {tensor.layout}, which safetensors cannot hold"
            raise CheckpointError(what, where=where, hint="make it a dense tensor")
        plain[name] = tensor.cpu().clone(memory_format=torch.contiguous_format).resolve_conj().resolve_neg()
    return plain


def _write(temporary: Path, tensors: dict[str, Tensor], where: str) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file(tensors, temporary, {"format": "pt"})
    except (SafetensorError, ValueError, RuntimeError, KeyError) as error:
        what = f"the tensors cannot be written ({type(error).__name__}: {error})"
        hint = "is the disk full, or a dtype not of the safetensors format?"
        raise CheckpointError(what, where=where, hint=hint) from error
