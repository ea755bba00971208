"""The default builder: run the model's own forward once on tensors without data.

Parameters and floating-point inputs live on the `meta` device, so nothing is computed and nothing is copied; integer
inputs stay real, so that masks and indices computed from them stay known. If the forward needs values (a branch on
data, `.item()`), it is run on the real tensors instead. If it may depend on the flag `training`, it is run once more in
training mode, and what that adds (auxiliary classifiers) is recorded too: what may leave must fit both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from secateur.errors import CaptureError
from secateur.graph.ir import Graph, Op, Ref
from secateur.hookspecs import hookimpl
from secateur.records import GraphBuilder, Intercept, OpRule
from secateur_builders.given import check_modules, input_names
from secateur_builders.runs import adds_something, unread, unused

if TYPE_CHECKING:
    from torch import nn

    from secateur_builders.flags import Readers
    from secateur_builders.recorder import Record
    from secateur_builders.substitute import Device, StandIns

    Modules = list[tuple[str, nn.Module]]

Inputs = tuple[Any, ...] | Mapping[str, Any]

HIDDEN = "hidden_call"
"""The operation that stands for calls which torch does not show."""


def build(model: nn.Module, example_inputs: Inputs) -> Graph:
    """Record the graph of one forward; see the module's docstring. Raises `CaptureError` if the forward fails."""
    from torch import nn

    from secateur_builders.flags import FUSED
    from secateur_builders.recorder import note_uncalled

    if not isinstance(model, nn.Module):
        raise CaptureError(f"expected a torch.nn.Module, got {type(model).__name__}", where="model")
    modules = check_modules(model)
    record, run, readers = _first_run(model, example_inputs, modules)
    if not record.ops:
        raise CaptureError(
            f"no torch operation was seen while {type(model).__name__} ran",
            where="model",
            hint="give the plain nn.Module, not a scripted, compiled or wrapped one",
        )
    outputs = dict.fromkeys(run.outputs)
    opaque = run.opaque
    failure = ""
    if readers.depends or any(op.kind in FUSED for op in record.ops.values()):
        longer = record.longer()
        try:
            trained = _run(model, example_inputs, longer, run.device, training=True, modules=modules)
        except Exception as error:  # noqa: BLE001 - such a model is used in eval mode only; the plan says so
            failure = f"{type(error).__name__}: {error}".splitlines()[0]
        else:
            if adds_something(record, longer):
                record, outputs, opaque = longer, outputs | dict.fromkeys(trained.outputs), opaque or trained.opaque
    note_uncalled(modules, record)
    if record.lost:
        _note_hidden_call(record, dict.fromkeys(outputs))
    if opaque:  # the model returned something that cannot be looked into: whatever nobody read may be in it
        outputs |= dict.fromkeys(unread(record))
    return Graph(
        ops=record.ops,
        values=record.values,
        inputs=run.inputs,
        outputs=tuple(outputs),
        calls=tuple(record.calls),
        aliases=run.stand_ins.aliases,
        attributes=run.stand_ins.attributes,
        numbers=tuple(record.numbers),
        scales=tuple(record.scales),
        unused=unused(run.stand_ins, record),
        decisions=tuple(record.decisions),
        training_failure=failure,
        on_values=run.device == "real",
        builder="trace",
    )


def _first_run(model: nn.Module, inputs: Inputs, modules: Modules) -> tuple[Record, _Run, Readers]:
    """Run in eval mode: without data and seeing who reads the flag `training`; without seeing; on real tensors."""
    from secateur_builders.flags import Readers
    from secateur_builders.recorder import Record

    attempts: tuple[tuple[Device, Readers | None], ...] = (("meta", Readers()), ("meta", None), ("real", None))
    for device, readers in attempts:
        record = Record()
        try:
            run = _run(model, inputs, record, device, training=False, readers=readers, modules=modules)
        except Exception as error:
            if device == "real":  # the failures before are retried; this one is the user's
                raise _failure(model, error) from error
        else:
            return record, run, readers or Readers(depends=True)
    raise AssertionError("the last attempt returns or raises")


def run(model: nn.Module, inputs: Inputs, intercept: Intercept, scales: Mapping[str, int] | None = None) -> Any:
    """Run the forward in eval mode on the model's own tensors, each call of a torch function done by `intercept`.

    Operations bear the names they have in the graph of the same model and inputs. `scales`: {size expression: the
    integer to take for it where it becomes a floating-point number}. What the forward raises is raised.
    """
    from secateur_builders.recorder import Record

    return _run(model, inputs, Record(), "own", training=False, intercept=intercept, scales=scales).result


