"""The epochs of a policy: a list, or a range with a frequency."""

from __future__ import annotations

from typing import Any

from attrs import field, frozen, validators

from secateur.config.validators import non_negative
from secateur.pruning.base import Moment


@frozen(kw_only=True)
class Window:
    """When a policy is due: at `epochs`, or from `starting_epoch` to `ending_epoch` (exclusive), every `frequency`."""

    epochs: tuple[int, ...] | None = None
    starting_epoch: int | None = field(default=None, validator=validators.optional(non_negative))
    ending_epoch: int | None = None
    frequency: int = field(default=1)

    @frequency.validator
    def _check_frequency(self, attribute: Any, value: int) -> None:
        if value < 1:
            raise ValueError(f"must be at least 1, got {value}")

    def __attrs_post_init__(self) -> None:
        ranged = self.starting_epoch is not None or self.ending_epoch is not None
        if (self.epochs is not None) == ranged:
            raise ValueError("give either epochs, or starting_epoch and ending_epoch")
        if self.epochs is not None:
            if self.frequency != 1:
                raise ValueError("frequency belongs to starting_epoch and ending_epoch, not to epochs")
            if not self.epochs or min(self.epochs) < 0 or list(self.epochs) != sorted(set(self.epochs)):
                raise ValueError("epochs must be an ascending list of distinct numbers from 0 on")
            return
        if self.starting_epoch is None or self.ending_epoch is None:
            raise ValueError("starting_epoch and ending_epoch belong together")
        if self.starting_epoch >= self.ending_epoch:
            raise ValueError(
                f"ending_epoch (exclusive) must be greater than starting_epoch, got "
                f"{self.starting_epoch} to {self.ending_epoch}"
            )

    def moment(self, epoch: int) -> Moment | None:
        """The moment of an epoch within this window, or None if nothing is due."""
        first, last = self.bounds
        due = (
            epoch in self.epochs
            if self.epochs is not None
            else first <= epoch < last and (epoch - first) % self.frequency == 0
        )
        return Moment(epoch=epoch, start=first, end=last, frequency=self.frequency) if due else None

    @property
    def bounds(self) -> tuple[int, int]:
        """The first epoch, and the one after the last."""
        if self.epochs is not None:
            return self.epochs[0], self.epochs[-1] + 1
        return self.starting_epoch or 0, self.ending_epoch or 0

    @property
    def whole(self) -> Moment:
        """The window as a pruner is shown it before training: the moment at which it opens."""
        first, last = self.bounds
        return Moment(epoch=first, start=first, end=last, frequency=self.frequency)
