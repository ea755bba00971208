"""Train a masked network and the thin one side by side: both must take the same way."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from attrs import frozen

from secateur.testing.values import redrawn
from secateur.thinning.masking import zero_slices
from secateur.thinning.plan import Plan
from secateur.thinning.report import Report
from secateur.thinning.state import named_parameters
from secateur.thinning.transaction import thin

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

Make = Callable[[Sequence["nn.Parameter"]], "Optimizer | Iterable[Optimizer]"]


@frozen(eq=False)
class Trajectory:
    """What came of training side by side."""

    losses: float
    """The largest difference of losses after thinning, relative to the masked network's."""
    weights: float
    """The largest difference of a parameter at the end, relative to its largest entry."""
    report: Report
    model: nn.Module
    """The thin network."""
    optimizers: tuple[Optimizer, ...]


def side_by_side(
    model: nn.Module,
    inputs: tuple[Any, ...],
    plan: Plan,
    make: Make,
    *,
    dense: int = 2,
    masked: int = 2,
    after: int = 5,
    between: Callable[[nn.Module], object] | None = None,
    **options: Any,
) -> Trajectory:
    """Train `dense` steps, then `masked` steps with the masks of a plan, thin, and go on for `after` steps both ways.

    Masks are applied after each step. Inputs are drawn anew for every step, targets too. `make`: one optimizer or
    several, of parameters. `between`: called with each network just before thinning. `options`: as for `secateur.thin`.
    """
    import torch

    twin = copy.deepcopy(model)
    runs = [(each.train(), _several(make(list(each.parameters())))) for each in (model, twin)]
    for each, optimizers in runs:
        for number in range(dense):
            train_step(each, optimizers, inputs, number)
        with torch.no_grad():
            zero_slices(each, plan)
        for number in range(dense, dense + masked):
            train_step(each, optimizers, inputs, number)
            zero_slices(each, plan)
        if between is not None:
            between(each)
    (_, ours), (_, theirs) = runs
    report = thin(model, plan, ours, **options)
    worst = 0.0
    for number in range(dense + masked, dense + masked + after):
        found = train_step(model, ours, inputs, number)
        due = train_step(twin, theirs, inputs, number)
        zero_slices(twin, plan)
        worst = max(worst, abs(found - due) / abs(due))
    thin(twin, plan, verify=False)
    pairs = zip(named_parameters(model).values(), named_parameters(twin).values(), strict=True)
    with torch.no_grad():
        apart = max(float((left - right).abs().max() / right.abs().max().clamp_min(1e-300)) for left, right in pairs)
    return Trajectory(worst, apart, report, model, ours)


def train_step(model: nn.Module, optimizers: Sequence[Optimizer], inputs: tuple[Any, ...], number: int) -> float:
    """One step on inputs and targets drawn by number; the loss before it."""
    for optimizer in optimizers:
        optimizer.zero_grad()
    loss = loss_of(model, inputs, number)
    loss.backward()  # type: ignore[no-untyped-call]
    for optimizer in optimizers:
        optimizer.step()
    return float(loss.detach())


def loss_of(model: nn.Module, inputs: tuple[Any, ...], number: int) -> Tensor:
    """Mean squared distance of all outputs from random targets, both drawn by number."""
    import torch
    from torch.utils import _pytree as pytree

    generator = torch.Generator().manual_seed(1000 + number)
    outputs = [out for out in pytree.tree_leaves(model(*redrawn(inputs, number))) if isinstance(out, torch.Tensor)]
    targets = [torch.randn(out.shape, generator=generator, dtype=torch.float64).to(out) for out in outputs]
    return torch.stack([(out - goal).square().mean() for out, goal in zip(outputs, targets, strict=True)]).sum()


def _several(made: Optimizer | Iterable[Optimizer]) -> tuple[Optimizer, ...]:
    from torch.optim import Optimizer

    return (made,) if isinstance(made, Optimizer) else tuple(made)
