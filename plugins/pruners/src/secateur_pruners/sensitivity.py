"""Sensitivity: the threshold of a parameter is a multiple of its standard deviation.

    keep where |w| > s * std(w)

Han et al., "Learning both Weights and Connections for Efficient Neural Networks", NIPS 2015, section 3: "a quality
parameter multiplied by the standard deviation of a layer's weights". The deviation is measured the first time the
pruner is asked, and holds from then on: what was masked would narrow it. Masks have the shape of the parameter.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from attrs import field, frozen

from secateur.config.validators import non_negative
from secateur.hookspecs import hookimpl
from secateur.pruning.base import Moment, Network, Pruner
from secateur.pruning.spelling import Spelling
from secateur.pruning.weights import WeightPruner, above, by_name, deviation, each, remembered

if TYPE_CHECKING:
    from torch import Tensor


@frozen(kw_only=True)
class SensitivityPruner(WeightPruner):
    """Masks elements of at most a multiple of their parameter's standard deviation.

    `sensitivities`: {name or glob: s}, or one for all parameters.
    """

    name: ClassVar[str] = "sensitivity"
    summary: ClassVar[str] = "elements of at most s standard deviations of their parameter (Han et al. 2015)"
    spellings: ClassVar[tuple[Spelling, ...]] = (Spelling(name="SensitivityPruner"),)
    key: ClassVar[str] = "sensitivities"

    sensitivities: float | dict[str, float] = field(validator=each(non_negative))

    @property
    def patterns(self) -> Mapping[str, float]:
        """The sensitivities by pattern."""
        return by_name(self.sensitivities)

    def keep(self, network: Network, moment: Moment, name: str, value: Any) -> Tensor:
        """What is above the parameter's threshold."""
        parameter = network.parameters[name]
        std = remembered(network, f"std:{name}", name, lambda: deviation(parameter))
        return above(parameter, value * std, name)


@hookimpl
def secateur_pruners() -> list[type[Pruner]]:
    """Provide "sensitivity"."""
    return [SensitivityPruner]
