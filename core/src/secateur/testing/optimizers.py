"""Laws of optimizer rules: they name what exists, and training goes on as that of the masked network."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from secateur.errors import ThinError
from secateur.records import OptimizerRule
from secateur.testing.broken import LawBroken, NotTried
from secateur.testing.examples import examples
from secateur.testing.trajectories import side_by_side, train_step
from secateur.thinning.planner import plan

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

TOLERANCE = 1e-9
STEPS = 5


def is_well_formed(rule: OptimizerRule) -> None:
    """It has a name, names a class that exists, and a refusal has a reason."""
    if not rule.name or not rule.types:
        raise LawBroken(f"the rule {rule.name!r} is for no optimizer: {rule}")
    if _may_be_refused(rule) and not rule.reason:
        raise LawBroken(f"the rule {rule.name!r} refuses and gives no reason")
    _class(rule)


def follows_the_masked_network(rule: OptimizerRule) -> None:
    """Thin and masked networks train alike on every example; what is refused is refused, and follows on request.

    In any case, state looks as that of a new optimizer after a step does, and training goes on.
    """
    refused = 0
    for number, (model, inputs) in enumerate(examples()):
        chosen = plan(model, inputs, 0.5)
        try:
            found = side_by_side(model, inputs, chosen, lambda p: _made(rule, p), after=STEPS)
        except ThinError as error:
            if not _may_be_refused(rule):
                raise LawBroken(f"{rule.name} was refused: {error}") from error
            if rule.reason not in str(error):
                raise LawBroken(f"{rule.name} was refused for another reason than {rule.reason!r}: {error}") from error
            refused += 1
            if not rule.follows:
                continue
            model, inputs = examples()[number]
            found = side_by_side(model, inputs, chosen, lambda p: _made(rule, p), after=0, rescale_steps=True)
        else:
            worst = found.losses  # weights that no loss depends on (a bias before batch norm) follow rounding errors
            if not rule.follows:
                raise LawBroken(f"{rule.name} was not refused")
            if not worst <= TOLERANCE:
                raise LawBroken(f"{rule.name}: thin and masked networks part by {worst:.1e} in {STEPS} steps")
        _check_state(rule, found.model, found.optimizers[0], inputs)


def _may_be_refused(rule: OptimizerRule) -> bool:
    return not rule.follows or rule.step_scale is not None or rule.whole


def _check_state(rule: OptimizerRule, model: nn.Module, optimizer: Optimizer, inputs: tuple[Any, ...]) -> None:
    """Entries have the shapes that they have in a new optimizer of the thin network after a step."""
    held = [_shapes(optimizer, parameter) for parameter in model.parameters()]
    new = _made(rule, list(model.parameters()))
    train_step(model, [new], inputs, 0)
    due = [_shapes(new, parameter) for parameter in model.parameters()]
    for number, (ours, theirs) in enumerate(zip(held, due, strict=True)):
        if ours != theirs:
            raise LawBroken(f"{rule.name} holds {ours} of parameter {number}, where {theirs} is due")


def _shapes(optimizer: Optimizer, parameter: Any) -> dict[str, tuple[int, ...]]:
    held = optimizer.state.get(parameter, {})
    return {key: tuple(value.shape) for key, value in held.items() if hasattr(value, "shape")}


def _made(rule: OptimizerRule, parameters: Sequence[nn.Parameter]) -> Optimizer:
    """An optimizer that goes by the rule; `NotTried` if it does not take these parameters."""
    try:
        return rule.make(parameters) if rule.make is not None else _class(rule)(parameters)
    except (TypeError, ValueError) as error:  # it may take matrices only, or need more than parameters
        raise NotTried(f"the kit cannot make {rule.name} of the parameters of its networks: {error}") from error


def _class(rule: OptimizerRule) -> Any:
    for name in rule.types:
        module, _, kind = name.rpartition(".")
        try:
            found = getattr(importlib.import_module(module), kind)
        except (ImportError, AttributeError):
            continue
        if f"{found.__module__}.{found.__qualname__}" in rule.types:
            return found
        raise LawBroken(f"{name} calls itself {found.__module__}.{found.__qualname__}: give that name")
    raise LawBroken(f"there is no class {' or '.join(rule.types)}")
