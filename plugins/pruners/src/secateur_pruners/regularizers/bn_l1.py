"""Network slimming: strength * sum |gamma| over the scales of batch norm (and other norms), so that channels fade.

Liu et al., "Learning Efficient Convolutional Networks through Network Slimming", ICCV 2017, equation 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from attrs import field, frozen

from secateur.config.validators import non_negative
from secateur.errors import PlanError
from secateur.hookspecs import hookimpl
from secateur.pruning.base import Moment, Network
from secateur.pruning.regularizer import Regularizer
from secateur_pruners.regularizers.lookup import Remembered, targets, zero_like

if TYPE_CHECKING:
    from torch import Tensor


@frozen(kw_only=True)
class NormScaleRegularizer(Regularizer):
    """Adds strength * sum |gamma| over the scales of the norms of some dims, or over `weights` named one by one.

    `dims`: globs over dim or parameter names. The scales of a dim are its one-dimensional weights with a bias or a
    running mean beside them. `weights`: names or globs of one-dimensional parameters; then `dims` is not looked at.
    """

    name: ClassVar[str] = "bn_l1"
    summary: ClassVar[str] = "sum of the absolute scales of batch norm: network slimming (Liu et al. 2017)"

    strength: float = field(validator=non_negative)
    dims: str | list[str] = "*"
    weights: str | list[str] | None = None
    _found: Remembered[list[str]] = field(factory=Remembered, init=False, eq=False, repr=False)

    def scales(self, network: Network) -> list[str]:
        """The names of the scales."""
        return self._found.of(network, self._find)

    def check_names(self, network: Network) -> None:
        """Every name must match, and something must be found."""
        self._find(network)

    def loss(self, network: Network, moment: Moment) -> Tensor:
        """Strength * sum |gamma|."""
        import torch

        names = self.scales(network)
        if not names:  # all of it was thinned to a last unit
            return zero_like(network)
        return self.strength * torch.stack([network.parameters[name].abs().sum() for name in names]).sum()

    def _find(self, network: Network) -> list[str]:
        if self.weights is not None:
            return self._named([self.weights] if isinstance(self.weights, str) else self.weights, network)
        places = [place for i in targets(self.dims, network) for place in network.dims[i].slices]
        present = {place[0] for place in places}
        found = [name for name in dict.fromkeys(name for name, _ in places) if _is_scale(name, present, network)]
        if not found and not network.thinned:
            raise PlanError(
                "no norm writes any of these dims", where=f"dims {self.dims!r}", hint="name the scales as weights"
            )
        return found

    def _named(self, patterns: list[str], network: Network) -> list[str]:
        found = dict.fromkeys(name for pattern in patterns for name in network.resolve(pattern))
        for name in found:
            if network.parameters[name].dim() != 1:
                shape = tuple(network.parameters[name].shape)
                raise PlanError(
                    f"a scale has one axis, and this has the shape {shape}", where=name, hint="name the norm's weight"
                )
        return list(found)


def _is_scale(name: str, present: set[str], network: Network) -> bool:
    module, _, own = name.rpartition(".")
    if own != "weight" or name not in network.parameters or network.parameters[name].dim() != 1:
        return False
    beside: list[Any] = [f"{module}.{other}" if module else other for other in ("bias", "running_mean")]
    return any(other in present for other in beside)


@hookimpl
def secateur_regularizers() -> list[type[Regularizer]]:
    """Provide "bn_l1"."""
    return [NormScaleRegularizer]
