"""Write a thin network as one program, structure and weights together: by torch.export, or as ONNX."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secateur.checkpoint.files import check_writable, replacing
from secateur.errors import CheckpointError, VerificationError
from secateur.graph.capture import normalise_inputs
from secateur.graph.nested import tensors_in
from secateur.thinning.verify import Difference, compare, float_dtype, outputs, placed, quiet, telling

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn
    from torch.export import ExportedProgram


def export_torch(
    path: str | os.PathLike[str],
    model: nn.Module,
    example_inputs: Any,
    *,
    dynamic_batch: bool = False,
    batch_axis: int = 0,
) -> Difference:
    """Write a network, in eval mode, as `torch.export.save` does; `torch.export.load(path).module()` runs it.

    `example_inputs`: a tuple or a dict, as for `secateur.plan`. `dynamic_batch`: the batch of the input tensors may
    have another length later; then it must be 2 or more here. It is axis `batch_axis` of each of them: 1 for recurrent
    layers that have time in front, in whose inputs (time, batch, …) and states (layers, batch, …) it lies there. The
    number of time steps of a recurrent layer is fixed: torch writes them out. The program is run on the inputs beside
    the model before the file takes its place; what they differ by is returned.

    Raises `CheckpointError` if the path cannot be written, torch cannot export the model, or it takes the length of
    that axis for a constant in every input; `VerificationError` if the outputs differ.
    """
    import torch

    target = _target(path, ".pt2")
    inputs, wanted = _example(model, example_inputs)
    program = _program(model, inputs, batch_axis if dynamic_batch else None, str(path))
    with replacing(target, CheckpointError) as temporary:
        file = temporary.with_name("new.pt2")  # torch asks for the suffix
        with _failing("torch.export.save", str(path)):
            torch.export.save(program, file)
            loaded = torch.export.load(file).module()
            args, kwargs = _arguments(placed(inputs, model))
            with torch.no_grad():
                made = loaded(*args, **kwargs)
        difference = _verified(wanted, tensors_in(made)[0], model, str(path))
        os.replace(file, temporary)
    return difference


def export_onnx(
    path: str | os.PathLike[str],
    model: nn.Module,
    example_inputs: Any,
    *,
    dynamic_batch: bool = False,
    batch_axis: int = 0,
) -> Difference | None:
    """Write a network, in eval mode, as ONNX, by `torch.onnx.export`; one file, with its weights, up to 2 GB.

    Needs `pip install secateur[onnx]`. If onnxruntime is there too, it runs the file beside the model before the file
    takes its place, and what they differ by is returned; else None. Arguments and errors are those of `export_torch`.
    """
    import torch

    target = _target(path, ".onnx")
    if missing := [name for name in ("onnx", "onnxscript") if find_spec(name) is None]:
        raise CheckpointError(
            f"torch writes ONNX with the package {missing[0]!r}, which is not installed",
            where=str(path),
            hint="pip install 'secateur[onnx]'",
        )
    inputs, wanted = _example(model, example_inputs)
    program = _program(model, inputs, batch_axis if dynamic_batch else None, str(path))
    with replacing(target, CheckpointError) as temporary:
        with _failing("torch.onnx.export", str(path)):
            written = torch.onnx.export(program, dynamo=True, verbose=False)
            if written is None:
                raise RuntimeError("it returned nothing")
            written.save(temporary, external_data=False)
        if find_spec("onnxruntime") is None:
            return None
        with _failing("onnxruntime", str(path)):
            made = _run_onnx(temporary, placed(inputs, model))
        return _verified(wanted, made, model, str(path))


def _target(path: str | os.PathLike[str], suffix: str) -> Path:
    target = Path(path)
    if target.suffix != suffix:
        hint = f"name such a file, {target.with_suffix(suffix).name}"
        raise CheckpointError(f"it does not end in {suffix}", where=str(path), hint=hint)
    check_writable(target, CheckpointError)
    return target


def _example(model: nn.Module, example_inputs: Any) -> tuple[Any, list[Tensor]]:
    """The inputs, and what the model makes of them."""
    inputs = telling(normalise_inputs(example_inputs))
    try:
        return inputs, outputs(model, inputs)
    except Exception as error:
        what = f"the model does not run on the example inputs: {type(error).__name__}: {error}"
        raise CheckpointError(what, where="export", hint="give example inputs that fit") from error


def _program(model: nn.Module, inputs: Any, batch: int | None, where: str) -> ExportedProgram:
    """The program; `batch`: the axis whose length may be another one later."""
    import torch

    args, kwargs = _arguments(placed(inputs, model))
    shapes = None if batch is None else _batches(inputs, batch, where)
    with quiet(model), _failing("torch.export", where):
        program = torch.export.export(model, args, kwargs, dynamic_shapes=shapes)
    if batch is not None and not _takes_any(program):
        what = f"torch takes the length of axis {batch} for a constant in every input"
        hint = "say which axis the batch is (batch_axis; 1 where time is in front, whose steps are fixed), or fix it"
        raise CheckpointError(what, where=where, hint=hint)
    return program


def _takes_any(program: ExportedProgram) -> bool:
    """Whether any input may have other lengths than in the example."""
    import torch
    from torch.fx.experimental.symbolic_shapes import is_concrete_int

    names = set(program.graph_signature.user_inputs)
    made = [node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder" and node.name in names]
    return not all(is_concrete_int(n) for each in made if isinstance(each, torch.Tensor) for n in each.shape)


def _arguments(inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return ((), dict(inputs)) if isinstance(inputs, Mapping) else (tuple(inputs), {})


def _batches(inputs: Any, axis: int, where: str) -> Any:
    """What `torch.export` calls dynamic shapes: one axis of every tensor that has it is free."""
    import torch
    from torch.utils import _pytree as pytree

    def free(leaf: Any) -> Any:
        if not isinstance(leaf, torch.Tensor) or leaf.dim() <= axis:
            return None
        if leaf.shape[axis] < 2:
            what = f"an example input has the shape {tuple(leaf.shape)}: torch takes a batch of one for a constant"
            hint = f"give a batch of 2 or more, or a fixed batch; batch_axis says which axis it is, {axis} here"
            raise CheckpointError(what, where=where, hint=hint)
        return {axis: torch.export.Dim.AUTO}

    return pytree.tree_map(free, inputs)


@contextmanager
def _failing(what: str, where: str) -> Iterator[None]:
    """Errors of an exporter in one line; its warnings, which concern its own code, are not shown."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (CheckpointError, VerificationError):
        raise
    except Exception as error:
        text = str(error).strip().partition("\n")[0]
        message = f"{what} failed ({type(error).__name__}: {text})"
        raise CheckpointError(message, where=where, hint="see --debug or the cause for more") from error


def _run_onnx(path: Path, inputs: Any) -> list[Tensor]:
    import onnxruntime
    import torch
    from torch.utils import _pytree as pytree

    session = onnxruntime.InferenceSession(os.fspath(path), providers=["CPUExecutionProvider"])
    leaves = [leaf for leaf in pytree.tree_leaves(inputs) if isinstance(leaf, torch.Tensor)]
    names = [entry.name for entry in session.get_inputs()]
    if len(names) != len(leaves):
        raise RuntimeError(f"the file takes {len(names)} inputs, {len(leaves)} are given")
    feed = {name: leaf.cpu().numpy() for name, leaf in zip(names, leaves, strict=True)}
    run: Callable[..., list[np.ndarray[Any, Any]]] = session.run
    return [torch.from_numpy(array) for array in run(None, feed)]


def _verified(wanted: list[Tensor], made: list[Tensor], model: nn.Module, where: str) -> Difference:
    found = compare([tensor.cpu() for tensor in wanted], [tensor.cpu() for tensor in made], float_dtype(model))
    if not found.passed:
        what = f"model and file give outputs that differ by {found.relative:.2e} relative"
        raise VerificationError(f"{what} (tolerance {found.tolerance:.0e})", where=where, hint="nothing was written")
    return found
