"""A learning rate that falls by a factor of its own at each milestone."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING, Any

from torch.optim.lr_scheduler import LRScheduler

if TYPE_CHECKING:
    from torch.optim import Optimizer


class MultiStepMultiGammaLR(LRScheduler):
    """Multiplies the learning rate of each group by `gammas[i]` when epoch `milestones[i]` is reached.

    Milestones 30, 60, 80 with gammas 0.1, 0.1, 0.2 take a rate of 0.1 to 0.01 at epoch 30, to 0.001 at 60 and to
    0.0002 at 80. `ValueError` for milestones that do not ascend, or another number of gammas.
    """

    def __init__(
        self, optimizer: Optimizer, milestones: Sequence[int], gammas: Sequence[float], last_epoch: int = -1
    ) -> None:
        self.check_arguments(milestones, gammas)
        self.milestones, self.gammas = list(milestones), list(gammas)
        super().__init__(optimizer, last_epoch)

    @staticmethod
    def check_arguments(milestones: Sequence[int], gammas: Sequence[float]) -> None:
        """Raise `ValueError` for lists that do not belong together."""
        if len(milestones) != len(gammas):
            raise ValueError(
                f"milestones and gammas must be equally long, got {len(milestones)} milestones and {len(gammas)} gammas"
            )
        if any(later <= earlier for earlier, later in pairwise(milestones)):
            raise ValueError(f"milestones must ascend, got {', '.join(map(str, milestones))}")

    def get_lr(self) -> list[Any]:
        """The next rate of each group, from its present one."""
        factor = prod(
            gamma for epoch, gamma in zip(self.milestones, self.gammas, strict=True) if epoch == self.last_epoch
        )
        return [group["lr"] * factor for group in self.optimizer.param_groups]

    def _get_closed_form_lr(self) -> list[Any]:
        """The rate of each group at `last_epoch`, from its first one."""
        factor = prod(self.gammas[: bisect_right(self.milestones, self.last_epoch)])
        return [rate * factor for rate in self.base_lrs]