class _Run:
    """What came out of one run, and the names of what went into and came out of it."""

    def __init__(self, stand_ins: StandIns, device: Device) -> None:
        self.stand_ins, self.device = stand_ins, device
        self.inputs: tuple[str, ...] = ()
        self.outputs: tuple[str, ...] = ()
        self.opaque = False
        self.result: Any = None


def _run(
    model: nn.Module,
    inputs: Inputs,
    record: Record,
    device: Device,
    training: bool,
    intercept: Intercept | None = None,
    scales: Mapping[str, int] | None = None,
    readers: Readers | None = None,
    modules: Modules | None = None,
) -> _Run:
    from torch.utils import _pytree as pytree

    from secateur.graph.nested import tensors_in
    from secateur_builders.provenance import losses
    from secateur_builders.recorder import Recorder
    from secateur_builders.substitute import substituted

    leaves, structure = pytree.tree_flatten(inputs)
    with substituted(model, device, training, readers, modules) as stand_ins:
        run = _Run(stand_ins, device)
        recorder = Recorder(record, stand_ins.paths, device == "meta", training, intercept, scales)
        for name, tensor in stand_ins.tensors.items():
            if name in record.values:
                recorder.bind(name, tensor)
            else:
                recorder.define(name, tensor, stand_ins.kinds[name])
        given = [_input(leaf, device) for leaf in leaves]
        names = input_names(inputs, leaves)
        run.inputs = tuple(
            recorder.define(name, leaf, "input") for name, leaf in zip(names, given, strict=True) if _is_tensor(leaf)
        )
        arguments = pytree.tree_unflatten(given, structure)
        with recorder.watching_modules(), losses(recorder.note_number, recorder.note_scale), recorder:
            run.result = model(**arguments) if isinstance(inputs, Mapping) else model(*arguments)
        found, run.opaque = tensors_in(run.result)
        run.outputs = tuple(dict.fromkeys(recorder.name_of(tensor) for tensor in found))
        return run


def _note_hidden_call(record: Record, outputs: Mapping[str, None]) -> None:
    """A tensor came from nowhere: an operation where it is first used stands for the call that may read the unread."""
    assert record.lost is not None
    module, source = record.lost
    loose = tuple(name for name in unread(record) if name not in outputs)
    if loose:
        arguments = tuple(Ref(name) for name in loose)
        record.ops[HIDDEN] = Op(
            name=HIDDEN, kind=HIDDEN, module=module, inputs=loose, outputs=(), args=arguments, source=source
        )


def _is_tensor(leaf: Any) -> bool:
    import torch

    return isinstance(leaf, torch.Tensor)


def _input(leaf: Any, device: Device) -> Any:
    if not _is_tensor(leaf):
        return leaf
    floating = leaf.is_floating_point() or leaf.is_complex()
    return leaf.detach().to("meta") if device == "meta" and floating else leaf.detach().clone()


def _failure(model: nn.Module, error: Exception) -> CaptureError:
    import traceback

    from secateur_builders.calls import is_library

    frames = [f for f in traceback.extract_tb(error.__traceback__) if not is_library(f.filename)]
    place = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return CaptureError(
        f"the forward of {type(model).__name__} failed{place}: {type(error).__name__}: {error}",
        where="example_inputs",
        hint="check that model(*example_inputs) runs by itself, with inputs of the right number, shape and dtype",
    )


@hookimpl
def secateur_graph_builders() -> list[GraphBuilder]:
    """Provide the builder "trace"."""
    return [GraphBuilder(name="trace", build=build, run=run, summary="runs the forward once on tensors without data")]


@hookimpl
def secateur_op_rules() -> list[OpRule]:
    """Say what a call is that torch does not show, where one may read a tensor."""
    return [OpRule(name=HIDDEN, ops=(HIDDEN,), signature="*args", apply=_hidden)]


def _hidden(site: Any) -> Any:
    raise NotImplementedError(
        "it may be read by a call that torch does not show (an extension in C++ or CUDA), whose result is first used "
        "here: make that call an operator with torch.library.custom_op, and write a rule for it"
    )
