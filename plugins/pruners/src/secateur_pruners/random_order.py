"""Random scores: what any criterion should beat.

The scores are uniform in [0, 1) and depend on the names of the members only, so that a plan can be made again. Pruners
in a schedule draw from the random numbers of the run instead; see `secateur.pruning.units.drawn`.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from secateur.hookspecs import hookimpl
from secateur.pruning.members import Member
from secateur.records import Criterion

if TYPE_CHECKING:
    import numpy as np

    Scores = np.ndarray[Any, Any]


def random_order(members: Sequence[Member]) -> Scores:
    """One number per unit, shape (units,)."""
    import torch

    text = ",".join(f"{member.name}:{member.axis}" for member in members)
    generator = torch.Generator().manual_seed(zlib.crc32(text.encode()))
    scores: Scores = torch.rand(len(members[0]), generator=generator, dtype=torch.float64).numpy()
    return scores


@hookimpl
def secateur_criteria() -> list[Criterion]:
    """Provide "random"."""
    return [Criterion(name="random", score=random_order, summary="a random number")]
