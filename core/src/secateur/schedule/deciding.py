"""Deciding together: the policies that are asked at a moment all decide, or nothing has changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from secateur.schedule.running import PolicyRun

if TYPE_CHECKING:
    import torch


@contextmanager
def all_or_none(runs: Sequence[PolicyRun], generator: torch.Generator) -> Iterator[None]:
    """Let policies decide in the body: if one fails, all of them are as they were; if none does, what they gathered is
    used up."""
    before = [(run, run.decision, run.moment, run.waiting, dict(run.view.memory)) for run in runs]
    drawn = generator.get_state()
    try:
        yield
    except BaseException:
        for run, decision, moment, waiting, memory in before:
            run.decision, run.moment, run.waiting, run.view.memory = decision, moment, waiting, memory
        generator.set_state(drawn)
        raise
    for run, decision, *_ in before:
        if run.decision is not decision:
            run.used_up()
