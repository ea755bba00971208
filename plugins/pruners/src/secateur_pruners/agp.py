"""Automated gradual pruning of units: the masked share follows a cubic curve over the window.

Zhu & Gupta, "To prune, or not to prune", 2017; the curve is in `secateur.pruning.rate`.
"""

from __future__ import annotations

from typing import ClassVar

from attrs import field, frozen

from secateur.config.validators import in_range
from secateur.hookspecs import hookimpl
from secateur.pruning.base import Pruner
from secateur.pruning.units import UnitPruner


@frozen(kw_only=True)
class AutomatedGradualPruner(UnitPruner):
    """Masks the lowest-ranked units of some dims, `initial_sparsity` of them at first, `final_sparsity` at last."""

    name: ClassVar[str] = "agp"
    summary: ClassVar[str] = "gradual pruning of units along a cubic curve (Zhu & Gupta 2017)"

    sparsity: None = field(default=None, init=False)
    initial_sparsity: float = field(validator=in_range(0, 1, high_open=True))
    final_sparsity: float = field(validator=in_range(0, 1, high_open=True))

    def check_shares(self) -> None:
        """The share grows."""
        if self.final_sparsity < self.initial_sparsity:
            raise ValueError(
                f"final_sparsity {self.final_sparsity} is less than initial_sparsity {self.initial_sparsity}"
            )


@hookimpl
def secateur_pruners() -> list[type[Pruner]]:
    """Provide "agp"."""
    return [AutomatedGradualPruner]
