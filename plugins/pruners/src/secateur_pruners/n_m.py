"""N:M sparsity: of every M consecutive input weights, the N of greatest magnitude stay.

Mishra et al., "Accelerating Sparse Deep Neural Networks", 2021; 2:4 is what NVIDIA's sparse tensor cores compute fast.
Groups run along the input axis, which is axis 1, for each index of the other axes: a weight of shape
(out, in, height, width) has out * height * width * in / M groups. Masks have the shape of the parameter.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from attrs import field, frozen

from secateur.config.validators import non_empty, positive
from secateur.hookspecs import hookimpl
from secateur.pruning.base import Moment, Network, Pruner
from secateur.pruning.weights import WeightPruner, by_weights, magnitudes

if TYPE_CHECKING:
    from torch import Tensor


@frozen(kw_only=True)
class NMPruner(WeightPruner):
    """Keeps the `n` greatest of every `m` consecutive elements along axis 1, the input axis."""

    name: ClassVar[str] = "n_m"
    summary: ClassVar[str] = "N of every M consecutive input weights stay, 2:4 by default (Mishra et al. 2021)"

    weights: str | list[str] = field(validator=non_empty)
    n: int = field(default=2, validator=positive)
    m: int = field(default=4, validator=positive)

    def __attrs_post_init__(self) -> None:
        if self.n > self.m:
            raise ValueError(f"n {self.n} is greater than m {self.m}: n of m elements stay")

    @property
    def patterns(self) -> Mapping[str, None]:
        """Nothing is told about any weight."""
        return by_weights(self.weights, None)

    def refusal(self, tensor: Tensor) -> str:
        """Axis 1 must consist of whole groups."""
        if tensor.dim() < 2:
            return f"it has no input axis, its shape is {tuple(tensor.shape)}"
        if tensor.shape[1] % self.m:
            return f"its input axis of {tensor.shape[1]} is not divisible by m = {self.m}"
        return ""

    def keep(self, network: Network, moment: Moment, name: str, value: Any) -> Tensor:
        """All but the smallest m - n of each group; of equal ones the first go."""
        import torch

        values = magnitudes(network.parameters[name], name)
        grouped = values.reshape(len(values), -1, self.m, *values.shape[2:]).unbind(2)
        ranks = [torch.zeros(grouped[0].shape, dtype=torch.int32, device=values.device) for _ in grouped]
        for later in range(self.m):
            for earlier in range(later):
                outranks = grouped[later] >= grouped[earlier]
                ranks[later] += outranks
                ranks[earlier] += ~outranks
        return (torch.stack(ranks, 2) >= self.m - self.n).reshape(values.shape)


@hookimpl
def secateur_pruners() -> list[type[Pruner]]:
    """Provide "n_m"."""
    return [NMPruner]
