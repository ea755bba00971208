"""Mean activation: the least active units leave first.

Molchanov et al., "Pruning Convolutional Neural Networks for Resource Efficient Inference", ICLR 2017, section 2.2:
score_u = mean of |a| over examples and positions, shape (units,). After ReLU this is the mean of a.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from secateur.hookspecs import hookimpl
from secateur.pruning.activations import ActivationCollector
from secateur.records import Criterion

if TYPE_CHECKING:
    from torch import Tensor


class MeanActivation(ActivationCollector):
    """The mean magnitude of activations."""

    def measure(self, values: Tensor) -> Tensor:
        """The magnitude."""
        return values.abs()


@hookimpl
def secateur_criteria() -> list[Criterion]:
    """Provide "mean_activation"."""
    return [Criterion(name="mean_activation", collector=MeanActivation, summary="mean magnitude of the activations")]
