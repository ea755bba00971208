"""Kernels of layers with weights: convolutions, linear layers, norms, attention."""

from __future__ import annotations

from typing import Any

import torch

from secateur_builders.kernels.common import (
    EXACT,
    Arguments,
    Kernel,
    Keywords,
    alike,
    bind,
    copy_of,
    dense,
    made,
    numbers,
    plain,
)
from secateur_builders.provenance import bare

CONVOLUTION = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")


def convolution(dims: int) -> Kernel:
    """The kernel of a convolution over so many axes, with padding given in numbers."""

    def make(args: Arguments, kwargs: Keywords) -> Any:
        bound = bind(CONVOLUTION, args, kwargs)
        if bound is None:
            return None
        data, weight, bias = bound[:3]
        if not dense(data) or weight is None or not alike(weight, bias, dtype=data.dtype):
            return None
        if not data.dim() == weight.dim() == dims + 2 or (bias is not None and bias.shape != weight.shape[:1]):
            return None
        stride = numbers(1 if bound[3] is None else bound[3], dims)
        padding = numbers(0 if bound[4] is None else bound[4], dims)
        dilation = numbers(1 if bound[5] is None else bound[5], dims)
        groups = 1 if bound[6] is None else bare(bound[6])
        if stride is None or padding is None or dilation is None or groups < 1:
            return None
        lengths, kernel = data.shape, weight.shape
        shape = [lengths[0], kernel[0]]
        if lengths[1] != kernel[1] * groups or kernel[0] % groups or not lengths[1]:
            return None
        for axis in range(dims):
            jump, pad, step = stride[axis], padding[axis], dilation[axis]
            if jump < 1 or pad < 0 or step < 1:
                return None
            shape.append((lengths[axis + 2] + 2 * pad - step * (kernel[axis + 2] - 1) - 1) // jump + 1)
        return made(shape, data, channels_last=not data.is_contiguous()) if min(shape) > 0 else None

    return make


def linear(args: Arguments, kwargs: Keywords) -> Any:
    """A linear layer replaces the last axis."""
    bound = bind(("input", "weight", "bias"), args, kwargs)
    if bound is None:
        return None
    data, weight, bias = bound
    if not plain(data) or weight is None or not alike(weight, bias, dtype=data.dtype):
        return None
    if weight.dim() != 2 or not data.dim() or data.shape[-1] != weight.shape[1]:
        return None
    return made((*data.shape[:-1], weight.shape[0]), data) if bias is None or bias.shape == weight.shape[:1] else None


def batch_norm(args: Arguments, kwargs: Keywords) -> Any:
    """Torch's own refuses a batch of one in training mode, where the shapes are the same."""
    data: Any = args[0] if args else None
    if type(data) not in EXACT or not data.is_meta or not data.is_floating_point() or data.dim() < 2:
        return None
    mean = args[1] if len(args) > 1 else None
    if mean is not None and mean.shape != data.shape[1:2]:
        return None
    return copy_of(data) if dense(data) else torch.empty_like(data)


def layer_norm(args: Arguments, kwargs: Keywords) -> Any:
    """What comes out is contiguous even if the input is not."""
    bound = bind(("input", "normalized_shape", "weight", "bias", "eps"), args, kwargs)
    if bound is None or type(bound[0]) not in EXACT or not bound[0].is_meta or not bound[0].is_floating_point():
        return None
    data, lengths, weight, bias, _ = bound
    shape = numbers(lengths, len(lengths)) if isinstance(lengths, tuple | list) else None
    if not shape or not alike(weight, bias, dtype=data.dtype) or data.shape[-len(shape) :] != shape:
        return None
    if any(tensor is not None and tensor.shape != shape for tensor in (weight, bias)):
        return None
    return made(data.shape, data)


# fmt: off
ATTENTION = (
    "query", "key", "value", "embed_dim_to_check", "num_heads", "in_proj_weight", "in_proj_bias", "bias_k", "bias_v",
    "add_zero_attn", "dropout_p", "out_proj_weight", "out_proj_bias", "training", "key_padding_mask", "need_weights",
    "attn_mask", "use_separate_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight", "static_k", "static_v",
    "average_attn_weights", "is_causal",
)
UNUSED = (
    "bias_k", "bias_v", "add_zero_attn", "key_padding_mask", "attn_mask", "use_separate_proj_weight", "static_k",
    "static_v", "is_causal",
)
# fmt: on


def attention(args: Arguments, kwargs: Keywords) -> Any:
    """Multi-head self-attention in its plain form, without masks and without weights as a second output."""
    bound = bind(ATTENTION, args, kwargs)
    if bound is None:
        return None
    given = dict(zip(ATTENTION, bound, strict=True))
    query, width, heads = given["query"], given["embed_dim_to_check"], given["num_heads"]
    weights = [given[name] for name in ("in_proj_weight", "in_proj_bias", "out_proj_weight", "out_proj_bias")]
    if given["need_weights"] is not False or any(not _missing(given[name]) for name in UNUSED):
        return None
    if not (query is given["key"] is given["value"]) or type(query) not in EXACT or not query.is_meta:
        return None
    if not isinstance(width, int) or not isinstance(heads, int) or query.dim() != 3:
        return None
    size = bare(width)
    shapes = [None if tensor is None else tuple(tensor.shape) for tensor in weights]
    fits = shapes[0] == (3 * size, size) and shapes[2] == (size, size)
    fits = fits and shapes[1] in (None, (3 * size,)) and shapes[3] in (None, (size,))
    if not fits or not alike(*weights, dtype=query.dtype) or query.shape[2] != size or size % bare(heads):
        return None
    return made(query.shape, query), None


def _missing(argument: Any) -> bool:
    return argument is None or argument is False
