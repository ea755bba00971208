"""Magnitude threshold: elements of at most a given magnitude are masked.

    keep where |w| > t

Han et al., "Learning both Weights and Connections for Efficient Neural Networks", NIPS 2015, section 3.
Masks have the shape of the parameter.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from attrs import field, frozen

from secateur.config.validators import non_negative
from secateur.hookspecs import hookimpl
from secateur.pruning.base import Moment, Network, Pruner
from secateur.pruning.spelling import Spelling
from secateur.pruning.weights import WeightPruner, above, by_name, each

if TYPE_CHECKING:
    from torch import Tensor


@frozen(kw_only=True)
class ThresholdPruner(WeightPruner):
    """Masks the elements of at most a given magnitude.

    `thresholds`: {name or glob: threshold}, or one for all parameters.
    """

    name: ClassVar[str] = "threshold"
    summary: ClassVar[str] = "elements of at most a given magnitude (Han et al. 2015)"
    spellings: ClassVar[tuple[Spelling, ...]] = (Spelling(name="MagnitudeParameterPruner"),)
    key: ClassVar[str] = "thresholds"

    thresholds: float | dict[str, float] = field(validator=each(non_negative))

    @property
    def patterns(self) -> Mapping[str, float]:
        """The thresholds by pattern."""
        return by_name(self.thresholds)

    def keep(self, network: Network, moment: Moment, name: str, value: Any) -> Tensor:
        """What is above the parameter's threshold."""
        return above(network.parameters[name], value, name)


@hookimpl
def secateur_pruners() -> list[type[Pruner]]:
    """Provide "threshold"."""
    return [ThresholdPruner]
