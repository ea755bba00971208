"""What a run keeps in its checkpoint beside the network, and how that is read again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from attrs import asdict

from secateur.errors import CheckpointError
from secateur.thinning.verify import Difference
from secateur.training.config import RunConfig
from secateur.training.progress import Progress
from secateur.training.trainer import EpochResult

if TYPE_CHECKING:
    from secateur.checkpoint import Checkpoint

FREE = ("epochs", "checkpoint_every", "log", "log_every")
"""Keys of the section `run` that may be others when a run goes on."""


class Stopped(Exception):
    """Training stopped because it was asked to; a checkpoint was written."""

    def __init__(self, progress: Progress) -> None:
        super().__init__(f"stopped at {progress}")
        self.progress = progress


def position(
    progress: Progress, section: Any, results: Sequence[EpochResult], differences: Sequence[Difference]
) -> dict[str, Any]:
    """The tree that is saved as the position. `section`: the section `run` of the schedule file, as plain values."""
    return {
        **progress.to_dict(),
        "run": {key: value for key, value in section.items() if key not in FREE},
        "results": [asdict(result) for result in results],
        "differences": [asdict(difference) for difference in differences],
    }


def resumed(
    checkpoint: Checkpoint, config: RunConfig, section: Any
) -> tuple[Progress, list[EpochResult], list[Difference]]:
    """Where training goes on, the results of the epochs before, and the differences of the thinnings before.

    Raises `CheckpointError` if the checkpoint is not of such a run.
    """
    where, said = checkpoint.path, checkpoint.position
    if not isinstance(said, dict) or "run" not in said:
        what = "it is a checkpoint, but none of a run that can go on"
        hint = "give the file checkpoint.safetensors in the output folder of a run"
        raise CheckpointError(what, where=where, hint=hint)
    try:
        progress = Progress.from_dict(said)
        results = [EpochResult.from_dict(result) for result in said["results"]]
        differences = [Difference(**difference) for difference in said["differences"]]
        before = dict(said["run"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"its position is damaged ({error!r})", where=where, hint="take an older one") from error
    now = {key: value for key, value in section.items() if key not in FREE}
    for key in [*before, *now]:
        if before.get(key) != now.get(key):
            what = f"run.{key} was {before.get(key)!r} in the run that it is of, now it is {now.get(key)!r}"
            raise CheckpointError(what, where=where, hint="give the schedule file of that run, or begin anew")
    if progress.epoch > config.epochs:
        what = f"it goes on at {progress}, the run has {config.epochs} epochs"
        raise CheckpointError(what, where=where, hint="raise run.epochs")
    return progress, results, differences
