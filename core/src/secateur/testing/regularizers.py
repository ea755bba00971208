"""Laws of regularizers: values, whose loss is a finite scalar with the right gradient, and that change nothing.

The kit makes one of each class for each example network: fields without a default are one half, and where they are
mappings every weight of two axes and more is named. Fields of a few texts are tried with each of them.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping
from types import NoneType
from typing import Any, Literal

import attrs
import numpy as np

from secateur.config.structure import annotation
from secateur.pruning.base import Decision, Moment
from secateur.pruning.regularizer import Regularizer
from secateur.testing.broken import LawBroken, NotTried
from secateur.testing.examples import examples
from secateur.testing.pruners import Shown
from secateur.testing.values import unchanged
from secateur.thinning.planner import couple

MOMENTS = [Moment(epoch=0, start=0, end=4), Moment(epoch=2, start=0, end=4, step=1, steps=3)]
GROUP = "filters"
"""Put where a mapping wants a text beside a number."""
STEP = 1e-6


def is_a_value(regularizer: type[Regularizer]) -> None:
    """It is a frozen attrs class with a name: what a schedule says is all there is to it."""
    if not (isinstance(regularizer.name, str) and regularizer.name):
        raise LawBroken(f"{regularizer.__name__} has the name {regularizer.name!r}")
    kind: Any = regularizer
    if not attrs.has(kind):
        raise LawBroken(f"{regularizer.__name__} is no attrs class: decorate it with @attrs.frozen(kw_only=True)")
    made, _ = next(_made(regularizer))
    for each in attrs.fields(kind):
        try:
            setattr(made, each.name, getattr(made, each.name))
        except attrs.exceptions.FrozenInstanceError:
            continue
        raise LawBroken(f"{regularizer.__name__} can be changed after it is made: decorate it with @attrs.frozen")


def losses_are_scalars(regularizer: type[Regularizer]) -> None:
    """A loss is one finite number that can be differentiated; asked twice at one moment, it is the same."""
    for made, network in _made(regularizer):
        for moment in MOMENTS:
            loss, again = made.loss(network, moment), made.loss(network, moment)
            if tuple(loss.shape) != () or not loss.is_floating_point() or not loss.requires_grad:
                raise LawBroken(
                    f"{made.name} gave {loss.dtype} of shape {tuple(loss.shape)}"
                    f"{'' if loss.requires_grad else ' without a gradient'}; a scalar that can be differentiated is due"
                )
            if not bool(loss.isfinite()):
                raise LawBroken(f"{made.name} gave the loss {loss.item()}")
            if loss.item() != again.item():
                raise LawBroken(f"{made.name} gave the loss {loss.item()}, then {again.item()}")


def gradients_are_those_of_the_loss(regularizer: type[Regularizer]) -> None:
    """Along a random direction the loss changes as its gradient says; where all weights are zero it is finite."""
    import torch

    for made, network in _made(regularizer):
        parameters = list(network.parameters.values())
        generator = torch.Generator().manual_seed(2)
        along = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in parameters]
        for moment in MOMENTS:
            said = sum(float((g * d).sum()) for g, d in zip(_gradients(made, network, moment), along, strict=True))
            ahead, behind = (_moved(made, network, moment, along, sign * STEP) for sign in (1, -1))
            seen = (ahead - behind) / (2 * STEP)
            if abs(said - seen) > 1e-5 * max(abs(said), abs(seen), abs(ahead), 1e-3):
                raise LawBroken(f"{made.name} changes by {seen:.6g} where its gradient says {said:.6g}")
        with torch.no_grad():
            for parameter in parameters:
                parameter.zero_()
        if not all(bool(gradient.isfinite().all()) for gradient in _gradients(made, network, MOMENTS[0])):
            raise LawBroken(f"{made.name} has a gradient that is not finite where all weights are zero")


def asking_changes_nothing(regularizer: type[Regularizer]) -> None:
    """Asking for a loss or a decision leaves the model as it was."""
    for made, network in _made(regularizer):
        with unchanged(network.model, f"the regularizer {made.name}"):
            made.check_names(network)
            for moment in MOMENTS:
                made.loss(network, moment)
                made.decide(network, moment)


def decides_on_what_exists(regularizer: type[Regularizer]) -> None:
    """A decision names dims by position and sorted units of them, and factors that fit parameters."""
    for made, network in _made(regularizer):
        for moment in MOMENTS:
            made.loss(network, moment)
            decision = made.decide(network, moment)
            if decision is not None:
                _check_units(made.name, decision, network)
                _check_factors(made.name, decision, network)


def _check_units(name: str, decision: Decision, network: Shown) -> None:
    for position, units in decision.units.items():
        if not 0 <= position < len(network.dims):
            raise LawBroken(f"{name} decided on dim {position} of {len(network.dims)}")
        size, chosen = len(network.dims[position]), np.asarray(units)
        if len(chosen) and not (0 <= chosen.min() <= chosen.max() < size and (np.diff(chosen) > 0).all()):
            raise LawBroken(f"{name} chose the units {chosen} of {size}; sorted ones that exist are due")
        if len(chosen) >= size:
            raise LawBroken(f"{name} leaves nothing of {network.dims[position].name}")


def _check_factors(name: str, decision: Decision, network: Shown) -> None:
    import torch

    for parameter, factor in decision.factors.items():
        if parameter not in network.parameters:
            raise LawBroken(f"{name} decided on {parameter!r}, and there is no such parameter")
        shape = network.parameters[parameter].shape
        try:
            fits = torch.empty(shape, device="meta").mul(torch.empty(factor.shape, device="meta")).shape == shape
        except RuntimeError:
            fits = False
        if not fits:
            raise LawBroken(f"{name} gave {parameter} of shape {tuple(shape)} a factor of {tuple(factor.shape)}")
        if not (factor.dtype == torch.bool or (factor.is_floating_point() and bool(factor.isfinite().all()))):
            raise LawBroken(f"{name} gave {parameter} a factor of {factor.dtype}; bool or finite numbers are due")


def _gradients(made: Regularizer, network: Shown, moment: Moment) -> list[Any]:
    import torch

    parameters = list(network.parameters.values())
    found = torch.autograd.grad(made.loss(network, moment), parameters, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]


def _moved(made: Regularizer, network: Shown, moment: Moment, along: list[Any], by: float) -> float:
    """The loss with all parameters moved; they are put back."""
    import torch

    parameters = list(network.parameters.values())
    before = [parameter.detach().clone() for parameter in parameters]
    with torch.no_grad():
        for parameter, direction in zip(parameters, along, strict=True):
            parameter += by * direction
        found = made.loss(network, moment).item()
        for parameter, value in zip(parameters, before, strict=True):
            parameter.copy_(value)
    return found


def _made(regularizer: type[Regularizer]) -> Iterator[tuple[Regularizer, Shown]]:
    """Regularizers that fit the example networks, each with its own network."""
    kind: Any = regularizer
    fields = [each for each in attrs.fields(kind) if each.init]
    tried, reason = 0, ""
    for number, (model, _) in enumerate(examples()):
        weights = [name for name, tensor in model.named_parameters() if tensor.dim() > 1]
        needed = {f.name: _value(annotation(kind, f), weights) for f in fields if f.default is attrs.NOTHING}
        for variant in ({}, *({f.name: text} for f in fields for text in _texts(annotation(kind, f)))):
            fresh, inputs = examples()[number]
            network = Shown(fresh, couple(fresh, inputs))
            try:
                made = kind(**(needed | variant))
                made.check_names(network)
            except Exception as error:  # noqa: BLE001 - not every network has what every regularizer is for
                reason = str(error)
                continue
            tried += 1
            yield made, network
    if not tried:
        raise NotTried(f"the kit cannot make a {regularizer.__name__} that fits any example network: {reason}")


def _value(hint: Any, weights: list[str]) -> Any:
    """What a required field is given: one half, or one half for each weight."""
    if typing.get_origin(hint) in (dict, Mapping):
        return dict.fromkeys(weights, _value(typing.get_args(hint)[1], weights))
    if typing.get_origin(hint) is tuple:
        return tuple(_value(each, weights) for each in typing.get_args(hint))
    return GROUP if hint is str else 0.5


def _texts(hint: Any) -> tuple[Any, ...]:
    """The texts that a field may be, if it may be one of a few."""
    if typing.get_origin(hint) is Literal:
        return typing.get_args(hint)
    return tuple(text for each in typing.get_args(hint) if each is not NoneType for text in _texts(each))
