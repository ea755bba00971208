"""Masks: what is to be zero during training, and the one fused multiply that keeps it so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor, nn

Cuts = Mapping[str, Mapping[int, np.ndarray[Any, Any]]]


class Masks:
    """Zero-one factors for the parameters of which slices are masked.

    A factor is broadcast along every axis in which nothing is masked, so it is small. `apply` multiplies all parameters
    in one call, after each optimizer step; forward and backward are not touched.
    """

    def __init__(self, model: nn.Module, cuts: Cuts) -> None:
        parameters = dict(model.named_parameters())
        self._parameters: list[Tensor] = []
        self._factors: list[Tensor] = []
        for name, axes in cuts.items():
            if name in parameters:
                self._parameters.append(parameters[name])
                self._factors.append(_factor(parameters[name], axes))

    def __len__(self) -> int:
        return len(self._parameters)

    def apply(self) -> None:
        """Set what is masked to zero."""
        import torch

        if self._parameters:
            with torch.no_grad():
                torch._foreach_mul_(self._parameters, self._factors)


def _factor(parameter: Tensor, axes: Mapping[int, np.ndarray[Any, Any]]) -> Tensor:
    import torch

    factor = torch.ones((1,) * parameter.dim(), dtype=parameter.dtype, device=parameter.device)
    for axis, indices in axes.items():
        shape = [1] * parameter.dim()
        shape[axis] = parameter.shape[axis]
        along = torch.ones(parameter.shape[axis], dtype=parameter.dtype, device=parameter.device)
        along[torch.from_numpy(indices).to(parameter.device)] = 0
        factor = factor * along.reshape(shape)
    return factor
