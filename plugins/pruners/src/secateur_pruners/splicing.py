"""Splicing: small elements are masked, and come back when they have grown, with hysteresis between two thresholds.

    a = (mean|w| + s * std|w|) * low,  b = (mean|w| + s * std|w|) * high
    mask = 0 where |w| < a, as before where a <= |w| < b, 1 where |w| >= b

Guo, Yao & Chen, "Dynamic Network Surgery for Efficient DNNs", NIPS 2016, equation 3. Mean and deviation are measured
the first time the pruner is asked. Elements can only come back if training goes on under the mask, so that it is put
on in the forward pass only (`mask_on_forward_only`). Masks have the shape of the parameter.
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
class SplicingPruner(WeightPruner):
    """Masks elements below one threshold and brings them back above another one.

    `sensitivities`: {name or glob: s}, or one for all parameters; with a `sensitivity_multiplier` m, s grows with the
    epochs since the window's start: s * (1 + m * epochs).
    """

    name: ClassVar[str] = "splicing"
    summary: ClassVar[str] = "small elements, which come back when they grow (dynamic network surgery, Guo et al. 2016)"
    spellings: ClassVar[tuple[Spelling, ...]] = (
        Spelling(name="SplicingPruner", keys={"low_thresh_mult": "low", "hi_thresh_mult": "high"}),
    )
    key: ClassVar[str] = "sensitivities"

    sensitivities: float | dict[str, float] = field(validator=each(non_negative))
    low: float = field(default=0.9, validator=non_negative)
    high: float = field(default=1.1, validator=non_negative)
    sensitivity_multiplier: float = field(default=0.0, validator=non_negative)

    def __attrs_post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"low {self.low} is greater than high {self.high}")

    @property
    def patterns(self) -> Mapping[str, float]:
        """The sensitivities by pattern."""
        return by_name(self.sensitivities)

    def keep(self, network: Network, moment: Moment, name: str, value: Any) -> Tensor:
        """What is large, and what lies between and was kept before."""
        parameter = network.parameters[name].detach()
        s = value * (1 + self.sensitivity_multiplier * (moment.epoch - moment.start))
        mean = remembered(network, f"mean:{name}", name, lambda: float(parameter.abs().mean()))
        std = remembered(network, f"std:{name}", name, lambda: deviation(parameter.abs()))
        scale = mean + s * std
        before = network.factor(name)
        low = above(parameter, scale * self.low, name, equal=True)
        return low if before is None else (low & (before != 0)) | above(parameter, scale * self.high, name, equal=True)


@hookimpl
def secateur_pruners() -> list[type[Pruner]]:
    """Provide "splicing"."""
    return [SplicingPruner]
