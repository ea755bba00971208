"""Thin a model: the only code that edits a module, and it edits all or nothing.

The thin network is rehearsed on tensors without data, and all new tensors are computed first. Then parameters keep
their identity and get new data, so that the optimizer and references of the user's stay valid; gradients and optimizer
state are cut alike, attributes set. The thin network is run and compared with the masked one. Anything that fails puts
everything back. Copies of the model (moving averages) are cut in the same transaction, by the same plan.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import evolve

from secateur.errors import SecateurError, ThinError, VerificationError
from secateur.graph.capture import normalise_inputs
from secateur.plugins import current
from secateur.thinning.conditions import check_fits
from secateur.thinning.copies import aliases, copies_in
from secateur.thinning.graphs import held_accumulators, retire_replicas, warn_off
from secateur.thinning.masking import folded
from secateur.thinning.optimizer import follow, optimizers_in
from secateur.thinning.pauses import without_pauses
from secateur.thinning.plan import Indices, Plan
from secateur.thinning.recipe import record, rewinding
from secateur.thinning.reference import reference
from secateur.thinning.rehearsal import rehearse
from secateur.thinning.report import Report
from secateur.thinning.state import get_attribute, named_tensors, set_attribute
from secateur.thinning.verify import Difference, compare, float_dtype, outputs, telling

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

SILENT = "all outputs of the masked network are zero on the example inputs: that the thin one's are equal says little"
"""Some networks begin with a head of zeros."""


@without_pauses()
def thin(
    model: nn.Module,
    plan: Plan,
    optimizer: Optimizer | Iterable[Optimizer] | None = None,
    *,
    also: Any = (),
    verify: bool = True,
    example_inputs: Any = None,
    rescale_steps: bool = False,
) -> Report:
    """Make a model physically smaller, in place, as planned; nothing is changed if anything fails.

    `optimizer`: one or several; their state is cut with the parameters, which stay the same objects. `also`: a copy of
    the model or several, cut by the same plan: an `AveragedModel` or another module with the same parameter names (or
    one that has it as its `module`), or a dict {name: tensor}, whose entries are replaced. `verify`: run the masked and
    the thin network on the example inputs (those of the plan, unless given here) and compare. `rescale_steps`: accept
    optimizers whose steps depend on the shape or on the state of a whole parameter (Adafactor, Muon): from here on
    their steps are those of the thin network, of another length than the masked one's; else they are refused.

    Raises `ThinError` if the plan does not fit the model or a copy, or an optimizer cannot follow it;
    `VerificationError` if the outputs differ.
    """
    start = time.perf_counter()
    check_fits(model, plan)
    optimizers = optimizers_in(optimizer)
    modules, tables = copies_in(also, model, plan)
    inputs = plan.example_inputs if example_inputs is None else normalise_inputs(example_inputs)
    inputs = telling(inputs) if inputs is not None else None
    if verify and inputs is None:
        raise ThinError(
            "there are no example inputs to verify with (a loaded plan has none)",
            where="thin",
            hint="give example_inputs=, or verify=False",
        )
    before = sum(parameter.numel() for parameter in model.parameters())
    if inputs is not None:
        rehearse(model, plan, inputs)
    with _all_or_nothing() as journal:
        masked = _reference(model, plan, inputs) if verify else []
        if verify and not masked:
            raise ThinError(
                "the model returns no tensor, so that nothing could be compared",
                where="thin",
                hint="let forward return what counts, or give verify=False",
            )
        notes = _commit([model, *modules], tables, plan, optimizers, journal, rescale_steps=rescale_steps)
        difference = _verified(model, plan, inputs, masked) if verify else None
        if masked and not any(bool(tensor.any()) for tensor in masked):
            notes.append(SILENT)
        for each in (model, *modules):
            journal.callback(rewinding(each))
            record(each, plan)
        after = sum(parameter.numel() for parameter in model.parameters())
        report = Report(plan, before, after, time.perf_counter() - start, difference, tuple(notes))
        current().model_thinned(report)
    return report


def replay(model: nn.Module, plan: Plan) -> None:
    """Cut a model as a plan says, without running it or telling any plugin: to rebuild what was thinned before."""
    check_fits(model, plan)
    with _all_or_nothing() as journal:
        _commit([model], [], plan, (), journal)
        journal.callback(rewinding(model))
        record(model, plan)


@contextmanager
def _all_or_nothing() -> Iterator[ExitStack]:
    """A journal whose callbacks undo what the body did, the last first, if the body fails.

    Tensors made in inference mode could never be trained again, so that it is left meanwhile.
    """
    import torch

    with torch.inference_mode(False), ExitStack() as journal:
        try:
            yield journal
        except BaseException as error:
            journal.close()
            if isinstance(error, SecateurError) or not isinstance(error, Exception):
                raise
            raise ThinError(f"{type(error).__name__}: {error}", where="thin", hint="the model is as it was") from error
        journal.pop_all()


def _commit(
    models: Sequence[nn.Module],
    tables: Sequence[MutableMapping[str, Tensor]],
    plan: Plan,
    optimizers: Sequence[Optimizer],
    journal: ExitStack,
    *,
    rescale_steps: bool = False,
) -> list[str]:
    """Compute all that is new, then put it into the model (the first), its copies and the optimizers.

    Returns what the user should know of the optimizers.
    """
    import torch

    parameters = dict(models[0].named_parameters())
    with torch.no_grad():
        networks = [_changes(named_tensors(model), plan) for model in models]
        entries = [change for table in tables for change in _entries(table, aliases(models[0]), plan)]
        followed = follow(optimizers, parameters, plan.cuts, _cut, rescale_steps=rescale_steps)
    for handle in warn_off(_held(models, plan)):
        journal.callback(handle.remove)
    retire_replicas(parameters[name] for name in plan.cuts if name in parameters)
    for tensor, data, grad in chain.from_iterable(networks):
        _set_data(tensor, data, grad, journal)
    for table, key, new in [*entries, *followed.updates]:
        journal.callback(table.__setitem__, key, table[key])
        table[key] = new
    for model in models:
        for (module, attribute), (_, size) in plan.attributes.items():
            old = get_attribute(model, module, attribute)
            journal.callback(_put_back, model, module, attribute, old)
            set_attribute(model, module, attribute, list(size) if isinstance(old, list) else size)
    return followed.notes


def _held(models: Iterable[nn.Module], plan: Plan) -> list[Any]:
    """The gradient accumulators of what is cut that graphs of the user's keep alive."""
    found: list[Any] = []
    for model in models:
        tensors = named_tensors(model)
        found += held_accumulators({name: tensors[name] for name in plan.cuts}).values()
    return found


