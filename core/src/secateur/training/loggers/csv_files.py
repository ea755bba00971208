"""CSV files, in long form, so that they read the same whatever the network: one row per epoch, weight or dim."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from secateur.checkpoint.files import replacing
from secateur.errors import SecateurError
from secateur.training.loggers.base import EpochLog, Position, StepLog
from secateur.training.trainer import EpochResult

STEPS = ("epoch", "step", "loss", "learning_rate")
TENSORS = ("epoch", "tensor", "elements", "zeros", "sparsity")
DIMS = ("epoch", "dim", "size", "kept", "masked")


class CsvLogger:
    """Writes `steps.csv`, `epochs.csv`, `tensors.csv` and `dims.csv` into a folder.

    What lies behind `begin` in files of an earlier run is cut off, so that a run that goes on has each row once; a run
    that begins anew begins them anew. `metric` and `judged` name columns, `results` are the epochs that were before.
    Raises `SecateurError` if the files cannot be written, or are of something else.
    """

    def __init__(self, folder: Path, begin: Position, results: Sequence[EpochResult], metric: str, judged: str) -> None:
        self.metric, self.judged = metric, judged
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SecateurError(f"cannot make the folder of logs: {error.strerror}", where=str(folder)) from error
        self.steps, self.epochs = folder / "steps.csv", folder / "epochs.csv"
        self.tensors, self.dims = folder / "tensors.csv", folder / "dims.csv"
        _begin(self.steps, STEPS, _rows(self.steps, STEPS, begin))
        _begin(self.epochs, self._headers(), [self._row(result) for result in results])
        _begin(self.tensors, TENSORS, _rows(self.tensors, TENSORS, begin))
        _begin(self.dims, DIMS, _rows(self.dims, DIMS, begin))

    def step(self, log: StepLog) -> None:
        """A row of `steps.csv`."""
        _append(self.steps, [(log.position.epoch, log.position.step, log.loss, log.learning_rate)])

    def epoch(self, log: EpochLog) -> None:
        """A row of `epochs.csv`, and of the others one for each weight and dim."""
        number = log.result.epoch
        _append(self.epochs, [self._row(log.result)])
        _append(self.tensors, [(number, each.name, each.elements, each.zeros, each.sparsity) for each in log.tensors])
        _append(self.dims, [(number, each.name, each.size, each.kept, each.masked) for each in log.dims])

    def close(self) -> None:
        """Nothing is open."""

    def _headers(self) -> tuple[str, ...]:
        judged = [f"{split}_{what}" for what in ("loss", self.metric) for split in ("train", self.judged)]
        return ("epoch", "learning_rate", *judged, "masked_share", "sparsity", "parameters", "seconds")

    def _row(self, result: EpochResult) -> tuple[Any, ...]:
        train, valid = result.train, result.valid
        return (
            result.epoch, result.learning_rate, train.loss, valid.loss, train.metric, valid.metric,
            result.masked_share, result.sparsity, result.parameters, result.seconds,
        )  # fmt: skip


def _rows(path: Path, headers: Sequence[str], begin: Position) -> list[list[str]]:
    """The rows of an earlier run up to where this one begins."""
    if not begin.done or not path.exists():
        return []
    try:
        with open(path, newline="", encoding="utf-8") as file:
            found = list(csv.reader(file))
        return [row for row in found[1:] if len(row) == len(headers) and _before(row, headers, begin)]
    except (OSError, ValueError, csv.Error) as error:
        what = f"the log of the run that goes on cannot be read ({error})"
        raise SecateurError(what, where=str(path), hint="remove it, or leave csv out of run.log") from error


def _before(row: Sequence[str], headers: Sequence[str], begin: Position) -> bool:
    """Whether a row is of what is done: of a mini-batch that is, or of an epoch that ended."""
    epoch = int(row[0])
    if headers[1] == "step":
        return (epoch, int(row[1])) <= (begin.epoch, begin.step)
    return epoch < begin.epoch


def _begin(path: Path, headers: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with replacing(path, SecateurError) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(headers)
        writer.writerows(rows)


def _append(path: Path, rows: Iterable[Sequence[Any]]) -> None:
    try:
        with open(path, "a", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)
    except OSError as error:
        raise SecateurError(f"the log cannot be written ({error.strerror})", where=str(path)) from error
