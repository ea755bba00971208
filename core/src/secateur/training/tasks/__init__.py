"""What a network can be trained to do by `secateur run`: one module per task, chosen by the data set."""

from __future__ import annotations

from secateur.training.config import RunConfig
from secateur.training.tasks.base import Task
from secateur.training.tasks.classification import Classification
from secateur.training.tasks.language import LanguageModelling

__all__ = ["Task", "task_of"]


def task_of(name: str, config: RunConfig) -> Task:
    """The task by its name in `DatasetEntry.task`, set up as the `run` section says."""
    made: dict[str, Task] = {
        "classification": Classification(tuple(config.data.augment)),
        "language": LanguageModelling(config.data.bptt),
    }
    return made[name]
