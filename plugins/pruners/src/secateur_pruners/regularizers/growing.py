"""Growing regularization: the weakest units get an L2 penalty that grows until they are zero for all purposes.

Wang et al., "Neural Pruning via Growing Regularization", ICLR 2021, algorithm 1 (GReg-1). Units are chosen once, by the
L1 norm of their filters; their penalty 1/2 * lambda * ||w||_2^2 grows by `delta` every `every` steps up to `ceiling`,
and then they are masked.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from attrs import field, frozen

from secateur.config.validators import in_range, positive
from secateur.hookspecs import hookimpl
from secateur.pruning.base import Array, Decision, Moment, Network
from secateur.pruning.regularizer import Regularizer
from secateur.pruning.selection import select
from secateur_pruners.regularizers.lookup import Remembered, Slices, UnitsOf, targets, units_of, zero_like

if TYPE_CHECKING:
    from torch import Tensor

STEPS = "steps"


@frozen(kw_only=True)
class GrowingRegularizer(Regularizer):
    """Adds 1/2 * lambda * ||w||_2^2 over the filters of the `sparsity` lowest-ranked units of each of some dims.

    lambda is `delta` at first and `delta` more after every `every` steps of the optimizer, `ceiling` at most; the
    paper's values are the defaults. `dims`: globs over dim or parameter names. `criterion` ranks the units, when the
    first loss is asked for. `mask`: whether the units are masked once lambda is at the ceiling.
    """

    name: ClassVar[str] = "growing"
    summary: ClassVar[str] = "an L2 penalty of the lowest-ranked units that grows (Wang et al. 2021)"

    sparsity: float = field(validator=in_range(0, 1, high_open=True))
    dims: str | list[str] = "*"
    delta: float = field(default=1e-4, validator=positive)
    every: int = field(default=10, validator=positive)
    ceiling: float = field(default=1.0, validator=positive)
    criterion: str = "l1"
    mask: bool = True
    _found: Remembered[list[UnitsOf]] = field(factory=Remembered, init=False, eq=False, repr=False)

    def check_names(self, network: Network) -> None:
        """Every pattern must match a dim."""
        self.targets(network)

    def targets(self, network: Network) -> list[int]:
        """The positions of the dims of which units are chosen."""
        return targets(self.dims, network)

    def strength(self, network: Network) -> float:
        """lambda now: by the number of steps that `network.memory` holds."""
        grown = int(network.memory.get(STEPS, 0)) // self.every
        return min(self.delta * (1 + grown), self.ceiling)

    def loss(self, network: Network, moment: Moment) -> Tensor:
        """1/2 * lambda * ||w||_2^2 over the chosen units."""
        import torch

        terms = [
            _squares(network.parameters[each.parameter], each, units)
            for dim, units in self._chosen(network)
            for each in _filters(dim, network)
        ]
        if not terms:
            return zero_like(network)
        return 0.5 * self.strength(network) * torch.stack(terms).sum()

    def decide(self, network: Network, moment: Moment) -> Decision | None:
        """Count a step of the optimizer; mask the chosen units once lambda is at the ceiling."""
        network.memory[STEPS] = network.memory.get(STEPS, 0) + 1
        if not self.mask or self.strength(network) < self.ceiling:
            return None
        return Decision(units={dim.position: units for dim, units in self._chosen(network)})

    def _chosen(self, network: Network) -> Iterator[tuple[UnitsOf, Array]]:
        """The dims with their chosen units; a dim of which units have left has none any more."""
        memory = network.memory
        for dim in self._found.of(network, lambda network: [units_of(i, network) for i in self.targets(network)]):
            size = memory.get(_size(dim))
            if size is None:
                size = self._choose(dim, network)
            if size == len(dim):
                units = np.array([unit for unit, name in enumerate(dim.names) if name in memory], np.int64)
                if len(units):
                    yield dim, units

    def _choose(self, dim: UnitsOf, network: Network) -> int:
        """Choose the units of a dim, and remember them and its size."""
        ratios = np.array([self.sparsity])
        (units,) = select([len(dim)], ratios, lambda _: network.scores(dim.position, self.criterion))
        network.memory.update({dim.names[unit]: 1.0 for unit in units})
        network.memory[_size(dim)] = len(dim)
        return len(dim)


def _size(dim: UnitsOf) -> str:
    return f"size of {dim.name}"


def _filters(dim: UnitsOf, network: Network) -> list[Slices]:
    """The weights of two axes and more that write the units; without any, all that write."""
    written = [each for each in dim.slices if not each.reads]
    return [each for each in written if network.parameters[each.parameter].dim() > 1] or written


def _squares(parameter: Tensor, slices: Slices, units: Array) -> Tensor:
    import torch

    chosen = torch.from_numpy(units)
    if slices.index is not None:
        chosen = slices.index[chosen.to(slices.index.device)].reshape(-1)
    return parameter.index_select(slices.axis, chosen.to(parameter.device)).square().sum()


@hookimpl
def secateur_regularizers() -> list[type[Regularizer]]:
    """Provide "growing"."""
    return [GrowingRegularizer]
