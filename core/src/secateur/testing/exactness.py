"""The main law: a thinned network computes what the masked one did, in float64, whatever leaves."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from secateur.coupling.analysis import Coupling
from secateur.errors import SecateurError
from secateur.graph.capture import normalise_inputs
from secateur.testing.broken import LawBroken
from secateur.testing.values import redrawn, unchanged
from secateur.thinning.masking import masked
from secateur.thinning.plan import Plan
from secateur.thinning.planner import couple, make_plan, plan, spare
from secateur.thinning.reference import reference
from secateur.thinning.transaction import thin
from secateur.thinning.verify import outputs

if TYPE_CHECKING:
    from torch import Tensor, nn

TOLERANCE = 1e-11
"""Largest difference in float64, relative to the largest entry of each output."""
SMALLEST = 1e-3
"""Outputs smaller than this are compared absolutely."""


def masked_equals_thinned(
    model: nn.Module,
    example_inputs: tuple[Any, ...] | Mapping[str, Any],
    *,
    prune: float | Mapping[str, float] = 0.5,
    renormalise: bool = False,
    tolerance: float = TOLERANCE,
    builder: str = "trace",
) -> Plan:
    """Plan, mask and thin copies of a model, and check everything that must hold; the model is not changed.

    `model`: with float64 parameters (`randomised` makes them so). Checked is that planning changes nothing, that the
    masked and the thin copy compute the same on fresh inputs, that exactly the planned slices are gone, that attributes
    say what shapes are, and that the thin copy can be trained. Returns the plan; raises `LawBroken`.
    """
    inputs = normalise_inputs(example_inputs)
    with unchanged(model, "secateur.plan"):
        made = plan(model, inputs, prune, renormalise=renormalise, builder=builder)
    plan_is_exact(model, made, inputs, tolerance=tolerance)
    return made


def plan_is_exact(
    model: nn.Module,
    plan: Plan,
    example_inputs: tuple[Any, ...] | Mapping[str, Any],
    *,
    tolerance: float = TOLERANCE,
    seed: int = 0,
) -> nn.Module:
    """Check everything that `masked_equals_thinned` checks for a plan that was made; returns the thin copy.

    `seed`: of the fresh inputs. Raises `LawBroken`.
    """
    inputs = redrawn(normalise_inputs(example_inputs), seed)
    plan_is_whole(plan)
    thinned = copy.deepcopy(model)
    try:
        due = reference(masked(model, plan), plan, inputs)
        thin(thinned, plan, verify=False)
    except SecateurError as error:
        raise LawBroken(f"a plan could not be applied: {error}") from error
    try:
        inputs = plan.states.cut_inputs(inputs)
        found = outputs(thinned, inputs)
    except Exception as error:
        raise LawBroken(f"the thin network does not run: {type(error).__name__}: {error}") from error
    outputs_agree(due, found, tolerance)
    shapes_follow(thinned, plan)
    attributes_fit(model, thinned)
    trains(thinned, inputs)
    return thinned


def random_plan(
    model: nn.Module,
    example_inputs: tuple[Any, ...] | Mapping[str, Any],
    seed: int,
    *,
    renormalise: bool = False,
    builder: str = "trace",
) -> Plan:
    """A plan by which random units of random dims leave; every fourth seed only one dim, every fourth one unit."""
    inputs = normalise_inputs(example_inputs)
    return drawn_plan(model, couple(model, inputs, builder, renormalise), inputs, seed)


def drawn_plan(model: nn.Module, coupling: Coupling, inputs: Any, seed: int) -> Plan:
    """The random plan of a model whose dims are known; see `random_plan`."""
    rng = np.random.default_rng(seed)
    chosen = int(rng.integers(len(coupling.dims))) if coupling.dims else -1
    leaving = []
    for index, dim in enumerate(coupling.dims):
        count = int(rng.integers(0, len(dim))) if len(dim) > 1 else 0
        if seed % 4 >= 2 and index != chosen:
            count = 0
        if seed % 4 == 3:
            count = min(count, 1)
        leaving.append(np.sort(rng.choice(len(dim), count, replace=False)))
    leaving = spare(coupling, leaving, lambda i: rng.random(len(coupling.dims[i])))
    return make_plan(model, coupling, leaving, inputs)


def outputs_agree(reference: Sequence[Tensor], found: Sequence[Tensor], tolerance: float = TOLERANCE) -> None:
    """Check that two lists of outputs have the same shapes and, relative to the largest entry, the same numbers."""
    import torch

    shapes = [[tuple(tensor.shape) for tensor in run] for run in (reference, found)]
    if shapes[0] != shapes[1]:
        raise LawBroken(f"masked and thinned outputs have the shapes {shapes[0]} and {shapes[1]}")
    for place, (left, right) in enumerate(zip(reference, found, strict=True)):
        if not left.is_floating_point():
            if not torch.equal(left, right):
                raise LawBroken(f"output {place}: masked and thinned differ in whole numbers")
        elif left.numel():
            if not bool(left.isfinite().all()):
                raise LawBroken(f"output {place} of the masked network is not finite")
            difference = float((left - right).abs().max() / left.abs().max().clamp_min(SMALLEST))
            if not difference <= tolerance:
                raise LawBroken(f"output {place}: masked and thinned differ by {difference:.1e} (relative)")


def plan_is_whole(plan: Plan) -> None:
    """Check that a plan cuts all slices of every unit that leaves, and nothing else."""
    due: dict[tuple[str, int], set[int]] = {}
    for dim in plan.dims:
        for key, indices in dim.slices.items():
            due.setdefault(key, set()).update(indices[dim.leaving].reshape(-1).tolist())
    cuts = {(name, axis): set(gone.tolist()) for name, axes in plan.cuts.items() for axis, gone in axes.items()}
    for key in sorted({**due, **cuts}):
        if due.get(key, set()) != cuts.get(key, set()):
            raise LawBroken(
                f"{key[0]} axis {key[1]}: the units that leave hold {sorted(due.get(key, ()))}, "
                f"the plan cuts {sorted(cuts.get(key, ()))}"
            )


def shapes_follow(thinned: nn.Module, plan: Plan) -> None:
    """Check that every parameter and buffer lost what the plan cuts, and nothing else."""
    for name, tensor in {**dict(thinned.named_parameters()), **dict(thinned.named_buffers())}.items():
        gone = plan.cuts.get(name, {})
        due = tuple(n - len(gone.get(axis, ())) for axis, n in enumerate(plan.shapes[name]))
        if tuple(tensor.shape) != due:
            raise LawBroken(f"{name} has the shape {tuple(tensor.shape)} after thinning, {due} is planned")


def attributes_fit(model: nn.Module, thinned: nn.Module) -> None:
    """Check that modules still say what they hold: built anew from its attributes, a module has the same shapes.

    Asked of modules without submodules of which it was true before thinning.
    """
    before = _misfits(model)
    for path, what in _misfits(thinned).items():
        if path not in before:
            raise LawBroken(what)


def _misfits(model: nn.Module) -> dict[str, str]:
    """The modules that do not say what they hold, {path: message}; those that cannot be built from attributes too."""
    found = {}
    for path, module in model.named_modules():
        if next(module.parameters(), None) is None or next(module.children(), None) is not None:
            continue
        ours = {name: tuple(tensor.shape) for name, tensor in module.named_parameters()}
        theirs = _said(type(module), tuple(_arguments(module).items()))
        if ours != theirs:
            found[path] = f"{path}: {module} holds tensors of the shapes {ours}, its attributes say {theirs}"
    return found


def _said(kind: Any, arguments: tuple[tuple[str, Any], ...]) -> Any:
    """The shapes of the parameters of a module built with some arguments, or why it cannot be built."""
    try:
        return _shapes(kind, arguments)
    except TypeError as error:  # an argument that cannot be hashed, or is missing
        return f"nothing: {error}"


@cache
def _shapes(kind: Any, arguments: tuple[tuple[str, Any], ...]) -> Any:
    import torch

    try:
        with torch.device("meta"):
            twin = kind(**dict(arguments))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is said
        return f"nothing: {type(error).__name__}: {error}"
    return {name: tuple(tensor.shape) for name, tensor in twin.named_parameters()}


def _arguments(module: nn.Module) -> dict[str, Any]:
    """The arguments of a module's class, as far as its attributes say them."""
    found: dict[str, Any] = {}
    for name, parameter in inspect.signature(type(module)).parameters.items():
        if name in ("device", "dtype") or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if name in module._parameters:
            found[name] = module._parameters[name] is not None
        elif hasattr(module, name):
            found[name] = getattr(module, name)
    return found


def trains(model: nn.Module, inputs: Any) -> None:
    """Check that a model can be run and differentiated in training mode, and that a step of an optimizer passes."""
    import torch

    from secateur.graph.nested import tensors_in

    model.train()
    try:
        made = model(**inputs) if isinstance(inputs, Mapping) else model(*inputs)
        losses = [leaf.square().mean() for leaf in tensors_in(made)[0] if leaf.requires_grad]
        if losses:
            optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
            torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    except Exception as error:
        raise LawBroken(f"the thin network cannot be trained: {type(error).__name__}: {error}") from error
    finally:
        model.eval()
