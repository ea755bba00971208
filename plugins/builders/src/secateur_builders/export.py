"""The builder "export": read the graph that `torch.export` makes of a model.

The model's forward is run by `torch.export` (not strict) on tensors without data, and its ATen operations are said in
the vocabulary of the rules; meanwhile sizes are watched, which the exported graph does not tell. As the default builder
does, it looks at the model in eval mode and then in training mode.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from secateur.errors import CaptureError
from secateur.graph.ir import Graph
from secateur.hookspecs import hookimpl
from secateur.records import GraphBuilder
from secateur_builders.given import check_modules, input_names
from secateur_builders.runs import adds_something, unread, unused

if TYPE_CHECKING:
    from torch import Tensor, nn

    from secateur_builders.export_graph import Reader
    from secateur_builders.recorder import Record
    from secateur_builders.substitute import StandIns

Inputs = tuple[Any, ...] | Mapping[str, Any]


def build(model: nn.Module, example_inputs: Inputs) -> Graph:
    """Export a model and read its graph; see the module's docstring. Raises `CaptureError` if it cannot be exported."""
    from torch import nn

    from secateur_builders.recorder import Record, note_uncalled

    if not isinstance(model, nn.Module):
        raise CaptureError(f"expected a torch.nn.Module, got {type(model).__name__}", where="model")
    modules = check_modules(model)
    record = Record()
    try:
        reader = _read(model, example_inputs, record, {}, training=False)
    except Exception as error:
        raise _failure(model, error) from error
    if not record.ops:
        raise CaptureError(
            f"no torch operation was seen while {type(model).__name__} was exported",
            where="model",
            hint="give the plain nn.Module, not a scripted, compiled or wrapped one",
        )
    outputs, opaque = dict.fromkeys(reader.outputs), reader.watcher.opaque
    longer = record.longer()
    failure = ""
    try:
        trained = _read(model, example_inputs, longer, reader.constants, training=True)
    except Exception as error:  # noqa: BLE001 - such a model is used in eval mode only; the plan says so
        failure = _first_line(error)
    else:
        if adds_something(record, longer):
            record, outputs = longer, outputs | dict.fromkeys(trained.outputs)
            opaque = opaque or trained.watcher.opaque
    idle = dict.fromkeys([*unused(reader.stand_ins, record), *sorted(reader.shadowed)])
    note_uncalled(modules, record)
    if opaque:  # the forward gave back an object: whatever nobody read may be in it
        outputs |= dict.fromkeys(unread(record))
    return Graph(
        ops=record.ops,
        values=record.values,
        inputs=tuple(reader.inputs),
        outputs=tuple(outputs),
        calls=tuple(record.calls),
        aliases=reader.stand_ins.aliases,
        attributes=reader.stand_ins.attributes,
        numbers=tuple(record.numbers),
        scales=tuple(record.scales),
        unused=tuple(idle),
        training_failure=failure,
        builder="export",
    )


def _read(model: nn.Module, inputs: Inputs, record: Record, constants: Mapping[str, Tensor], training: bool) -> Reader:
    """Export in one mode and add what was found to the record, which has these constants already."""
    import torch
    from torch.utils import _pytree as pytree

    from secateur_builders.export_graph import Reader
    from secateur_builders.export_run import Watched
    from secateur_builders.export_sizes import SizeWatcher
    from secateur_builders.substitute import substituted

    leaves, structure = pytree.tree_flatten(inputs)
    names = input_names(inputs, leaves)
    tensors = {name: leaf.detach() for name, leaf in zip(names, leaves, strict=True) if isinstance(leaf, torch.Tensor)}
    watcher = SizeWatcher(model)
    with substituted(model, "own", training) as stand_ins, _silence():
        watched = Watched(model, watcher, leaves, structure, keywords=isinstance(inputs, Mapping))
        watched.training = training
        owners = _owners(model, stand_ins)
        program = torch.export.export(watched, tuple(tensors.values()), strict=False)
    reader = Reader(program, watcher, stand_ins, record, training, list(tensors), owners, dict(constants))
    reader.read()
    return reader


def _owners(model: nn.Module, stand_ins: StandIns) -> dict[str, str]:
    """Every path to a parameter or buffer (a module may have several), with the one name it has in the graph."""
    names = {id(tensor): name for name, tensor in stand_ins.tensors.items()}
    found = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    return {path: names[id(tensor)] for path, tensor in found}


@contextmanager
def _silence() -> Iterator[None]:
    """Without what torch prints of errors that it raises as well, and of attributes that modules assign to themselves
    (which are restored)."""
    import io
    import logging
    import warnings
    from contextlib import redirect_stderr

    names = ("torch._subclasses.fake_tensor", "torch.fx.experimental.symbolic_shapes")
    reports = [logging.getLogger(name) for name in names]
    before = [report.disabled for report in reports]
    try:
        for report in reports:
            report.disabled = True
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for report, disabled in zip(reports, before, strict=True):
            report.disabled = disabled


def _failure(model: nn.Module, error: Exception) -> CaptureError:
    return CaptureError(
        f"torch.export does not follow the forward of {type(model).__name__}: {_first_line(error)}",
        where="example_inputs",
        hint='check that model(*example_inputs) runs by itself; builder="trace" records what torch.export refuses',
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"


@hookimpl
def secateur_graph_builders() -> list[GraphBuilder]:
    """Provide the builder "export"."""
    return [GraphBuilder(name="export", build=build, summary="reads the ATen graph that torch.export makes")]
