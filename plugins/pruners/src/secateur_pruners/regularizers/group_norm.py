"""Group-norm sparsity over coupled units: all slices of a unit shrink together, weak units more than strong ones.

Fang et al., "DepGraph: Towards Any Structural Pruning", CVPR 2023, equations 4 and 5. For unit k of a dim with the
coupled slices g:

    R(g, k) = gamma_k * I_k,   I_k = sum over the slices of ||w[k]||_2^2
    gamma_k = 2 ** (alpha * (I_max - I_k) / (I_max - I_min))

gamma is a number, computed at the first mini-batch of each epoch. With alpha 0 and norms that are not squared it is the
plain group lasso over units of any dim: Wen et al., "Learning Intrinsic Sparse Structures within LSTM", ICLR 2018.
There elements below a threshold count as zero, and a unit of nothing else leaves.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import TYPE_CHECKING, ClassVar

from attrs import field, frozen, validators

from secateur.config.validators import non_negative
from secateur.hookspecs import hookimpl
from secateur.pruning.base import Decision, Moment, Network
from secateur.pruning.regularizer import Regularizer
from secateur.pruning.spelling import Spelling
from secateur_pruners.regularizers.lookup import Remembered, UnitsOf, targets, unit_norms, units_of, zero_like
from secateur_pruners.regularizers.small import SmallSlices

if TYPE_CHECKING:
    from torch import Tensor

EPOCH, UNITS = "epoch", "units"


@frozen(kw_only=True)
class GroupNormRegularizer(Regularizer):
    """Adds strength * sum of gamma_k * ||all coupled slices of unit k||_2^2 over the units of some dims.

    `dims`: globs over dim or parameter names. `alpha`: from 0 (all units alike) on; the paper's is 4. `squared`: false
    for norms instead of their squares. Weights that read the units, biases and norms belong to the slices too. With
    `threshold`, units of which no element of any slice is larger are masked, and can be thinned; one of each dim stays.
    """

    name: ClassVar[str] = "group_norm"
    summary: ClassVar[str] = "norms of all coupled slices of units (Fang et al. 2023; Wen et al. 2018 as unit_lasso)"
    spellings: ClassVar[tuple[Spelling, ...]] = (Spelling(name="unit_lasso", presets={"alpha": 0.0, "squared": False}),)

    strength: float = field(validator=non_negative)
    dims: str | list[str] = "*"
    alpha: float = field(default=4.0, validator=non_negative)
    squared: bool = True
    threshold: float | None = field(default=None, validator=validators.optional(non_negative))
    _found: Remembered[list[UnitsOf]] = field(factory=Remembered, init=False, eq=False, repr=False)

    def check_names(self, network: Network) -> None:
        """Every pattern must match a dim."""
        targets(self.dims, network)

    def loss(self, network: Network, moment: Moment) -> Tensor:
        """Strength * sum of gamma_k times the (squared) norm of unit k."""
        import torch

        dims = self._units(network)
        if not dims:  # all of them were thinned to a last unit
            return zero_like(network)
        norms = unit_norms(dims, network.parameters)
        sizes = torch.cat(norms).square() if self.squared else torch.cat(norms)
        if not self.alpha:
            return self.strength * sizes.sum()
        gamma = self._gamma(network.memory, moment, dims, norms).to(sizes)
        return self.strength * (gamma * sizes).sum()

    def decide(self, network: Network, moment: Moment) -> Decision | None:
        """Mask the units of which every element is at most the threshold."""
        if self.threshold is None:
            return None
        small, chosen = SmallSlices(), self._units(network)
        for dim in chosen:
            for each in dim.slices:
                values = _largest(network.parameters[each.parameter].detach(), each.axis)
                small.add((each.parameter, each.axis), values, self.threshold)
        found = small.units(network.dims)
        return Decision(units={dim.position: found[dim.position] for dim in chosen if dim.position in found})

    def _units(self, network: Network) -> list[UnitsOf]:
        """The dims that are shrunk."""
        return self._found.of(network, lambda network: [units_of(i, network) for i in targets(self.dims, network)])

    def _gamma(
        self, memory: MutableMapping[str, float], moment: Moment, dims: list[UnitsOf], norms: list[Tensor]
    ) -> Tensor:
        """gamma of all units, float64: as remembered, or computed if that was in another epoch or for other units."""
        import torch

        names = [name for dim in dims for name in dim.names]
        if memory.get(EPOCH) != moment.epoch or memory.get(UNITS) != len(names) or names[-1] not in memory:
            made = [shrinkage(each.detach().double().square(), self.alpha) for each in norms]
            memory.clear()
            memory.update(zip(names, torch.cat(made).tolist(), strict=True))
            memory.update({EPOCH: moment.epoch, UNITS: len(names)})
        return torch.tensor([memory[name] for name in names], dtype=torch.float64)


def shrinkage(importance: Tensor, alpha: float) -> Tensor:
    """gamma of the units of one dim by their importance: 1 for the strongest, 2 ** alpha for the weakest.

    >>> import torch
    >>> shrinkage(torch.tensor([1.0, 3.0, 5.0]), 4.0).tolist()
    [16.0, 4.0, 1.0]
    >>> shrinkage(torch.tensor([2.0, 2.0]), 4.0).tolist()
    [1.0, 1.0]
    """
    span = importance.max() - importance.min()
    behind = (importance.max() - importance) / (span if span > 0 else 1)
    gamma: Tensor = 2 ** (alpha * behind)
    return gamma


def _largest(parameter: Tensor, axis: int) -> Tensor:
    """The largest magnitude of each slice of an axis; all other axes have the length 1."""
    others = [other for other in range(parameter.dim()) if other != axis]
    return parameter.abs().amax(others, keepdim=True) if others else parameter.abs()


@hookimpl
def secateur_regularizers() -> list[type[Regularizer]]:
    """Provide "group_norm"."""
    return [GroupNormRegularizer]
