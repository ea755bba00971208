"""Find the most units that can leave, and certify them on the whole graph."""

from __future__ import annotations

from typing import Any

import numpy as np
from attrs import frozen

from secateur.thinning.planner import spare
from secateur.zeros.certificate import dependent
from secateur.zeros.constants import Constants, find_constants
from secateur.zeros.forward import Runner
from secateur.zeros.liveness import Liveness

Array = np.ndarray[Any, Any]


@frozen(eq=False)
class Search:
    """The search in one network."""

    runner: Runner
    constants: Constants
    liveness: Liveness

    @classmethod
    def of(cls, runner: Runner) -> Search:
        """Run the network once to find its constants; raises `NotFollowedError` if they cannot be told."""
        constants = find_constants(runner)
        return cls(runner, constants, Liveness(runner.coupling, tuple(constants.readers.values())))

    def certified(self, chosen: Array, tolerated: Array) -> Array:
        """The most of the chosen classes that can leave together without changing what is computed.

        `tolerated`: classes whose constants may be folded though that is not exact; see `Liveness.settle`.
        """
        while True:
            chosen = self.liveness.settle(chosen, tolerated)
            if not chosen.any():
                return chosen
            gone = self.liveness.gone(chosen)
            blamed = dependent(self.runner, self.constants, gone)
            if blamed is None:
                return np.zeros_like(chosen)
            spared = self.spared(chosen) if not len(blamed) else self.liveness.without(chosen, blamed)
            if np.array_equal(spared, chosen):
                return chosen
            chosen = spared

    def spared(self, chosen: Array) -> Array:
        """The chosen classes without some, so that something of every axis stays."""
        dims = self.runner.coupling.dims
        leaving = [np.flatnonzero(chosen[dim.classes]) for dim in dims]
        kept = np.zeros_like(chosen)
        for dim, gone in zip(dims, spare(self.runner.coupling, leaving, lambda i: np.ones(len(dims[i]))), strict=True):
            kept[dim.classes[gone]] = True
        return kept
