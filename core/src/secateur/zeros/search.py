"""Find the most units that can leave, and certify them on the whole graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from attrs import frozen

from secateur.thinning.planner import spare
from secateur.zeros.certificate import dependent
from secateur.zeros.constants import find_readers
from secateur.zeros.forward import Runner
from secateur.zeros.liveness import Liveness
from secateur.zeros.readers import Reader

Array = np.ndarray[Any, Any]


@frozen(eq=False)
class Search:
    """The search in one network."""

    runner: Runner
    readers: Mapping[str, Reader]
    liveness: Liveness

    @classmethod
    def of(cls, runner: Runner) -> Search:
        """Run the network once to find its constants; raises `NotFollowedError` if they cannot be told."""
        readers = find_readers(runner)
        return cls(runner, readers, Liveness(runner.coupling, tuple(readers.values())))

    def certified(self, chosen: Array, tolerated: Array) -> Array:
        """The most of the chosen classes that can leave together without changing what is computed.

        `tolerated`: classes whose constants may be folded though that is not exact; see `Liveness.settle`.
        """
        while True:
            chosen = self.spared(self.liveness.settle(chosen, tolerated))
            chosen = self.liveness.settle(chosen, tolerated)
            if not chosen.any():
                return chosen
            gone = self.liveness.gone(chosen)
            blamed = dependent(self.runner, self.readers, gone)
            if blamed is None:
                return np.zeros_like(chosen)
            if not len(blamed):
                return chosen
            chosen = self.liveness.without(chosen, blamed)

    def spared(self, chosen: Array) -> Array:
        """The chosen classes without some, so that something of every axis stays."""
        dims = self.runner.coupling.dims
        leaving = [np.flatnonzero(chosen[dim.classes]) for dim in dims]
        kept = np.zeros_like(chosen)
        for dim, gone in zip(dims, spare(self.runner.coupling, leaving, lambda i: np.ones(len(dims[i]))), strict=True):
            kept[dim.classes[gone]] = True
        return kept
