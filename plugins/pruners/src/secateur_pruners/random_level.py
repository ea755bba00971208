"""A random share of units: at each call a level is drawn, and so many of the lowest-ranked units are masked.

    level ~ Uniform(low, high) of sparsity_range; int(level * units) leave, as by "ranked"

It is meant for masks that hold for some mini-batches only, as a regularizer of training.
"""

from __future__ import annotations

from typing import Any, ClassVar

from attrs import field, frozen

from secateur.hookspecs import hookimpl
from secateur.pruning.base import Moment, Network, Pruner
from secateur.pruning.spelling import Spelling
from secateur.pruning.units import UnitPruner
from secateur_pruners.ranked import STRUCTURES


def _a_range(instance: Any, attribute: Any, value: tuple[float, ...]) -> None:
    if len(value) != 2 or not 0 <= value[0] <= value[1] <= 1:
        raise ValueError(f"must be two shares in [0, 1], the lower one first, got {list(value)}")


@frozen(kw_only=True)
class RandomLevelPruner(UnitPruner):
    """Masks the lowest-ranked units, as many as a share says that is drawn from `sparsity_range` at each call."""

    name: ClassVar[str] = "random_level"
    summary: ClassVar[str] = "a share of units that is drawn anew at each call, the lowest by any criterion"
    spellings: ClassVar[tuple[Spelling, ...]] = (
        Spelling(
            name="RandomLevelStructureParameterPruner",
            keys={"group_type": "structure"},
            values={"structure": STRUCTURES},
            presets={"criterion": "l1"},
            required=("weights",),
        ),
    )

    sparsity_range: tuple[float, ...] = field(validator=_a_range)
    sparsity: None = field(default=None, init=False)
    initial_sparsity: None = field(default=None, init=False)
    final_sparsity: None = field(default=None, init=False)

    def check_shares(self) -> None:
        """It has none but the range."""

    @property
    def gradual(self) -> bool:
        """Shares are of the present size."""
        return False

    def share_now(self, network: Network, moment: Moment) -> float:
        """Draw the share."""
        import torch

        low, high = self.sparsity_range
        return low + (high - low) * float(torch.rand((), generator=network.generator, dtype=torch.float64))


@hookimpl
def secateur_pruners() -> list[type[Pruner]]:
    """Provide "random_level"."""
    return [RandomLevelPruner]