def _changes(tensors: Mapping[str, Tensor], plan: Plan) -> list[tuple[Tensor, Tensor, Tensor | None]]:
    """What each tensor of a network that changes becomes: (the tensor, its new data, its new gradient)."""
    altered = _altered(tensors, plan)
    data = altered | {name: _cut(altered.get(name, tensors[name].data), axes) for name, axes in plan.cuts.items()}
    found = []
    for name, new in data.items():
        grad = tensors[name].grad if tensors[name].is_leaf else None
        found.append((tensors[name], new, None if grad is None else _cut(grad, plan.cuts.get(name, {}))))
    return found


def _entries(
    table: MutableMapping[str, Tensor], names: Mapping[str, str], plan: Plan
) -> Iterator[tuple[MutableMapping[str, Tensor], str, Tensor]]:
    """What the entries of a table {name: tensor} become; `names`: {name: the one that the plan knows}."""
    changing = plan.cuts.keys() | {scaling.parameter for scaling in plan.scalings}
    for name, known in names.items():
        if name in table and known in changing:
            altered = _altered({known: table[name]}, plan)
            yield table, name, _cut(altered.get(known, table[name].data), plan.cuts.get(known, {}))


def _put_back(model: nn.Module, module: str, attribute: str, old: Any) -> None:
    if get_attribute(model, module, attribute) is not old:
        set_attribute(model, module, attribute, old)


