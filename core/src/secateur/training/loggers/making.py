"""The loggers that the `run` section names."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from secateur.config import Node
from secateur.training.loggers.base import Logger, Logs, Position
from secateur.training.loggers.csv_files import CsvLogger
from secateur.training.loggers.tensorboard import TensorBoardLogger
from secateur.training.progress import Progress
from secateur.training.trainer import EpochResult

if TYPE_CHECKING:
    from secateur.training.config import RunConfig

FOLDERS: Final = {"csv": "log", "tensorboard": "tensorboard"}
"""Where each writes, in the output folder."""


def check_loggers(config: RunConfig, node: Node) -> None:
    """Raise `ConfigError` if a logger that the schedule file names cannot work here."""
    if "tensorboard" in config.log and find_spec("tensorboard") is None:
        place = node.require("run").require("log")
        raise place.error("tensorboard is not installed", hint="pip install 'secateur[tensorboard]', or log: [csv]")


def make_logs(
    config: RunConfig,
    output: Path,
    begin: Progress,
    results: Sequence[EpochResult],
    *,
    steps: int,
    metric: str,
    judged: str,
) -> Logs:
    """Begin to log somewhere in a run; `results`: the epochs before, `steps`: the mini-batches of an epoch."""
    at = Position(begin.epoch, begin.step, steps)
    loggers: list[Logger] = []
    if "csv" in config.log:
        loggers.append(CsvLogger(output / FOLDERS["csv"], at, results, metric, judged))
    if "tensorboard" in config.log:
        loggers.append(TensorBoardLogger(output / FOLDERS["tensorboard"], at, metric, judged))
    return Logs(loggers, config.log_every, steps)
