"""Shapes of the commonest operations, worked out here: torch takes up to a millisecond on a tensor without data.

A kernel gets the arguments of one call and returns what it makes, or None wherever it is not sure: torch then does it
itself, and complains itself about shapes that do not fit. Kernels answer for tensors on the `meta` device of one
floating-point type, outside autograd, contiguous or (where said) with their channels last.
"""

from __future__ import annotations

from collections.abc import Mapping

from secateur_builders.kernels.common import Kernel
from secateur_builders.kernels.layers import attention, batch_norm, convolution, layer_norm, linear
from secateur_builders.kernels.pointwise import BINARY, UNARY, binary, binary_in_place, dropout, itself, unary
from secateur_builders.kernels.pooling import AVERAGE_POOL, MAX_POOL, adaptive_pool, cat, mean, pool

KERNELS: Mapping[str, Kernel] = {
    **{f"conv{n}d": convolution(n) for n in (1, 2, 3)},
    **{f"max_pool{n}d": pool(n, MAX_POOL) for n in (1, 2, 3)},
    **{f"avg_pool{n}d": pool(n, AVERAGE_POOL) for n in (2, 3)},
    **{f"adaptive_avg_pool{n}d": adaptive_pool(n) for n in (2, 3)},
    "batch_norm": batch_norm,
    "cat": cat,
    "dropout": dropout,
    "layer_norm": layer_norm,
    "linear": linear,
    "mean": mean,
    "multi_head_attention_forward": attention,
}
"""{operation: kernel}, for those that are not pointwise."""


def kernel_of(name: str, in_place: bool) -> Kernel | None:
    """The kernel of an operation by its normalised name, if it has one."""
    if name in UNARY:
        return itself if in_place else unary(UNARY[name])
    if name in BINARY:
        return binary_in_place if in_place else binary
    return None if in_place else KERNELS.get(name)
