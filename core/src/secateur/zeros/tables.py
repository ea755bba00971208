"""What operations do with an entry that is not known (NaN), by their names.

An operation in `PASSES` gives NaN at every entry of its result that depends on an entry that is NaN, and only there as
far as its arithmetic can tell. Whatever is not in the table hides or mixes what it reads (comparisons, sorting,
`nan_to_num`, recurrent networks): then nothing of its result is known.
"""

from __future__ import annotations

from typing import Final

POINTWISE: Final = (
    "relu relu6 leaky_relu elu selu celu gelu silu mish hardswish tanh tanhshrink softshrink hardshrink softsign rrelu "
    "abs neg sqrt square sin asin sinh asinh tan atan atanh erf expm1 log1p trunc round ceil floor frac positive "
    "dropout dropout1d dropout2d dropout3d feature_dropout alpha_dropout feature_alpha_dropout contiguous clone detach "
    "data requires_grad to type type_as float double half bfloat16 cpu cuda alias identity real sigmoid hardsigmoid "
    "softplus logsigmoid log_sigmoid exp exp2 cos cosh acos erfc threshold hardtanh reciprocal rsqrt log log2 log10 "
    "logit digamma lgamma acosh add sub maximum minimum where lerp addcmul addcdiv mul div pow float_power clamp "
    "clamp_min clamp_max masked_fill prelu copy setitem zero fill zeros_like ones_like empty_like full_like"
)
"""Each entry depends on those at its own place."""

MOVING: Final = (
    "reshape view reshape_as flatten ravel unflatten unsqueeze squeeze permute transpose t T H mT mH adjoint movedim "
    "expand broadcast_to expand_as repeat tile flip fliplr flipud roll rot90 cat hstack vstack dstack stack chunk "
    "split split_with_sizes tensor_split hsplit vsplit unbind pad getitem select narrow index_select gather "
    "take_along_dim pixel_shuffle pixel_unshuffle channel_shuffle native_channel_shuffle repeat_interleave diagonal "
    "tril triu unfold fold new_zeros new_ones new_empty new_full"
)
"""Entries change their places."""

REDUCING: Final = (
    "sum mean var std var_mean std_mean prod amax amin max min logsumexp softmax log_softmax softmin cumsum cumprod "
    "norm vector_norm linalg_vector_norm normalize layer_norm group_norm instance_norm batch_norm rms_norm "
    "local_response_norm glu"
)
"""Entries depend on whole axes, or on neighbours."""

POOLING: Final = (
    "avg_pool1d avg_pool2d avg_pool3d max_pool1d max_pool2d max_pool3d adaptive_avg_pool1d adaptive_avg_pool2d "
    "adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d lp_pool1d lp_pool2d interpolate "
    "upsample boolean_dispatch"
)
"""Entries depend on windows."""

PRODUCTS: Final = (
    "linear conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d matmul mm bmm mv dot inner einsum "
    "addmm addmv addbmm baddbmm bilinear tensordot embedding scaled_dot_product_attention"
)
"""Sums of products; those whose rules say so (`OpRule.contracts`) are told more exactly."""

PASSES: Final = frozenset(" ".join((POINTWISE, MOVING, REDUCING, POOLING, PRODUCTS)).split())

READING: Final = (
    "bool int float complex index item is_nonzero equal allclose contains numpy tolist array dlpack data_ptr storage "
    "untyped_storage"
)
"""Calls that turn a tensor into plain values, by which the forward may take one path or another."""

READS: Final = frozenset(READING.split())

CHANNEL_NORMS: Final = frozenset({"batch_norm", "instance_norm", "group_norm"})
"""Norms whose weight and bias lie along axis 1; those of the others lie along the last axes."""

NORMS: Final = CHANNEL_NORMS | {"layer_norm", "rms_norm"}

DRAWS: Final = "random numbers are drawn"
