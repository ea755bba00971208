"""Ranked units: a share of filters or channels, or of any dim, those of the lowest score by any criterion.

Li et al., "Pruning Filters for Efficient ConvNets", ICLR 2017, for L1; the criteria say which paper they follow. A
fixed share, or one along the cubic curve of gradual pruning (`secateur.pruning.rate`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from attrs import frozen

from secateur.hookspecs import hookimpl
from secateur.pruning.base import Pruner
from secateur.pruning.spelling import Spelling
from secateur.pruning.units import UnitPruner

FILTERS: Mapping[Any, str] = {"Filters": "filters", "3D": "filters"}
STRUCTURES: Mapping[Any, str] = {**FILTERS, "Channels": "channels"}


def _spellings(name: str, criterion: str, served: Mapping[Any, str]) -> list[Spelling]:
    """A ranked pruner of Distiller's, with a fixed share and driven by AGP; `served`: its group types."""
    return [
        Spelling(
            name=f"{name}{ending}",
            keys={**keys, "group_type": "structure", "kwargs.group_size": "group_size"},
            values={"structure": served},
            presets={"criterion": criterion},
            ignored={"kwargs.rounding_fn": "it never reached the ranking: shares are rounded down"},
            when={"group_type": frozenset(served)},
            required=("weights",),
        )
        for ending, keys in (("", {"desired_sparsity": "sparsity"}), ("_AGP", {}))
    ]


@frozen(kw_only=True)
class RankedPruner(UnitPruner):
    """Masks a share of the lowest-ranked units, fixed or growing; see the keys of `UnitPruner`."""

    name: ClassVar[str] = "ranked"
    summary: ClassVar[str] = "a share of filters, channels or units of dims, the lowest by any criterion"
    spellings: ClassVar[tuple[Spelling, ...]] = (
        *_spellings("L1RankedStructureParameterPruner", "l1", STRUCTURES),
        *_spellings("L2RankedStructureParameterPruner", "l2", STRUCTURES),
        *_spellings("ActivationAPoZRankedFilterPruner", "apoz", FILTERS),
        *_spellings("ActivationMeanRankedFilterPruner", "mean_activation", FILTERS),
        *_spellings("GradientRankedFilterPruner", "taylor", FILTERS),
        *_spellings("RandomRankedFilterPruner", "random", FILTERS),
    )


@hookimpl
def secateur_pruners() -> list[type[Pruner]]:
    """Provide "ranked"."""
    return [RankedPruner]
