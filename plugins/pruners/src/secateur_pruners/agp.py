"""Automated gradual pruning: the masked share follows a cubic curve over the window.

Zhu & Gupta, "To prune, or not to prune", 2017, equation 1:

    s(t) = s_f + (s_i - s_f) * (1 - (t - t_0) / span) ** 3

The span ends at the last epoch of the window at which the pruner is asked, so that it reaches s_f exactly there.
"""

from __future__ import annotations

from typing import ClassVar

from attrs import field, frozen

from secateur.config.validators import in_range
from secateur.hookspecs import hookimpl
from secateur.pruning.base import Moment, Pruner, UnitPruner


@frozen(kw_only=True)
class AutomatedGradualPruner(UnitPruner):
    """Masks the lowest-ranked units of some dims, `initial_sparsity` of them at first, `final_sparsity` at last."""

    name: ClassVar[str] = "agp"
    summary: ClassVar[str] = "gradual pruning of units along a cubic curve (Zhu & Gupta 2017)"

    initial_sparsity: float = field(validator=in_range(0, 1, high_open=True))
    final_sparsity: float = field(validator=in_range(0, 1, high_open=True))

    def __attrs_post_init__(self) -> None:
        if self.final_sparsity < self.initial_sparsity:
            raise ValueError(
                f"final_sparsity {self.final_sparsity} is less than initial_sparsity {self.initial_sparsity}"
            )

    def check(self, window: Moment) -> None:
        """A window with a single epoch cannot hold a curve."""
        if window.last == window.start:
            raise ValueError("agp needs at least two epochs at which it prunes: widen the window or lower frequency")

    def share(self, moment: Moment) -> float:
        """The share of units masked at a moment.

        >>> pruner = AutomatedGradualPruner(initial_sparsity=0.05, final_sparsity=0.7)
        >>> [round(pruner.share(Moment(epoch=e, start=2, end=20)), 6) for e in (2, 3, 10, 19)]
        [0.05, 0.158091, 0.603552, 0.7]
        """
        done = (moment.epoch - moment.start) / (moment.last - moment.start)
        return self.final_sparsity + (self.initial_sparsity - self.final_sparsity) * (1 - done) ** 3


@hookimpl
def secateur_pruners() -> list[type[Pruner]]:
    """Provide "agp"."""
    return [AutomatedGradualPruner]
