"""Pruners of units: rank the units of some dims and mask a share of the lowest."""

from __future__ import annotations

from typing import Any, Literal

from attrs import field, frozen

from secateur.errors import PlanError
from secateur.pruning.base import Decision, Moment, Network
from secateur.pruning.rate import RatedPruner
from secateur.pruning.selection import matching, select_counts


@frozen(kw_only=True)
class UnitPruner(RatedPruner):
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

    def check_names(self, network: Network) -> None:
        """Every pattern must match something."""
        self.targets(network)

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
        return Decision(units=dict(zip(targets, chosen, strict=True)))
