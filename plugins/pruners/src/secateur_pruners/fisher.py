"""Second-order Taylor with a diagonal Hessian: optimal brain damage, by units.

LeCun et al., "Optimal Brain Damage", NIPS 1989, equation 5: saliency of a weight = h_kk w_k ** 2 / 2. The diagonal h_kk
is that of the empirical Fisher matrix, the mean over mini-batches of (dL/dw_k) ** 2:

    score_u = 1/2 mean over mini-batches of (sum over the weights of unit u of (w * dL/dw) ** 2), shape (units,)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from secateur.hookspecs import hookimpl
from secateur.pruning.collecting import Array
from secateur.pruning.gradients import GradientCollector
from secateur.records import Criterion

if TYPE_CHECKING:
    from torch import Tensor


class SecondOrder(GradientCollector):
    """Sums up the squares by member and unit."""

    def element(self, product: Tensor) -> Tensor:
        """Its square."""
        return product.square()

    def add(self, dim: int, sums: Array) -> None:
        """Add the sums, shape (members, units)."""
        import torch

        name, squares = f"squares:{dim}", torch.from_numpy(sums)
        self.gathered[name] = self.gathered[name] + squares if name in self.gathered else squares

    def total(self, dim: int, chosen: Sequence[int]) -> Array:
        """Half the sum over the backwards."""
        held: Array = self.gathered[f"squares:{dim}"].numpy()
        found: Array = held[list(chosen)].sum(axis=0) / 2
        return found


@hookimpl
def secateur_criteria() -> list[Criterion]:
    """Provide "fisher"."""
    return [
        Criterion(
            name="fisher",
            collector=SecondOrder,
            summary="second-order Taylor with the empirical Fisher diagonal (optimal brain damage)",
        )
    ]
