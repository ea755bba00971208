"""Baidu's pruning of recurrent networks: one threshold that rises slowly, then faster.

    theta = 2 q f / (2 (r - t0) + 3 (t1 - r)),  phi = m theta
    threshold(t) = theta (t - t0 + 1) / f                           before the ramp, t < r
                   (theta (r - t0 + 1) + phi (t - r + 1)) / f       from r on

Narang et al., "Exploring Sparsity in Recurrent Neural Networks", ICLR 2017, section 3 and algorithm 1. `q` is the 90th
percentile of |w| in a dense network that was trained already. Time counts in epochs as Distiller has it, or in
mini-batches as in the paper, where f cancels out. Masks have the shape of the parameter.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from attrs import field, frozen

from secateur.config.validators import non_empty, non_negative, positive
from secateur.hookspecs import hookimpl
from secateur.pruning.base import Moment, Network, Pruner
from secateur.pruning.spelling import Spelling
from secateur.pruning.weights import WeightPruner, above, by_weights

if TYPE_CHECKING:
    from torch import Tensor


@frozen(kw_only=True)
class BaiduRNNPruner(WeightPruner):
    """Masks elements of at most a threshold that rises over the window.

    It rises faster from `ramp_epoch_offset` epochs after the window's start on, by a factor `ramp_slope_mult`.
    `by`: "epoch", or "step" for a threshold of its own at each mini-batch at which the pruner is asked.
    """

    name: ClassVar[str] = "baidu_rnn"
    summary: ClassVar[str] = "elements below a threshold that rises over the window (Narang et al. 2017)"
    spellings: ClassVar[tuple[Spelling, ...]] = (Spelling(name="BaiduRNNPruner"),)

    q: float = field(validator=positive)
    ramp_epoch_offset: int = field(validator=non_negative)
    ramp_slope_mult: float = field(validator=positive)
    weights: str | list[str] = field(validator=non_empty)
    by: Literal["epoch", "step"] = "epoch"

    def check(self, window: Moment) -> None:
        """The ramp must begin before the window ends."""
        if window.start + self.ramp_epoch_offset >= window.end:
            raise ValueError(
                f"{self.name} would ramp from epoch {window.start + self.ramp_epoch_offset} on, "
                f"but its window ends before epoch {window.end}: lower ramp_epoch_offset"
            )

    def threshold(self, moment: Moment) -> float:
        """The threshold at a moment, by the equations above."""
        scale, frequency = (moment.steps, 1) if self.by == "step" else (1, moment.frequency)
        start, end = moment.start * scale, moment.end * scale
        now = moment.epoch * scale + (moment.step if self.by == "step" else 0)
        ramp = start + self.ramp_epoch_offset * scale
        theta = 2 * self.q * frequency / (2 * (ramp - start) + 3 * (end - ramp))
        if now < ramp:
            return theta * (now - start + 1) / frequency
        return (theta * (ramp - start + 1) + self.ramp_slope_mult * theta * (now - ramp + 1)) / frequency

    @property
    def patterns(self) -> Mapping[str, None]:
        """All weights have one threshold."""
        return by_weights(self.weights, None)

    def keep(self, network: Network, moment: Moment, name: str, value: Any) -> Tensor:
        """What is above the threshold."""
        return above(network.parameters[name], self.threshold(moment), name)


@hookimpl
def secateur_pruners() -> list[type[Pruner]]:
    """Provide "baidu_rnn"."""
    return [BaiduRNNPruner]
