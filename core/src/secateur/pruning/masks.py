"""Masks: what is to be zero during training, and the few fused multiplies that keep it so.

Masks that hold are applied after each step of the optimizer; forward and backward are not touched. Masks for the
forward pass only are applied before it, and taken back before the step.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

Cuts = Mapping[str, Mapping[int, np.ndarray[Any, Any]]]
Factors = dict[str, "list[Tensor]"]
"""{name of a tensor: what multiplies it, one after the other}; each factor has its rank."""


def unit_factors(tensors: Mapping[str, Tensor], cuts: Cuts, unmasked: frozenset[tuple[str, int]]) -> Factors:
    """Zero-one factors of the tensors of which slices are cut, but for axes that are `unmasked`.

    A factor is broadcast along every axis in which nothing is masked, so it is small.
    """
    found: Factors = {}
    for name, axes in cuts.items():
        masked = {axis: indices for axis, indices in axes.items() if (name, axis) not in unmasked}
        if name in tensors and masked:
            found[name] = [_along(tensors[name], axis, indices) for axis, indices in masked.items()]
    return found


def _along(tensor: Tensor, axis: int, indices: np.ndarray[Any, Any]) -> Tensor:
    """A factor along one axis that is zero at some indices."""
    import torch

    shape = [1] * tensor.dim()
    shape[axis] = tensor.shape[axis]
    factor = torch.ones(tensor.shape[axis], dtype=tensor.dtype, device=tensor.device)
    factor[torch.from_numpy(indices).to(tensor.device)] = 0
    return factor.reshape(shape)


def joined(parts: Iterable[Mapping[str, Sequence[Tensor]]]) -> Factors:
    """The factors of several masks together."""
    found: Factors = {}
    for part in parts:
        for name, factors in part.items():
            found.setdefault(name, []).extend(factors)
    return found


def sliced(factor: Tensor, axes: Mapping[int, np.ndarray[Any, Any]]) -> Tensor:
    """What stays of a factor when slices of its tensor are cut: {axis: leaving indices}."""
    import torch

    for axis, indices in axes.items():
        if factor.shape[axis] > 1:
            kept = np.setdiff1d(np.arange(factor.shape[axis]), indices, assume_unique=True)
            factor = factor.index_select(axis, torch.from_numpy(kept).to(factor.device))
    return factor


class Masks:
    """Factors of some tensors, applied in place, all in one call."""

    def __init__(self, tensors: Mapping[str, Tensor], factors: Mapping[str, Sequence[Tensor]]) -> None:
        self._tensors: list[Tensor] = []
        self._factors: list[Tensor] = []
        self._copies: list[Tensor] = []
        for name, several in factors.items():
            tensor = tensors[name]
            for factor in _fused(several):
                self._tensors.append(tensor)
                self._factors.append(factor.to(device=tensor.device, dtype=tensor.dtype))

    def __len__(self) -> int:
        return len(self._tensors)

    def apply(self) -> None:
        """Set what is masked to zero."""
        import torch

        if self._tensors:
            with torch.no_grad():
                torch._foreach_mul_(self._tensors, self._factors)

    def apply_to_gradients(self) -> None:
        """Set the gradient of what is masked to zero."""
        import torch

        pairs = [(t.grad, factor) for t, factor in zip(self._tensors, self._factors, strict=True) if t.grad is not None]
        if pairs:
            with torch.no_grad():
                torch._foreach_mul_([grad for grad, _ in pairs], [factor for _, factor in pairs])

    def lay_on(self) -> None:
        """Apply, and keep what was there for `take_off`; a second call before that changes nothing."""
        if not self._copies:
            self._copies = [tensor.detach().clone() for tensor in self._tensors]
            self.apply()

    @property
    def laid_on(self) -> bool:
        """Whether what was there before waits for `take_off`."""
        return bool(self._copies)

    def take_off(self) -> None:
        """Put back what was there before `lay_on`."""
        import torch

        copies, self._copies = self._copies, []
        if copies:
            with torch.no_grad():
                torch._foreach_copy_(self._tensors[::-1], copies[::-1])


def _fused(factors: Sequence[Tensor]) -> list[Tensor]:
    """The same factors, those of one shape multiplied into one."""
    by_shape: dict[tuple[int, ...], Tensor] = {}
    for factor in factors:
        shape = tuple(factor.shape)
        by_shape[shape] = by_shape[shape] * factor if shape in by_shape else factor
    return list(by_shape.values())
