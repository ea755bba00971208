"""Group variance: strength / variance of the groups' norms, so that some groups become large and others small.

With group lasso on the same groups it pushes their norms apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from attrs import frozen

from secateur.errors import PlanError
from secateur.hookspecs import hookimpl
from secateur.pruning.base import Network
from secateur.pruning.regularizer import Regularizer
from secateur.pruning.spelling import Spelling
from secateur_pruners.regularizers.groups import group_named
from secateur_pruners.regularizers.regims import GroupRegularizer

if TYPE_CHECKING:
    from torch import Tensor

LEAST = 1e-12
"""Variances count as at least that much: the penalty stays finite where all norms are equal."""


@frozen(kw_only=True)
class GroupVarianceRegularizer(GroupRegularizer):
    """Adds strength / Var(||w_g||_2) over the groups of each parameter; the variance is the unbiased one.

    `reg_regims`: {name or glob: [strength, "channels" or "filters"]}, of parameters with at least two such groups.
    """

    name: ClassVar[str] = "group_variance"
    summary: ClassVar[str] = "one over the variance of the norms of filters or channels"
    spellings: ClassVar[tuple[Spelling, ...]] = (Spelling(name="GroupVarianceRegularizer"),)

    def __attrs_post_init__(self) -> None:
        for name, (_, group) in self.reg_regims.items():
            if group_named(group) not in ("channels", "filters"):
                raise ValueError(f"of {name!r}: the variance is of 'channels' or 'filters', got {group!r}")

    def check_names(self, network: Network) -> None:
        """Every name must match parameters that have at least two such groups."""
        super().check_names(network)
        for name, (_, group) in self.by_parameter(network).items():
            (cut,) = self.cuts(group)
            if network.parameters[name].shape[cut.axes[0]] < 2:
                raise PlanError(f"one group of {group!r} has no variance", where=name, hint="leave it out")

    def penalty(self, weight: Tensor, regim: tuple[float, str]) -> Tensor:
        """Strength / variance; zero for a parameter that was thinned to one group."""
        strength, group = regim
        (cut,) = self.cuts(group)
        norms = cut.norms(weight)
        if len(norms) < 2:
            return 0 * norms.sum()
        return strength / norms.var().clamp(min=LEAST)


@hookimpl
def secateur_regularizers() -> list[type[Regularizer]]:
    """Provide "group_variance"."""
    return [GroupVarianceRegularizer]