def _altered(tensors: Mapping[str, Tensor], plan: Plan) -> dict[str, Tensor]:
    """Copies of the parameters that are rescaled, and of those that constants are added to."""
    import torch

    found: dict[str, Tensor] = {}
    for scaling in plan.scalings:
        if scaling.parameter not in tensors:
            continue
        tensor = found.setdefault(scaling.parameter, tensors[scaling.parameter].data.clone())
        rows = slice(None) if scaling.indices is None else torch.from_numpy(scaling.indices).to(tensor.device)
        tensor[rows] *= scaling.factor
    for name, numbers in plan.folds.items():
        tensor = found.setdefault(name, tensors[name].data.clone())
        tensor += folded(numbers, tensor)
    return found


def _cut(tensor: Tensor, axes: Mapping[int, Indices]) -> Tensor:
    """What stays of a tensor, in the memory format it had."""
    import torch

    thin = tensor
    for axis, indices in axes.items():
        kept = np.setdiff1d(np.arange(tensor.shape[axis]), indices, assume_unique=True)
        thin = thin.index_select(axis, torch.from_numpy(kept).to(tensor.device))
    if tensor.layout != torch.strided:  # the gradient of a sparse embedding
        return thin
    # A kernel of 1 x 1 is contiguous in both formats: only its strides tell, and operators go by them.
    if tensor.dim() in (4, 5) and tensor.stride() != torch.empty(tensor.shape, device="meta").stride():
        layout = torch.channels_last if tensor.dim() == 4 else torch.channels_last_3d
        if tensor.is_contiguous(memory_format=layout):
            return thin.to(memory_format=layout)
    return thin.contiguous()


def _set_data(tensor: Tensor, data: Tensor, grad: Tensor | None, journal: ExitStack) -> None:
    old, old_grad = tensor.data, tensor.grad if tensor.is_leaf else None
    journal.callback(_replace, tensor, old, old_grad)
    _replace(tensor, data, grad)


def _replace(tensor: Tensor, data: Tensor, grad: Tensor | None) -> None:
    """Give a tensor new data and a new gradient.

    Between the two it is emptied in another dtype: only then does autograd forget the gradient accumulator that a graph
    still held by the user (the last loss) keeps alive, and with it the old shape.
    """
    import torch

    if tensor.is_leaf and tensor.grad is not None:
        tensor.grad = None
    if tensor.requires_grad:
        other = torch.float32 if tensor.dtype == torch.float64 else torch.float64
        tensor.data = torch.empty(0, dtype=other, device=tensor.device)
    tensor.data = data
    if grad is not None:
        tensor.grad = grad


def _reference(model: nn.Module, plan: Plan, inputs: Any) -> list[Tensor]:
    """The outputs of the masked network."""
    try:
        return reference(model, plan, inputs)
    except SecateurError:
        raise
    except Exception as error:
        raise ThinError(
            f"the model does not run on the example inputs: {type(error).__name__}: {error}",
            where="thin",
            hint="give example_inputs= that fit, or verify=False; the model is as it was",
        ) from error


def _verified(model: nn.Module, plan: Plan, inputs: Any, masked: list[Tensor]) -> Difference:
    try:
        thinned = outputs(model, plan.states.cut_inputs(inputs))
    except Exception as error:
        raise VerificationError(
            f"the thin network does not run: {type(error).__name__}: {error}",
            where="thin",
            hint="the model is as it was; keep the dims involved with keep=, and please report the model",
        ) from error
    difference = compare(masked, thinned, float_dtype(model))
    if plan.silenced is not None:
        difference = evolve(difference, tolerance=difference.tolerance + plan.silenced.effect)
    if not difference.passed:
        raise VerificationError(
            f"{plan.reference} and thinned outputs differ by {difference.relative:.2e} relative "
            f"({difference.absolute:.2e} absolute, tolerance {difference.tolerance:.0e})",
            where="thin",
            hint="the model is as it was; keep the dims involved with keep=, and please report the model",
        )
    return difference
