"""APoZ, the average percentage of zeros: units that are silent most often leave first.

Hu et al., "Network Trimming", 2016, equation 1: APoZ_u = share of zeros among all activations of unit u, over examples
and positions. score = 1 - APoZ, shape (units,). Looked at where they are read; see `secateur.pruning.activations`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from secateur.hookspecs import hookimpl
from secateur.pruning.activations import ActivationCollector
from secateur.records import Criterion

if TYPE_CHECKING:
    from torch import Tensor


class ActivationShare(ActivationCollector):
    """The share of activations that are not zero."""

    def measure(self, values: Tensor) -> Tensor:
        """1 where an activation is not zero."""
        return values != 0


@hookimpl
def secateur_criteria() -> list[Criterion]:
    """Provide "apoz"."""
    return [Criterion(name="apoz", collector=ActivationShare, summary="share of the unit's activations that are not 0")]
