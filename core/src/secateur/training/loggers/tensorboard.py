"""Scalars for TensorBoard, over the mini-batches since the begin of training."""

from __future__ import annotations

from pathlib import Path

from secateur.errors import SecateurError
from secateur.training.loggers.base import EpochLog, Position, StepLog


class TensorBoardLogger:
    """Writes event files into a folder of their own.

    A run that goes on lets TensorBoard forget what lies behind `begin`; one that begins anew removes the event files
    that an earlier run left there.
    """

    def __init__(self, folder: Path, begin: Position, metric: str, judged: str) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.metric, self.judged = metric, judged
        try:
            if not begin.done:
                for old in folder.glob("events.out.tfevents.*"):
                    old.unlink()
            self._writer = SummaryWriter(str(folder), purge_step=begin.done + 1 if begin.done else None)
        except OSError as error:
            what = f"TensorBoard's files cannot be written ({error.strerror})"
            raise SecateurError(what, where=str(folder)) from error

    def step(self, log: StepLog) -> None:
        """The loss and the learning rate."""
        self._add("minibatches/loss", log.loss, log.position)
        self._add("minibatches/learning_rate", log.learning_rate, log.position)
        self._writer.flush()

    def epoch(self, log: EpochLog) -> None:
        """What the epoch came to, the sparsity of each weight and the units kept of each dim."""
        result, at = log.result, log.position
        for split, judged in (("train", result.train), (self.judged, result.valid)):
            self._add(f"loss/{split}", judged.loss, at)
            self._add(f"{self.metric}/{split}", judged.metric, at)
        self._add("epoch/learning_rate", result.learning_rate, at)
        self._add("epoch/seconds", result.seconds, at)
        self._add("pruned/units_masked_or_gone", result.masked_share, at)
        self._add("pruned/zeros", result.sparsity, at)
        self._add("pruned/parameters", result.parameters, at)
        for tensor in log.tensors:
            self._add(f"sparsity/{tensor.name}", tensor.sparsity, at)
        for dim in log.dims:
            self._add(f"units/{dim.name}", dim.kept - dim.masked, at)
        self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        self._writer.close()

    def _add(self, tag: str, value: float, at: Position) -> None:
        self._writer.add_scalar(tag, value, at.done)
