"""Group lasso: strength * sum over groups of ||w_g||_2, and groups it has made small are masked.

Yuan & Lin, "Model Selection and Estimation in Regression with Grouped Variables", 2006; Wen et al., "Learning
Structured Sparsity in Deep Neural Networks", NeurIPS 2016, equation 2, for filters, channels, shapes and layers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from attrs import field, frozen, validators

from secateur.config.validators import non_negative
from secateur.hookspecs import hookimpl
from secateur.pruning.base import Decision, Moment, Network
from secateur.pruning.regularizer import Regularizer
from secateur.pruning.spelling import Spelling
from secateur_pruners.regularizers.groups import DISTILLERS_CRITERIA, UNITS, Criterion
from secateur_pruners.regularizers.regims import GroupRegularizer
from secateur_pruners.regularizers.small import SmallSlices

if TYPE_CHECKING:
    from torch import Tensor


@frozen(kw_only=True)
class GroupLassoRegularizer(GroupRegularizer):
    """Adds strength * sum of ||w_g||_2 over the groups of each parameter; the gradient at a zero group is zero.

    `reg_regims`: {name or glob: [strength, group type]} with the group types filters, channels, kernels, rows,
    columns, rows+columns, layer, channels+layer. With `threshold_criteria` (max, l1, mean_l1, l2, mean_l2) groups are
    masked while it says at most `threshold` of them, by default the parameter's strength. Units of a dim of which every
    named filter and channel is that small are masked whole, and can be thinned.
    """

    name: ClassVar[str] = "group_lasso"
    summary: ClassVar[str] = "sum of the Euclidean norms of groups of weights (Yuan & Lin 2006, Wen et al. 2016)"
    spellings: ClassVar[tuple[Spelling, ...]] = (
        Spelling(name="GroupLassoRegularizer", values={"threshold_criteria": DISTILLERS_CRITERIA}),
    )

    threshold_criteria: Criterion | None = None
    threshold: float | None = field(default=None, validator=validators.optional(non_negative))

    def penalty(self, weight: Tensor, regim: tuple[float, str]) -> Tensor:
        """Strength * sum of the norms, of each cut."""
        import torch

        strength, group = regim
        return strength * torch.stack([cut.norms(weight).sum() for cut in self.cuts(group)]).sum()

    def decide(self, network: Network, moment: Moment) -> Decision | None:
        """Mask the groups that are not above the threshold."""
        if self.threshold_criteria is None:
            return None
        small = SmallSlices()
        factors: dict[str, Tensor] = {}
        for name, (strength, group) in self.by_parameter(network).items():
            weight = network.parameters[name]
            threshold = strength if self.threshold is None else self.threshold
            for cut in self.cuts(group):
                values = cut.values(weight, self.threshold_criteria)
                if cut in UNITS:
                    small.add((name, cut.axes[0]), values, threshold)
                else:
                    kept = values > threshold
                    factors[name] = factors[name] & kept if name in factors else kept
        units = small.units(network.dims)
        for name, kept in small.left(network.dims, units).items():
            factors[name] = factors[name] & kept if name in factors else kept
        return Decision(units=units, factors={name: kept for name, kept in factors.items() if not bool(kept.all())})


@hookimpl
def secateur_regularizers() -> list[type[Regularizer]]:
    """Provide "group_lasso"."""
    return [GroupLassoRegularizer]
