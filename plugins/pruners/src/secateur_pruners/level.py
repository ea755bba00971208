"""Sparsity level: a share of the elements of each parameter is masked, those of smallest magnitude.

    int(s * n) of n elements: fixed s, or s(t) along the cubic curve of gradual pruning

Zhu & Gupta, "To prune, or not to prune", 2017; the curve is in `secateur.pruning.rate`. Masks have the shape of the
parameter. Exactly so many elements are masked: among equal ones those of lowest flat index.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from attrs import field, frozen, validators

from secateur.config.validators import in_range
from secateur.hookspecs import hookimpl
from secateur.pruning.base import Moment, Network, Pruner
from secateur.pruning.rate import RatedPruner
from secateur.pruning.spelling import Spelling
from secateur.pruning.weights import WeightPruner, by_name, by_weights, each, lowest, told

if TYPE_CHECKING:
    from torch import Tensor


@frozen(kw_only=True)
class LevelPruner(WeightPruner, RatedPruner):
    """Masks a share of the elements of each parameter.

    Either `weights` (names or globs) with `sparsity`, or with `initial_sparsity` and `final_sparsity`; or `levels`,
    {name or glob: share}. A lone number as `levels` is the share of all `weights`, or of all parameters.
    """

    name: ClassVar[str] = "level"
    summary: ClassVar[str] = "a share of the elements, those of smallest magnitude; fixed or gradual (Zhu & Gupta 2017)"
    spellings: ClassVar[tuple[Spelling, ...]] = (
        Spelling(name="SparsityLevelParameterPruner"),
        Spelling(name="AutomatedGradualPruner"),
    )

    weights: str | list[str] | None = field(default=None)
    levels: float | dict[str, float] | None = field(default=None, validator=validators.optional(each(in_range(0, 1))))

    def __attrs_post_init__(self) -> None:
        if self.levels is None:
            RatedPruner.__attrs_post_init__(self)
            if not self.weights:
                raise ValueError("weights must name what is pruned: a list of names or globs")
        elif (self.sparsity, self.initial_sparsity, self.final_sparsity) != (None, None, None):
            raise ValueError("levels say the shares: leave out sparsity, initial_sparsity and final_sparsity")
        elif self.weights and isinstance(self.levels, Mapping):
            raise ValueError("levels say which parameters: leave out weights")

    @property
    def gradual(self) -> bool:
        """Whether the share grows over the window."""
        return self.levels is None and self.sparsity is None

    @property
    def patterns(self) -> Mapping[str, float | None]:
        """The fixed shares by pattern; None for one that depends on the moment."""
        if self.levels is None or not isinstance(self.levels, Mapping):
            return by_weights(self.weights or "*", self.levels)
        return by_name(self.levels)

    def targets(self, network: Network) -> dict[str, Any]:
        """The parameters it prunes, each with its fixed share, or None."""
        return told(network, self.patterns, "levels" if self.levels is not None and not self.weights else "weights")

    def keep(self, network: Network, moment: Moment, name: str, value: Any) -> Tensor:
        """All but the smallest elements of the parameter."""
        share = self.share(moment) if value is None else value
        parameter = network.parameters[name]
        return lowest(parameter, int(share * parameter.numel()), name)


@hookimpl
def secateur_pruners() -> list[type[Pruner]]:
    """Provide "level"."""
    return [LevelPruner]
