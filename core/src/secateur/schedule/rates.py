"""The learning-rate schedulers of a schedule while it runs: each one is made when its window begins."""

from __future__ import annotations

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
                scheduler.step()

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
