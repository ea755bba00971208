"""The learning-rate schedulers of a schedule while it runs: each one is made when its window begins.

Epochs count from the begin of training, as in Distiller: a `StepLR` with step size 45 drops the rates at epochs 45 and
90, wherever its window begins. With `count_from: window` they count from the begin of the window, and only epochs that
are due.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from secateur.errors import ConfigError
from secateur.schedule.lr import LRPolicy
from secateur.schedule.policy import Schedule

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler


class Rates:
    """Steps the learning-rate schedulers that are due at the end of each epoch."""

    def __init__(self, schedule: Schedule, optimizer: Optimizer) -> None:
        import torch

        if not isinstance(optimizer, torch.optim.Optimizer):
            found = type(optimizer).__name__
            raise ConfigError(f"expected a torch.optim.Optimizer, got {found}", where=schedule.source)
        self.optimizer = optimizer
        self._policies = {i: policy for i, policy in enumerate(schedule.policies) if policy.kind == "lr_scheduler"}
        self._made: dict[int, LRScheduler] = {}
        for policy in self._policies.values():
            try:
                self._instance(policy).check(optimizer)
            except ValueError as error:
                raise ConfigError(str(error), where=policy.where) from error

    def begin(self, epoch: int) -> None:
        """Make those whose window has begun: from its first step on, a scheduler changes the rates."""
        for index, policy in self._policies.items():
            first, last = policy.window.bounds
            if index not in self._made and first <= epoch < last:
                self._made[index] = self._instance(policy).make(self.optimizer)

    def step(self, epoch: int, metrics: Mapping[str, float] | None) -> None:
        """Step those that are due; one that follows a metric reads `metrics["loss"]`."""
        from torch.optim.lr_scheduler import ReduceLROnPlateau

        for index, scheduler in self._made.items():
            policy = self._policies[index]
            if policy.window.moment(epoch) is None:
                continue
            if isinstance(scheduler, ReduceLROnPlateau):
                if metrics is None or "loss" not in metrics:
                    raise ConfigError(
                        "it follows a metric, and the training loop gave none",
                        where=policy.where,
                        hint="call on_epoch_end(epoch, metrics={'loss': ...})",
                    )
                scheduler.step(metrics["loss"])
            else:
                try:
                    if policy.args.count_from == "window":
                        scheduler.step()
                    else:
                        _advance(scheduler, epoch + 1)
                except ValueError as error:
                    raise ConfigError(f"{type(scheduler).__name__}: {error}", where=policy.where) from error

    def state_dict(self) -> dict[str, Any]:
        """The states of those that were made, by their places in the schedule."""
        return {str(index): scheduler.state_dict() for index, scheduler in self._made.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Make those of a state and set them to it; the rates of the optimizer stay as they are."""
        kept = [dict(group) for group in self.optimizer.param_groups]
        for key, value in state.items():
            if int(key) not in self._made:
                self._made[int(key)] = self._instance(self._policies[int(key)]).make(self.optimizer)
            self._made[int(key)].load_state_dict(dict(value))
        for group, before in zip(self.optimizer.param_groups, kept, strict=True):
            group.update(before)

    @staticmethod
    def _instance(policy: Any) -> LRPolicy:
        found: LRPolicy = policy.instance
        return found


def _advance(scheduler: LRScheduler, epoch: int) -> None:
    """Set the rates for an epoch, counted from the begin of training.

    A scheduler of which the window begins late, or is not due in every epoch, takes the rates it would have had if it
    had been stepped in all epochs: torch then computes them by the closed form.
    """
    with warnings.catch_warnings():
        if scheduler.last_epoch == epoch - 1:
            scheduler.step()
        else:
            warnings.filterwarnings("ignore", message="The epoch parameter in")
            scheduler.step(epoch)
