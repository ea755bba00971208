"""Penalties by parameter: {name or glob: strength}, or {name or glob: [strength, group type]}."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from attrs import field, frozen

from secateur.pruning.base import Moment, Network
from secateur.pruning.regularizer import Regularizer
from secateur_pruners.regularizers.groups import GROUPS, Cut, check_shape, group_named
from secateur_pruners.regularizers.lookup import Remembered, by_parameter

if TYPE_CHECKING:
    from torch import Tensor

V = TypeVar("V")


def check_strength(name: str, strength: Any) -> None:
    """Raise `ValueError` if a strength is not a finite number from 0 on."""
    if isinstance(strength, bool) or not isinstance(strength, int | float):
        raise ValueError(f"of {name!r}: expected a number, got {strength!r}")
    if not 0 <= strength < float("inf"):
        raise ValueError(f"of {name!r}: must not be negative, nor infinite, got {strength}")


def strengths(instance: Any, attribute: Any, value: Mapping[str, float]) -> None:
    """Validate {name: strength}."""
    if not value:
        raise ValueError("must not be empty")
    for name, strength in value.items():
        check_strength(name, strength)


def strengths_and_groups(instance: Any, attribute: Any, value: Mapping[str, tuple[float, str]]) -> None:
    """Validate {name: [strength, group type]}."""
    if not value:
        raise ValueError("must not be empty")
    for name, pair in value.items():
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise ValueError(f"of {name!r}: expected [strength, group type], got {pair!r}")
        check_strength(name, pair[0])
        try:
            group_named(pair[1])
        except ValueError as error:
            raise ValueError(f"of {name!r}: {error}") from None


@frozen(kw_only=True)
class RegimRegularizer(Regularizer, Generic[V]):
    """Base of regularizers with `reg_regims`; the penalties of all the parameters it names add up."""

    _found: Remembered[dict[str, V]] = field(factory=Remembered, init=False, eq=False, repr=False)

    @property
    @abstractmethod
    def regims(self) -> Mapping[str, V]:
        """`reg_regims`."""

    @abstractmethod
    def penalty(self, weight: Tensor, regim: V) -> Tensor:
        """The penalty of one parameter, a scalar."""

    def by_parameter(self, network: Network) -> dict[str, V]:
        """{parameter: what `reg_regims` says of it}."""
        return self._found.of(network, lambda network: by_parameter(self.regims, network))

    def check_names(self, network: Network) -> None:
        """Every name must match a parameter."""
        by_parameter(self.regims, network)

    def loss(self, network: Network, moment: Moment) -> Tensor:
        """The sum of the penalties."""
        import torch

        parameters = network.parameters
        found = self.by_parameter(network)
        return torch.stack([self.penalty(parameters[name], regim) for name, regim in found.items()]).sum()


@frozen(kw_only=True)
class GroupRegularizer(RegimRegularizer[tuple[float, str]]):
    """Base of regularizers of groups: `reg_regims` is {name or glob: [strength, group type]}."""

    reg_regims: dict[str, tuple[float, str]] = field(validator=strengths_and_groups)

    @property
    def regims(self) -> Mapping[str, tuple[float, str]]:
        """`reg_regims`."""
        return self.reg_regims

    def check_names(self, network: Network) -> None:
        """Every name must match parameters that have such groups."""
        for name, (_, group) in by_parameter(self.reg_regims, network).items():
            check_shape(name, network.parameters[name], group_named(group))

    def cuts(self, group: str) -> tuple[Cut, ...]:
        """The cuts of a group type."""
        return GROUPS[group_named(group)]
