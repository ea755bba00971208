"""Structure threshold: groups of weights whose norm is at most a given threshold are masked.

    keep group g where norm(w_g) > t

Wen et al., "Learning Structured Sparsity in Deep Neural Networks", NIPS 2016, mask so what group lasso made small.
Masks of W[out, in, ...] are of shape (out, 1, ...) for filters and rows, (1, in, ...) for channels and columns,
(out, in, 1, ...) for kernels. Nothing but the listed weights is masked; yet a unit of a dim of which all listed filters
and channels are masked leaves when the network is thinned.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from attrs import field, frozen

from secateur.hookspecs import hookimpl
from secateur.pruning.base import Decision, Moment, Network, Pruner
from secateur.pruning.spelling import Spelling
from secateur.pruning.weights import WeightPruner, magnitudes
from secateur_pruners.regularizers.groups import (
    DISTILLERS_CRITERIA,
    GROUPS,
    UNITS,
    Criterion,
    check_shape,
    group_named,
)
from secateur_pruners.regularizers.small import SmallSlices

if TYPE_CHECKING:
    from torch import Tensor


def _check_regims(instance: Any, attribute: Any, value: Mapping[str, tuple[float, str]]) -> None:
    if not value:
        raise ValueError("must not be empty")
    for pattern, (threshold, group) in value.items():
        if not threshold >= 0:
            raise ValueError(f"of {pattern!r}: the threshold must not be negative, got {threshold}")
        try:
            group_named(group)
        except ValueError as error:
            raise ValueError(f"of {pattern!r}: {error}") from None


@frozen(kw_only=True)
class StructureThresholdPruner(WeightPruner):
    """Masks the groups of weights whose norm is at most a threshold.

    `reg_regims`: {name or glob: [threshold, group type]}, the group types being filters, channels, kernels, rows,
    columns and layer. `threshold_criteria`: max, l1, mean_l1, l2 or mean_l2 (by element).
    """

    name: ClassVar[str] = "structure_threshold"
    summary: ClassVar[str] = "filters, channels, kernels, rows or columns of at most a given norm (Wen et al. 2016)"
    spellings: ClassVar[tuple[Spelling, ...]] = (
        Spelling(name="StructureParameterPruner", values={"threshold_criteria": DISTILLERS_CRITERIA}),
    )
    key: ClassVar[str] = "reg_regims"

    reg_regims: dict[str, tuple[float, str]] = field(validator=_check_regims)
    threshold_criteria: Criterion

    @property
    def patterns(self) -> Mapping[str, tuple[float, str]]:
        """Threshold and group type by pattern."""
        return self.reg_regims

    def check_names(self, network: Network) -> None:
        """Every pattern must match weights that have such groups."""
        for name, (_, group) in self.targets(network).items():
            check_shape(name, network.parameters[name], group_named(group))

    def keep(self, network: Network, moment: Moment, name: str, value: Any) -> Tensor:
        """The groups above the threshold."""
        import torch

        threshold, group = value
        values = magnitudes(network.parameters[name], name)
        kept = [cut.values(values, self.threshold_criteria) > threshold for cut in GROUPS[group_named(group)]]
        return torch.stack(torch.broadcast_tensors(*kept)).all(0)  # type: ignore[no-untyped-call]

    def decide(self, network: Network, moment: Moment) -> Decision:
        """Mask the groups; units of which all listed slices are masked leave, but one of each dim stays."""
        self.check_names(network)
        small = SmallSlices()
        for name, (threshold, group) in self.targets(network).items():
            for cut in UNITS.intersection(GROUPS[group_named(group)]):
                values = cut.values(network.parameters[name], self.threshold_criteria)
                small.add((name, cut.axes[0]), values, threshold)
        factors = WeightPruner.decide(self, network, moment).factors
        return Decision(units=small.units(network.dims), factors=factors, whole=False)


@hookimpl
def secateur_pruners() -> list[type[Pruner]]:
    """Provide "structure_threshold"."""
    return [StructureThresholdPruner]
