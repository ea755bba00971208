"""Which units matter: a unit does if something that stays reads it, and what it emits is no constant.

Units are let go as many as possible at once, and taken back one cause after the other, from the end of the network to
its start: a column counts only if the row it lies in stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from attrs import define

from secateur.coupling.analysis import Coupling
from secateur.coupling.labels import Atoms
from secateur.zeros.readers import Reader

Array = np.ndarray[Any, Any]


@define(slots=False, frozen=True, eq=False)
class Liveness:
    """Base classes of units as masks, bool, shape (classes,): what may leave, and what has to stay."""

    coupling: Coupling
    readers: tuple[Reader, ...]

    def gone(self, chosen: Array) -> Array:
        """Which atoms leave with the chosen classes, bool, shape (atoms,)."""
        return self.coupling.leaving(np.flatnonzero(chosen)).atoms

    def without(self, chosen: Array, atoms: Atoms) -> Array:
        """The chosen classes without those by which some atoms would leave."""
        classes = np.unique(self.coupling.solution.of[atoms])
        _, bases = self.coupling.solution.reach(np.arange(len(classes)), classes)
        kept = chosen.copy()
        kept[bases] = False
        return kept

    @cached_property
    def _obstacles(self) -> Sequence[Mapping[str, Array]]:
        return [reader.obstacles() for reader in self.readers]

    def settle(self, chosen: Array, tolerated: Array) -> Array:
        """The most of the chosen classes that can leave together.

        `tolerated`: the classes whose constants may be folded though that is not exact.
        """
        while True:
            before = chosen
            gone, tolerant = self.gone(chosen), self.gone(chosen & tolerated)
            for reader, obstacles in zip(reversed(self.readers), reversed(self._obstacles), strict=True):
                bad = reader.live.copy()
                for channels in obstacles.values():
                    bad |= channels & ~tolerant[reader.channels]
                bad &= gone[reader.channels] & reader.touched(gone)
                if bad.any():
                    chosen = self.without(chosen, reader.channels[bad])
                    gone, tolerant = self.gone(chosen), self.gone(chosen & tolerated)
            if chosen is before:
                return chosen

    def reasons(self, chosen: Array) -> dict[str, Array]:
        """{why the constants of chosen classes cannot be folded exactly: of which of them}."""
        gone = self.gone(chosen)
        found: dict[str, Array] = {}
        for reader, obstacles in zip(self.readers, self._obstacles, strict=True):
            read = gone[reader.channels] & reader.touched(gone)
            for reason, channels in obstacles.items():
                if (channels & read).any():
                    left = self.without(chosen, reader.channels[channels & read])
                    found[reason] = found.get(reason, np.zeros_like(chosen)) | (chosen & ~left)
        return found

    def folds(self, chosen: Array) -> dict[str, Array]:
        """{bias or running mean: what is added to it}, where anything is."""
        gone = self.gone(chosen)
        found: dict[str, Array] = {}
        for reader in self.readers:
            if reader.target is not None and (added := reader.fold(gone)).any():
                found[reader.target.name] = reader.target.sign * added
        return found
