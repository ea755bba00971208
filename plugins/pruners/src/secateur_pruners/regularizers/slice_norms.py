"""The norms of slices of a large tensor in the main memory, in chunks that stay in the processor's cache.

    n_k = ||w_k||_2,   dn_k / dw_k = w_k / n_k, and zero where n_k is zero

What torch makes of it reads a matrix column by column, which takes several times as long, at every mini-batch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from secateur.pruning.members import axis_sums


class SliceNorms(torch.autograd.Function):
    """`SliceNorms.apply(tensor, axis)`: the Euclidean norm of each slice of an axis, shape (length of the axis,)."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, axis: int) -> Tensor:
        """Sums of squares in float64, of squares in float32 at least."""
        norms = axis_sums(tensor, axis, _square).sqrt_().to(tensor.dtype)
        ctx.save_for_backward(tensor, norms)
        ctx.axis = axis
        return norms

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """The slices, scaled."""
        tensor, norms = ctx.saved_tensors
        shape = [1] * tensor.dim()
        shape[ctx.axis] = -1
        scale = torch.where(norms > 0, gradient / norms, 0)
        return tensor * scale.view(shape), None


def _square(chunk: Tensor) -> Tensor:
    return chunk.square() if chunk.dtype == torch.float64 else chunk.float().square()
