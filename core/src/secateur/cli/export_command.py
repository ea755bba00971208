"""`secateur export`: write a thin network for programs that do not know Secateur."""

from __future__ import annotations

import argparse
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from secateur.cli import console
from secateur.cli.models import NamedModel, add_input, add_model, build_model, example_inputs
from secateur.errors import CheckpointError, ConfigError, VerificationError
from secateur.records import Command

if TYPE_CHECKING:
    from rich.console import Console
    from torch import Tensor

    from secateur.thinning.verify import Difference

SUFFIXES: Final = {"python": ".py", "torch": ".pt2", "onnx": ".onnx"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_model(parser)
    add = parser.add_argument
    add("--weights", "--checkpoint", metavar="FILE", help="the checkpoint of secateur.save or secateur thin to export")
    add(
        "--to",
        choices=tuple(SUFFIXES),
        help="python: weights and a Python file that rebuilds the network; torch: a program of torch.export; onnx "
        "(default: by the suffix of the output, .py, .pt2 or .onnx)",
    )
    add("-o", "--output", required=True, metavar="FILE", help="the file to write, such as thin.py")
    add_input(parser)
    add("--dynamic-batch", action="store_true", help="torch, onnx: let the batch have any length")
    add(
        "--batch-axis",
        type=int,
        default=0,
        metavar="N",
        help="with --dynamic-batch: which axis of the inputs that is (default: 0; 1 where time is in front)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Build the model, load the checkpoint, export it, and run what was written beside it."""
    from secateur.checkpoint import load

    kind = _kind(arguments)
    if arguments.model.endswith(".safetensors"):
        what = "a checkpoint holds weights and the recipe of a network, not its code"
        hint = f"name the model that it was made of: secateur export MODEL --weights {arguments.model} …"
        raise ConfigError(what, where=arguments.model, hint=hint)
    if kind == "python" and arguments.dynamic_batch:
        hint = "leave it out: any batch fits a Python module"
        raise ConfigError("--dynamic-batch does not go with --to python", where="secateur export", hint=hint)
    out, progress = console.stdout(), console.stderr()
    with progress.status("building the model"):
        built = _build(arguments)
        if arguments.weights:
            load(arguments.weights, built.model)
    with progress.status("exporting"):
        EXPORTS[kind](arguments, built, out)
    return 0


def _kind(arguments: argparse.Namespace) -> str:
    suffix = Path(arguments.output).suffix
    by_suffix = {suffix: kind for kind, suffix in SUFFIXES.items()}
    if not arguments.to and suffix not in by_suffix:
        hint = f"give --to, or a file that ends in {', '.join(SUFFIXES.values())}"
        raise ConfigError("nothing says what to write", where=arguments.output, hint=hint)
    return arguments.to or by_suffix[suffix]


def _build(arguments: argparse.Namespace) -> NamedModel:
    return build_model(arguments.model, arguments.model_args, arguments.seed)


def _python(arguments: argparse.Namespace, built: NamedModel, out: Console) -> None:
    from secateur.export import export_python

    weights = export_python(arguments.output, built.model)
    difference = _rebuilt(arguments, built, weights)
    name = Path(arguments.output).stem
    imports, expression = built.code
    out.print(f"wrote {arguments.output} and {weights}; they need torch and safetensors only:\n", markup=False)
    for line in (
        imports,
        "from safetensors.torch import load_file",
        f"from {name if name.isidentifier() else '…'} import thin",
        f"model = thin({expression})",
        f"model.load_state_dict(load_file({str(weights)!r}))",
    ):
        out.print(f"    {line}", markup=False, soft_wrap=True)
    out.print()
    _show(out, difference, "give --input to compare the rebuilt network with the model")


def _rebuilt(arguments: argparse.Namespace, built: NamedModel, weights: Path) -> Difference | None:
    """Rebuild the network by the two files, and compare it with the model if its inputs are known."""
    from safetensors.torch import load_file

    from secateur.thinning.verify import compare, float_dtype, outputs

    model = _build(arguments).model
    try:
        runpy.run_path(arguments.output)["thin"](model)
        model.load_state_dict(load_file(weights))
    except (RuntimeError, ValueError) as error:
        text = " ".join(str(error).split())
        what = f"the network cannot be rebuilt from it ({text})"
        raise CheckpointError(
            what, where=arguments.output, hint="does MODEL build the same network each time?"
        ) from error
    if not arguments.input and built.input_shape is None and built.inputs is None:
        return None
    inputs = example_inputs(built, arguments.input)
    found = compare(outputs(built.model, inputs), outputs(model, inputs), float_dtype(built.model))
    if not found.passed:
        what = f"the rebuilt network and the model give outputs that differ by {found.relative:.2e} relative"
        hint = "does it hold values that are in no state dict?"
        raise VerificationError(what, where=arguments.output, hint=hint)
    return found


def _torch(arguments: argparse.Namespace, built: NamedModel, out: Console) -> None:
    from secateur.export import export_torch

    inputs = _inputs(arguments, built)
    found = export_torch(arguments.output, built.model, inputs, **_batch(arguments))
    out.print(f"wrote {arguments.output}; load it with\n", markup=False)
    out.print(f"    model = torch.export.load({arguments.output!r}).module()\n", markup=False, soft_wrap=True)
    _show(out, found, "")
    _tell_batch(arguments, inputs, out)


def _onnx(arguments: argparse.Namespace, built: NamedModel, out: Console) -> None:
    from secateur.export import export_onnx

    inputs = _inputs(arguments, built)
    found = export_onnx(arguments.output, built.model, inputs, **_batch(arguments))
    out.print(f"wrote {arguments.output}", markup=False)
    _show(out, found, "install onnxruntime to compare the file with the model")
    _tell_batch(arguments, inputs, out)


def _tell_batch(arguments: argparse.Namespace, inputs: tuple[Any, ...], out: Console) -> None:
    """Say which batch a program takes if it takes one only."""
    from secateur.graph.nested import tensors_in

    if not arguments.dynamic_batch:
        shapes = " and ".join(" x ".join(map(str, tensor.shape)) for tensor in tensors_in(inputs)[0])
        out.print(f"it takes inputs of {shapes} only; --dynamic-batch lets the batch be any", markup=False)


def _batch(arguments: argparse.Namespace) -> dict[str, Any]:
    return {"dynamic_batch": arguments.dynamic_batch, "batch_axis": arguments.batch_axis}


def _inputs(arguments: argparse.Namespace, built: NamedModel) -> tuple[Any, ...]:
    """The example inputs; a batch of two if nobody said how large and it may be any."""
    from torch.utils import _pytree as pytree

    from secateur.thinning.verify import outputs

    inputs, axis = example_inputs(built, arguments.input), arguments.batch_axis
    if not arguments.dynamic_batch or arguments.input:
        return inputs

    def doubled(tensor: Tensor) -> Tensor:
        return tensor.repeat([2 if at == axis else 1 for at in range(tensor.dim())])

    made: tuple[Any, ...] = pytree.tree_map(doubled, inputs)
    try:
        outputs(built.model, made)
    except Exception as error:
        what = f"the model does not run on inputs that are twice as long along axis {axis}"
        hint = "say by --batch-axis which axis the batch is (1 where time is in front), or give --input"
        raise ConfigError(what, where="--dynamic-batch", hint=hint) from error
    return made


def _show(out: Console, found: Difference | None, otherwise: str) -> None:
    if found is None:
        out.print(f"not compared; {otherwise}", style="yellow")
        return
    apart = (
        "equal" if found.absolute == 0 else f"differ by {found.relative:.1e} relative, {found.absolute:.1e} absolute"
    )
    out.print(f"outputs of the model and of what was written: {apart}", style="green")


EXPORTS: Final[dict[str, Callable[..., None]]] = {
    "python": _python,
    "torch": _torch,
    "onnx": _onnx,
}

COMMAND: Final = Command(
    name="export",
    summary="Write a thin network for programs that do not know Secateur.",
    configure=configure,
    run=run,
    order=32,
)
