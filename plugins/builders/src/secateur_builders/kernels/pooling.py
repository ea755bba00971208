"""Kernels of pooling, of the mean, and of concatenation."""

from __future__ import annotations

from math import prod
from typing import Any

from torch import Tensor

from secateur_builders.kernels.common import Arguments, Kernel, Keywords, alike, bind, dense, made, numbers, plain
from secateur_builders.provenance import bare


def adaptive_pool(dims: int) -> Kernel:
    """The kernel of pooling to a given size over so many axes."""

    def make(args: Arguments, kwargs: Keywords) -> Any:
        bound = bind(("input", "output_size"), args, kwargs)
        if bound is None or not dense(bound[0]) or bound[0].dim() != dims + 2:
            return None
        lengths = numbers(bound[1], dims)
        if lengths is None or min(lengths) < 1 or not bound[0].numel():
            return None
        return made((*bound[0].shape[:2], *lengths), bound[0], channels_last=not bound[0].is_contiguous())

    return make


def mean(args: Arguments, kwargs: Keywords) -> Any:
    """The mean over all axes, over one, or over several."""
    bound = bind(("input", "dim", "keepdim"), args, kwargs)
    if bound is None or not plain(bound[0]):
        return None
    data, dim, keep = bound
    count = data.dim()
    axes = tuple(range(count)) if dim is None else numbers(dim, 1 if isinstance(dim, int) else len(dim))
    if not axes or not all(-count <= axis < count for axis in axes):
        return None
    gone = {axis % count for axis in axes}
    if len(gone) < len(axes):
        return None
    kept = [1 if axis in gone else length for axis, length in enumerate(data.shape) if keep or axis not in gone]
    return made(kept, data)


MAX_POOL = ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
AVERAGE_POOL = ("input", "kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override")


def pool(dims: int, names: tuple[str, ...]) -> Kernel:
    """The kernel of pooling over so many axes, for calls with parameters of these names."""

    def make(args: Arguments, kwargs: Keywords) -> Any:
        bound = bind(names, args, kwargs)
        if bound is None:
            return None
        given = dict(zip(names, bound, strict=True))
        data = given["input"]
        if not plain(data) or data.dim() != dims + 2 or given.get("return_indices") or not data.numel():
            return None
        kernel = numbers(given["kernel_size"], dims)
        stride = numbers(given["stride"], dims) if given["stride"] not in (None, [], ()) else kernel
        padding, dilation = numbers(given["padding"] or 0, dims), numbers(given.get("dilation") or 1, dims)
        if kernel is None or stride is None or padding is None or dilation is None:
            return None
        if min(kernel + stride + dilation) < 1 or any(
            not 0 <= 2 * p <= k for p, k in zip(padding, kernel, strict=True)
        ):
            return None
        ceil = bool(given["ceil_mode"])
        lengths = []
        for length, width, jump, pad, step in zip(data.shape[2:], kernel, stride, padding, dilation, strict=True):
            span = length + 2 * pad - step * (width - 1) - 1
            count = (span + (jump - 1 if ceil else 0)) // jump + 1
            lengths.append(count - 1 if ceil and (count - 1) * jump >= length + pad else count)
        return made((*data.shape[:2], *lengths), data) if min(lengths) > 0 else None

    return make


def cat(args: Arguments, kwargs: Keywords) -> Any:
    """Concatenation of tensors with equally many axes."""
    bound = bind(("tensors", "dim"), args, kwargs)
    if bound is None or not isinstance(bound[0], tuple | list) or not bound[0] or not plain(bound[0][0]):
        return None
    tensors, first, dim = bound[0], bound[0][0], bare(bound[1]) if isinstance(bound[1], int) else 0
    if not all(isinstance(entry, Tensor) for entry in tensors) or not alike(*tensors, dtype=first.dtype):
        return None
    shape = list(first.shape)
    if not -len(shape) <= dim < len(shape) or not (bound[1] is None or isinstance(bound[1], int)):
        return None
    shape[dim] = sum(entry.shape[dim] if entry.dim() == len(shape) else 0 for entry in tensors)
    expected = [list(entry.shape) for entry in tensors]
    for lengths in expected:
        if len(lengths) != len(shape):
            return None
        lengths[dim] = shape[dim]
    return made(shape, first) if all(lengths == shape for lengths in expected) and prod(shape) else None
