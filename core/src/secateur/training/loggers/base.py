"""What a logger is told, and several loggers as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from attrs import frozen

from secateur.training.trainer import EpochResult

if TYPE_CHECKING:
    from secateur.training.progress import Progress


@frozen
class Position:
    """Where a run is: `step` mini-batches of `epoch` are done, of `steps` in each."""

    epoch: int
    step: int
    steps: int

    @property
    def done(self) -> int:
        """The mini-batches that are done since the begin of training."""
        return self.epoch * self.steps + self.step


@frozen
class StepLog:
    """Some mini-batches: where the last of them left the run, their mean loss, and the learning rate there."""

    position: Position
    loss: float
    learning_rate: float


@frozen
class TensorLog:
    """A weight at the end of an epoch, as it is masked: how many of its elements are zero."""

    name: str
    elements: int
    zeros: int

    @property
    def sparsity(self) -> float:
        """The share that is zero."""
        return self.zeros / self.elements if self.elements else 0.0


@frozen
class DimLog:
    """A dim at the end of an epoch: of `size` units at the begin `kept` are there, and `masked` of these are zero."""

    name: str
    size: int
    kept: int
    masked: int


@frozen
class EpochLog:
    """An epoch that ended."""

    position: Position
    result: EpochResult
    tensors: tuple[TensorLog, ...]
    dims: tuple[DimLog, ...]


class Logger(Protocol):
    """Writes down what it is told; everything must be on disk when a call returns."""

    def step(self, log: StepLog) -> None:
        """Some mini-batches are done."""

    def epoch(self, log: EpochLog) -> None:
        """An epoch is done."""

    def close(self) -> None:
        """The run ends or stops."""


class Logs:
    """The loggers of a run: they are told of the loss `every` so many mini-batches, of `steps` in an epoch."""

    def __init__(self, loggers: Sequence[Logger], every: int, steps: int) -> None:
        self.loggers, self.every, self.steps = tuple(loggers), every, steps

    def __bool__(self) -> bool:
        return bool(self.loggers)

    def minibatch(self, progress: Progress, learning_rate: float) -> None:
        """Call it after every mini-batch, before the progress is saved: it notes there what the loggers know."""
        at = Position(progress.epoch, progress.step, self.steps)
        if progress.step and at.done % self.every == 0 and progress.seen > progress.logged_seen:
            mean = (progress.loss - progress.logged_loss) / (progress.seen - progress.logged_seen)
            progress.logged_loss, progress.logged_seen = progress.loss, progress.seen
            log = StepLog(at, mean, learning_rate)
            for logger in self.loggers:
                logger.step(log)

    def epoch(self, result: EpochResult, tensors: Sequence[TensorLog], dims: Sequence[DimLog]) -> None:
        """Call it when an epoch ended."""
        log = EpochLog(Position(result.epoch, self.steps, self.steps), result, tuple(tensors), tuple(dims))
        for logger in self.loggers:
            logger.epoch(log)

    def close(self) -> None:
        """Call it when the run ends or stops."""
        for logger in self.loggers:
            logger.close()
