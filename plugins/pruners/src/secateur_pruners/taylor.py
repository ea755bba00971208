"""First-order Taylor: how much the loss would change, to first order, if a unit were zero.

Molchanov et al., "Importance Estimation for Neural Network Pruning", CVPR 2019, equations 8 and 10:

    score_u = mean over mini-batches of (sum over the weights of unit u of w * dL/dw) ** 2, shape (units,)

The weights of a unit are its filters in all coupled tensors. It is the magnitude that counts, not the sign.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from secateur.hookspecs import hookimpl
from secateur.pruning.collecting import Array
from secateur.pruning.gradients import GradientCollector
from secateur.records import Criterion

if TYPE_CHECKING:
    from torch import Tensor


class FirstOrder(GradientCollector):
    """Sums up, by unit, the products of all pairs of members' sums: the square over any of them can be asked for."""

    def element(self, product: Tensor) -> Tensor:
        """Weight times gradient as it is."""
        return product

    def add(self, dim: int, sums: Array) -> None:
        """Add the products, shape (members, members, units)."""
        import torch

        products = torch.from_numpy(sums[:, None] * sums[None])
        name = f"products:{dim}"
        self.gathered[name] = self.gathered[name] + products if name in self.gathered else products

    def total(self, dim: int, chosen: Sequence[int]) -> Array:
        """The sum of squares over the backwards."""
        held: Array = self.gathered[f"products:{dim}"].numpy()
        found: Array = held[np.ix_(list(chosen), list(chosen))].sum(axis=(0, 1))
        return np.maximum(found, 0)


@hookimpl
def secateur_criteria() -> list[Criterion]:
    """Provide "taylor"."""
    return [
        Criterion(name="taylor", collector=FirstOrder, summary="squared sum of weight times gradient (Molchanov 2019)")
    ]
