"""Laws of pruners: they are frozen values, and they decide on units that exist, the same each time."""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np
from attrs import field, frozen

from secateur.coupling.analysis import Coupling
from secateur.pruning.base import Array, Decision, Moment, Place, Pruner
from secateur.pruning.naming import resolve
from secateur.pruning.rate import RatedPruner
from secateur.testing.broken import LawBroken, NotTried
from secateur.testing.examples import examples
from secateur.thinning.planner import couple, scorer
from secateur.thinning.state import named_parameters

MOMENTS = [Moment(epoch=epoch, start=0, end=4) for epoch in range(4)]


@frozen(eq=False)
class Shown:
    """What a pruner sees of a network: see `secateur.pruning.base.Network`."""

    model: Any
    coupling: Coupling
    memory: dict[str, float] = field(factory=dict)

    @property
    def dims(self) -> Sequence[Any]:
        """The dims."""
        return self.coupling.dims

    @property
    def original(self) -> Mapping[str, int]:
        """Their sizes; nothing has left yet."""
        return {dim.name: len(dim) for dim in self.coupling.dims}

    @property
    def thinned(self) -> bool:
        """Nothing has left yet."""
        return False

    @property
    def staying(self) -> Mapping[str, str]:
        """What cannot be pruned, and why."""
        return self.coupling.staying

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The parameters by name."""
        return named_parameters(self.model)

    @property
    def generator(self) -> Any:
        """Always the same random numbers."""
        import torch

        return torch.Generator().manual_seed(0)

    def resolve(self, pattern: str) -> Sequence[str]:
        """The names of the parameters that a name or glob means."""
        return resolve(pattern, self.parameters)

    def factor(self, parameter: str) -> Any:
        """Nothing was masked before."""
        return None

    def scores(self, dim: int, criterion: str, places: Sequence[Place] | None = None) -> Array:
        """The scores of one dim's units, shape (units,)."""
        found: Array = scorer(self.model, self.coupling, criterion)(dim, places)
        return found


def is_a_value(pruner: type[Pruner]) -> None:
    """It is a frozen attrs class with a name: what a schedule says is all there is to it."""
    if not (isinstance(pruner.name, str) and pruner.name):
        raise LawBroken(f"{pruner.__name__} has the name {pruner.name!r}")
    if not attrs.has(pruner):
        raise LawBroken(f"{pruner.__name__} is no attrs class: decorate it with @attrs.frozen(kw_only=True)")
    kind: Any = pruner
    made = _made(kind)
    for each in attrs.fields(kind):
        try:
            setattr(made, each.name, getattr(made, each.name))
        except attrs.exceptions.FrozenInstanceError:
            continue
        raise LawBroken(f"{pruner.__name__} can be changed after it is made: decorate it with @attrs.frozen")


def decides_on_units_that_exist(pruner: type[Pruner]) -> None:
    """A decision names dims by position and sorted units of them, and leaves something of each dim."""
    for made, network, moment in _asked(pruner):
        for position, units in made.decide(network, moment).units.items():
            if not 0 <= position < len(network.dims):
                raise LawBroken(f"{pruner.name} decided on dim {position} of {len(network.dims)}")
            size, chosen = len(network.dims[position]), np.asarray(units)
            if len(chosen) and not (0 <= chosen.min() <= chosen.max() < size and (np.diff(chosen) > 0).all()):
                raise LawBroken(f"{pruner.name} chose the units {chosen} of {size}; sorted ones that exist are due")
            if len(chosen) >= size:
                raise LawBroken(f"{pruner.name} leaves nothing of {network.dims[position].name}")


def deciding_is_repeatable(pruner: type[Pruner]) -> None:
    """Asked twice at one moment, it gives one answer."""
    for made, network, moment in _asked(pruner):
        first, second = made.decide(network, moment), made.decide(network, moment)
        if not _same(first, second):
            raise LawBroken(f"{pruner.name} decided {first}, then {second}")


def _same(first: Decision, second: Decision) -> bool:
    """Whether two decisions mask the same."""
    units = [{k: list(v) for k, v in decision.units.items()} for decision in (first, second)]
    if units[0] != units[1] or first.factors.keys() != second.factors.keys() or first.whole != second.whole:
        return False
    return all(bool((factor == second.factors[name]).all()) for name, factor in first.factors.items())


def _asked(pruner: type[Pruner]) -> Any:
    made = _made(pruner)
    for model, inputs in examples():
        network = Shown(model, couple(model, inputs))
        for moment in MOMENTS:
            yield made, network, moment


def _made(pruner: type[Pruner]) -> Pruner:
    """A pruner: of fields without a default `weights` is "*", a choice its first option, anything else one half.

    A rated one that says no share by these gets `sparsity`.
    """
    kind: Any = pruner
    needed = {field.name: _value(pruner, field.name) for field in attrs.fields(kind) if field.default is attrs.NOTHING}
    shares = {"sparsity", "initial_sparsity"}
    if issubclass(pruner, RatedPruner) and attrs.fields_dict(kind)["sparsity"].init and not shares & needed.keys():
        needed["sparsity"] = 0.5
    if "weights" in attrs.fields_dict(kind):
        needed["weights"] = "*"
    try:
        return pruner(**needed)
    except Exception as error:
        shown = ", ".join(f"{name}={value!r}" for name, value in needed.items())
        raise NotTried(f"the kit cannot make a {pruner.__name__}({shown}): {error}") from error


def _value(pruner: type[Pruner], name: str) -> Any:
    """What the kit says for a field that needs a value."""
    hint = typing.get_type_hints(pruner).get(name)
    return typing.get_args(hint)[0] if typing.get_origin(hint) is typing.Literal else 0.5
