"""Pruners within weights: they mask elements of some parameters, which lose nothing of their shape."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import attrs

from secateur.config.validators import Validator, non_empty
from secateur.errors import PlanError
from secateur.pruning.base import Decision, Moment, Network, Pruner
from secateur.pruning.lowest import lowest as lowest
from secateur.pruning.lowest import not_a_number
from secateur.pruning.naming import GLOB

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")
Refusal = Callable[["Tensor"], str]
"""Says of a parameter why it cannot be pruned so; nothing if it can."""


class WeightPruner(Pruner):
    """Base of pruners that mask elements within parameters, each for itself.

    Subclasses are frozen attrs classes. They say by `patterns` which parameters they mean, and by `keep` what stays.
    """

    key: ClassVar[str] = "weights"
    """The key under which parameters are named, for messages."""

    @property
    @abstractmethod
    def patterns(self) -> Mapping[str, Any]:
        """{name or glob: what the pruner is told about the parameters it means}."""

    @abstractmethod
    def keep(self, network: Network, moment: Moment, name: str, value: Any) -> Tensor:
        """The factor of one parameter: bool, of its shape or one that broadcasts to it, False for what is masked."""

    def refusal(self, tensor: Tensor) -> str:
        """Why a parameter cannot be pruned so; nothing if it can."""
        return ""

    def targets(self, network: Network) -> dict[str, Any]:
        """The parameters it prunes, each with what was told about it; see `told`."""
        return told(network, self.patterns, self.key, self.refusal)

    def check_names(self, network: Network) -> None:
        """Every pattern must match something that can be pruned."""
        self.targets(network)

    def decide(self, network: Network, moment: Moment) -> Decision:
        """Ask for the factor of each target."""
        targets = self.targets(network)
        return Decision(factors={name: self.keep(network, moment, name, value) for name, value in targets.items()})


def by_weights(weights: str | Sequence[str], value: T) -> dict[str, T]:
    """One value for all patterns of a list, or for a lone one."""
    return dict.fromkeys([weights] if isinstance(weights, str) else weights, value)


def by_name(values: T | Mapping[str, T]) -> Mapping[str, T]:
    """A value by pattern; a lone one counts for all parameters."""
    return values if isinstance(values, Mapping) else {"*": values}


def each(validator: Validator) -> Validator:
    """Make a validator of a lone number or of all values of a mapping, which must not be empty."""

    def validate(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        if not isinstance(value, Mapping):
            validator(instance, attribute, value)
            return
        non_empty(instance, attribute, value)
        for pattern, element in value.items():
            try:
                validator(instance, attribute, element)
            except ValueError as error:
                raise ValueError(f"{pattern!r} {error}") from None

    return validate


def told(network: Network, patterns: Mapping[str, T], key: str, refusal: Refusal = lambda tensor: "") -> dict[str, T]:
    """What patterns say about parameters: {name of a parameter: the value that counts}, in the order of parameters.

    A name wins over a glob, a glob over "*"; of several globs the last one counts. A parameter that cannot be pruned
    is refused where it is named, and passed over where a glob means it. Raises `PlanError` for that, and for a
    pattern that means nothing.
    """
    ranked: dict[str, tuple[int, T]] = {}
    for pattern, value in patterns.items():
        where = f"{key}[{pattern!r}]"
        try:
            found = network.resolve(pattern)
        except PlanError as error:
            raise PlanError(error.what, where=where, hint=error.hint) from None
        exact = found == [pattern] or not GLOB & set(pattern)
        reasons = {name: _unfit(network.parameters[name]) or refusal(network.parameters[name]) for name in found}
        fitting = [name for name in found if not reasons[name]]
        if not fitting or (exact and len(fitting) < len(found)):
            name, reason = next((name, reason) for name, reason in reasons.items() if reason)
            raise PlanError(f"{name!r} cannot be pruned so: {reason}", where=where)
        rank = 2 if exact else int(pattern != "*")
        for name in fitting:
            if name not in ranked or ranked[name][0] <= rank:
                ranked[name] = rank, value
    return {name: ranked[name][1] for name in network.parameters if name in ranked}


def _unfit(tensor: Tensor) -> str:
    if tensor.is_meta:
        return "it has no data (it is on the meta device); load the weights first"
    return "" if tensor.is_floating_point() else f"its elements are {str(tensor.dtype).removeprefix('torch.')}"


def above(tensor: Tensor, threshold: float, where: str, equal: bool = False) -> Tensor:
    """The mask that is True where the magnitude is greater than a threshold, or `equal` to it.

    Raises `PlanError` if a weight is not a number.
    """
    values = magnitudes(tensor, where)
    return values >= threshold if equal else values > threshold


def magnitudes(tensor: Tensor, where: str) -> Tensor:
    """The absolute values, without a history; `PlanError` if one is not a number."""
    values = tensor.detach()
    if values.isnan().any():
        raise not_a_number(where)
    return values.abs()


def remembered(network: Network, key: str, where: str, measure: Callable[[], float]) -> float:
    """A number that is measured once and kept with the run; `PlanError` if it is none."""
    if key not in network.memory:
        measured = float(measure())
        if not math.isfinite(measured):
            raise PlanError("some weights are not finite", where=where, hint="has training diverged?")
        network.memory[key] = measured
    return network.memory[key]


def deviation(tensor: Tensor) -> float:
    """The standard deviation of the elements (of n - 1 degrees of freedom); 0 for a single one."""
    return float(tensor.detach().std()) if tensor.numel() > 1 else 0.0
