"""What a pruner is: a frozen object that says, at a moment of the schedule, what shall be masked.

A pruner is an attrs class; its fields are the keys of its section in a schedule. It decides and changes nothing: the
scheduler makes masks of its decisions, applies them, and hands them to thinning.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from attrs import field, frozen

from secateur.errors import PlanError
from secateur.pruning.selection import matching, select_counts

Array = np.ndarray[Any, Any]


@frozen(kw_only=True)
class Moment:
    """When a pruner is asked: `epoch` of a window that runs from `start` to `end` (exclusive), every `frequency`."""

    epoch: int
    start: int
    end: int
    frequency: int = 1

    @property
    def last(self) -> int:
        """The last epoch of the window at which the pruner is asked."""
        return self.start + (self.end - self.start - 1) // self.frequency * self.frequency


class Network(Protocol):
    """What a pruner may look at: the dims of the network as it is now, and scores of their units."""

    @property
    def dims(self) -> Sequence[Any]:
        """The dims; see `secateur.pruning.selection.NamedDim`."""

    @property
    def original(self) -> Mapping[str, int]:
        """The size each dim had before anything was thinned."""

    @property
    def thinned(self) -> bool:
        """Whether anything was thinned since the schedule began."""

    @property
    def staying(self) -> Mapping[str, str]:
        """What cannot be pruned, and why."""

    def scores(self, dim: int, criterion: str) -> Array:
        """The scores of one dim's units by a criterion, shape (units,)."""


Decision = Mapping[int, Array]
"""{position of a dim: its units that leave, sorted}; dims that are not mentioned stay as they were."""


class Pruner(ABC):
    """Base class of all pruners. Subclasses are frozen attrs classes with a `name`."""

    name: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()
    summary: ClassVar[str] = ""

    @abstractmethod
    def decide(self, network: Network, moment: Moment) -> Decision:
        """Say which units shall be masked from now on."""

    def check(self, window: Moment) -> None:
        """Raise `ValueError` if the pruner cannot work in a window of the schedule; most can work in any."""
        return


@frozen(kw_only=True)
class UnitPruner(Pruner):
    """Ranks the units of some dims by a criterion and masks a share of the lowest: subclasses say which share.

    `dims`: globs over dim or parameter names. Shares are of the size a dim had before anything was thinned.
    """

    dims: str | list[str] = "*"
    criterion: str = "l1"
    scope: Literal["local", "global"] = "local"
    round_to: int = field(default=1)

    @round_to.validator
    def _check_round_to(self, attribute: Any, value: int) -> None:
        if value < 1:
            raise ValueError(f"must be at least 1, got {value}")

    @abstractmethod
    def share(self, moment: Moment) -> float:
        """The share of every dim's units that is masked at a moment, in [0, 1)."""

    def targets(self, network: Network) -> list[int]:
        """The positions of the dims this pruner prunes, in order."""
        patterns = [self.dims] if isinstance(self.dims, str) else self.dims
        found = {i for pattern in patterns for i in self._matching(pattern, network)}
        return sorted(found)

    def _matching(self, pattern: str, network: Network) -> list[int]:
        try:
            return matching(pattern, network.dims, f"dims {pattern!r}", network.staying)
        except PlanError:
            if network.thinned:  # what it named is down to its last unit
                return []
            raise

    def decide(self, network: Network, moment: Moment) -> Decision:
        """Rank and mask the lowest units of the targets."""
        share, targets = self.share(moment), self.targets(network)
        sizes = [len(network.dims[i]) for i in targets]
        counts = []
        for i, size in zip(targets, sizes, strict=True):
            original = max(network.original.get(network.dims[i].name, size), size)
            counts.append(int(share * original) - (original - size))  # below zero where more has left already
        chosen = select_counts(
            sizes,
            counts,
            lambda position: network.scores(targets[position], self.criterion),
            self.scope,
            self.round_to,
        )
        return dict(zip(targets, chosen, strict=True))
