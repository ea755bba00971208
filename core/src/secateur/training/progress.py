"""Where a training is: the epoch, the next mini-batch, and what the epoch came to so far."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attrs import asdict, define, fields

if TYPE_CHECKING:
    from torch import Tensor


@define
class Progress:
    """Between two mini-batches. `step` 0: the epoch has not begun; it is the number of mini-batches that are done."""

    epoch: int = 0
    step: int = 0
    order: Tensor | None = None
    """The state of the generator from which the order and the augmentation of the epoch are drawn, as it begins."""
    loss: float = 0.0
    """The sum over the examples seen in the epoch."""
    correct: int = 0
    seen: int = 0
    logged_loss: float = 0.0
    """`loss` and `seen` as they were when the loggers were told last; below zero if that was in an epoch before."""
    logged_seen: int = 0
    seconds: float = 0.0
    """That the epoch took so far."""
    carried: Any = None
    """What the next mini-batch begins with: the recurrent states after the last one."""

    def next_epoch(self, order: Tensor) -> Progress:
        """The begin of the next epoch; what the loggers were not told yet is not forgotten."""
        loss, seen = self.logged_loss - self.loss, self.logged_seen - self.seen
        return Progress(epoch=self.epoch + 1, order=order, logged_loss=loss, logged_seen=seen)

    def to_dict(self) -> dict[str, Any]:
        """A tree that a checkpoint can hold."""
        return asdict(self, recurse=False)

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Progress:
        """Read what `to_dict` gave; `TypeError`, `KeyError` or `ValueError` for anything else."""
        made = cls(**{field.name: saved[field.name] for field in fields(cls)})
        numbers = (made.epoch, made.step, made.correct, made.seen)
        if any(type(number) is not int or number < 0 for number in numbers):
            raise ValueError(f"not a place in a training: {numbers}")
        return made

    def __str__(self) -> str:
        return f"epoch {self.epoch}, step {self.step}" if self.step else f"the begin of epoch {self.epoch}"
