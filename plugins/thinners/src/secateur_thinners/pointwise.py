"""Pointwise operations: each output element depends on the elements at its own place, with broadcasting.

All full axes at one place leave together. An axis of length 1 that is stretched over others stays. A function with
f(0) = 0 keeps pruned slices zero; a sum is zero where all terms are, a product where any factor is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from secateur.coupling.labels import Axis, Labels, fixed
from secateur.coupling.site import Site, plain
from secateur.hookspecs import hookimpl
from secateur.records import LayerAdapter, OpRule
from secateur_thinners.table import rule

ZERO_TO_ZERO = (
    "relu relu6 leaky_relu elu selu celu gelu silu mish hardswish tanh tanhshrink softshrink hardshrink softsign "
    "rrelu abs neg sqrt square sin asin sinh asinh tan atan atanh erf expm1 log1p sign sgn trunc round ceil floor "
    "frac positive nan_to_num dropout dropout1d dropout2d dropout3d feature_dropout contiguous clone detach data "
    "requires_grad to type type_as float double half bfloat16 int long short bool cpu cuda alias identity conj real "
    "zeros_like fill_zero zero"
)
"""Unary operations with f(0) = 0; further arguments only steer them."""

ZERO_TO_ANYTHING = (
    "sigmoid hardsigmoid softplus logsigmoid log_sigmoid exp exp2 cos cosh acos erfc threshold alpha_dropout "
    "feature_alpha_dropout logical_not bitwise_not isnan isinf isfinite ones_like empty_like "
    "full_like fill"
)
"""Unary operations that may turn zero into something else (never into infinity)."""

ZERO_TO_INFINITY = "reciprocal rsqrt log log2 log10 logit digamma lgamma acosh"
"""Unary operations that are not finite at zero, so that a masked network would not be either."""

RANDOM = "rand_like randn_like bernoulli normal uniform exponential"
"""Operations that draw random numbers, one for each element."""

SUMS = "add sub maximum minimum fmax fmin hypot where lerp addcmul logical_or logical_xor copysign copy"
"""Operations that are zero where all their tensors are."""

COMPARISONS = "eq ne gt ge lt le greater less not_equal greater_equal less_equal isclose"

INFINITE = "it is not finite where pruned slices are zero"


def broadcast(site: Site, tensors: Iterable[Any], zero: Callable[[Iterable[bool]], bool]) -> list[Axis]:
    """The axes of the broadcast of several tensors; `zero` says of which inputs must be zero for the output to be."""
    if len(site.shapes) > 1:
        raise NotImplementedError("the shape of its results depends on values")
    labelled = [tensor for tensor in tensors if isinstance(tensor, Labels)]
    made = []
    shape = site.shape
    for place, length in enumerate(shape):
        back = place - len(shape)
        axes = [t.axes[back] for t in labelled if -back <= len(t.axes)]
        full = [axis for axis in axes if len(axis) == length]
        if len(full) < len(axes):
            for axis in axes:
                if len(axis) != length:
                    site.fix(axis, "it is stretched over other channels")
        result = full[0] if full else fixed(length)
        for axis in full[1:]:
            result = site.tie(result, axis)
        flags = [axis.zero for axis in full]
        made.append(Axis(result.atoms, zero([*flags, *[False] * (len(labelled) - len(full))]), free=result.free))
    return made


def unary_zero(site: Site) -> Sequence[Axis]:
    """f(0) = 0: the labels as they are."""
    return _steered(site)


def unary(site: Site) -> Sequence[Axis]:
    """f(0) may be anything finite."""
    return [axis.nonzero() for axis in _steered(site)]


def _steered(site: Site) -> Sequence[Axis]:
    """The axes of the input; further tensors (`normal(mean, std)`) lie over it element by element."""
    tensors = site.tensors()
    if site.op.kind not in ("to", "type_as") and any(axis.free for other in tensors[1:] for axis in other.axes):
        return broadcast(site, tensors, all)
    axes: Sequence[Axis] = site["input"].axes
    return axes


def random(site: Site) -> Sequence[Axis]:
    """Random numbers: in training any will do; in eval mode those of fewer elements would be others."""
    axes = [axis.nonzero() for axis in _steered(site)]
    return axes if site.op.training else [site.fix(axis, "random numbers of its shape are drawn") for axis in axes]


def unary_infinite(site: Site) -> Sequence[Axis]:
    """f(0) is not finite: what is zero on pruned slices stays."""
    return [site.fix(a, INFINITE) if a.free and a.zero else a.nonzero() for a in site["input"].axes]


def clamp(site: Site) -> Sequence[Axis]:
    """Zero stays zero if it lies between the bounds."""
    low, high = plain(site["min"]), plain(site["max"])
    bounds = [bound for bound in (low, high) if isinstance(bound, Labels)]
    inside = not bounds and (low is None or low <= 0) and (high is None or high >= 0)
    return broadcast(site, [site["input"], *bounds], all if inside else _never)


def sums(site: Site) -> Sequence[Axis]:
    """Zero where every tensor is; a number that is added makes it non-zero."""
    arguments = site["args"]
    for argument in arguments:
        site.scale(argument)
    numbers = any(not isinstance(argument, Labels) for argument in arguments)
    return broadcast(site, arguments, _never if numbers else all)


def product(site: Site) -> Sequence[Axis]:
    """Zero where any factor is."""
    site.scale(site["other"])
    return broadcast(site, [site["input"], site["other"]], any)


def quotient(site: Site) -> Sequence[Axis]:
    """Zero where the numerator is; a denominator that is zero on pruned slices makes it infinite."""
    numerator, denominator = site["input"], site["other"]
    site.scale(numerator)
    site.scale(denominator)
    if isinstance(denominator, Labels):
        for axis in denominator.axes:
            if axis.free and axis.zero:
                site.fix(axis, f"as a denominator {INFINITE}")
    if not isinstance(numerator, Labels):
        return broadcast(site, [denominator], _never)
    return [
        Axis(axis.atoms, bool(flags))
        for axis, flags in zip(
            broadcast(site, [numerator, denominator], all),
            _zero_of(site, numerator),
            strict=True,
        )
    ]


def power(site: Site) -> Sequence[Axis]:
    """x ** n is zero where x is, for a number n above zero."""
    base, exponent = site["input"], plain(site["exponent"])
    if isinstance(base, Labels) and not isinstance(exponent, Labels):
        if exponent > 0:
            return list(base.axes)
        return [site.fix(a, INFINITE) if a.free and a.zero else a.nonzero() for a in base.axes]
    return broadcast(site, [base, exponent], _never)


def masked_fill(site: Site) -> Sequence[Axis]:
    """Zero where the tensor is, if the filling is the number zero."""
    value = plain(site["value"])
    labelled = [site["input"], site["mask"], value]
    if isinstance(value, Labels) or value != 0:
        return broadcast(site, labelled, _never)
    return [
        Axis(axis.atoms, flag)
        for axis, flag in zip(broadcast(site, labelled, all), _zero_of(site, site["input"]), strict=True)
    ]


def compare(site: Site) -> Sequence[Axis]:
    """Booleans at each place."""
    return broadcast(site, site["args"], _never)


def prelu(site: Site) -> Sequence[Axis]:
    """max(0, x) + w * min(0, x): one slope for all, or one per channel (axis 1)."""
    data, weight = site["input"], site["weight"]
    if len(weight.axes) == 0 or len(weight[0]) == 1:
        return list(data.axes)
    channel = 1 if len(data) > 1 else 0
    tied = site.tie(data[channel], weight[0])
    return [*data.axes[:channel], Axis(tied.atoms, data[channel].zero), *data.axes[channel + 1 :]]


def _zero_of(site: Site, tensor: Labels) -> list[bool]:
    """Whether one tensor is zero on pruned slices, for each axis of the output."""
    missing = len(site.shape) - len(tensor)
    return [
        place >= missing and len(tensor[place - missing]) == length and tensor[place - missing].zero
        for place, length in enumerate(site.shape)
    ]


def _never(flags: Iterable[bool]) -> bool:
    return False


STEERED = "input, *args, p=None, training=None, inplace=False, memory_format=None, dtype=None, device=None, " + (
    "non_blocking=False, copy=False, negative_slope=None, alpha=None, approximate=None, lambd=None, layout=None, "
    "requires_grad=False, generator=None, min_val=None, max_val=None, beta=None, threshold=None, value=None, "
    "lower=None, upper=None, pin_memory=None, nan=None, posinf=None, neginf=None, decimals=None, eps=None, out=None"
)


@hookimpl
def secateur_op_rules() -> list[OpRule]:
    """Rules for pointwise operations, by what they do to zero."""
    return [
        rule(ZERO_TO_ZERO, STEERED, unary_zero),
        rule(ZERO_TO_ANYTHING, STEERED, unary),
        rule(ZERO_TO_INFINITY, STEERED, unary_infinite),
        rule(RANDOM, STEERED, random),
        rule("clamp", "input, min=None, max=None", clamp),
        rule("clamp_min", "input, min, max=None", clamp),
        rule("hardtanh", "input, min_val|min=-1.0, max_val|max=1.0, inplace=False", hardtanh),
        rule(SUMS, "*args, alpha=1, value=1", sums),
        rule("mul logical_and", "input, other", product),
        rule(
            "div floor_divide floordiv fmod remainder",
            "input, other, rounding_mode=None",
            quotient,
        ),
        rule("pow float_power", "input, exponent", power),
        rule("masked_fill", "input, mask, value", masked_fill),
        rule(COMPARISONS, "*args", compare),
        rule("prelu", "input, weight", prelu),
    ]


def hardtanh(site: Site) -> Sequence[Axis]:
    """Zero stays zero if it lies between the bounds."""
    if plain(site["min_val"]) <= 0 <= plain(site["max_val"]):
        return unary_zero(site)
    return unary(site)


@hookimpl
def secateur_layer_adapters() -> list[LayerAdapter]:
    """The number of slopes that `nn.PReLU` holds."""
    types = ("torch.nn.modules.activation.PReLU",)
    return [LayerAdapter(name="prelu", types=types, mirrors={"num_parameters": "weight:0"})]
