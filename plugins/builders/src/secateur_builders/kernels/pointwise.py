"""Kernels of pointwise operations: of one tensor, and of two that broadcast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from secateur_builders.kernels.common import Arguments, Kernel, Keywords, bind, copy_of, dense, plain

UNARY = {
    "abs": None,
    "celu": 2,
    "elu": 2,
    "exp": None,
    "gelu": None,
    "hardsigmoid": 1,
    "hardswish": 1,
    "hardtanh": 3,
    "leaky_relu": 2,
    "mish": 1,
    "neg": None,
    "relu": 1,
    "relu6": 1,
    "rsqrt": None,
    "selu": 1,
    "sigmoid": None,
    "silu": 1,
    "softplus": None,
    "sqrt": None,
    "square": None,
    "tanh": None,
}
"""Operations that make a tensor like their first, with the position of their argument `inplace`, if they have one."""

BINARY = frozenset({"add", "sub", "mul", "div"})


def itself(args: Arguments, kwargs: Keywords) -> Any:
    """An operation of one tensor, done in place."""
    return args[0] if args and plain(args[0]) and "out" not in kwargs else None


def unary(place: int | None) -> Kernel:
    """The kernel of an operation of one tensor, with the position of its argument `inplace`."""

    def make(args: Arguments, kwargs: Keywords) -> Any:
        if not args or not dense(args[0]) or "out" in kwargs or "dtype" in kwargs:
            return None
        inplace = place is not None and (args[place] if len(args) > place else kwargs.get("inplace", False))
        return args[0] if inplace else copy_of(args[0])

    return make


def dropout(args: Arguments, kwargs: Keywords) -> Any:
    """In training mode; otherwise torch gives back the very tensor that it was given."""
    bound = bind(("input", "p", "training", "inplace"), args, kwargs)
    if bound is None or not dense(bound[0]) or bound[2] is not True or bound[3]:
        return None
    return copy_of(bound[0]) if isinstance(bound[1], float) and 0 < bound[1] < 1 else None


def binary(args: Arguments, kwargs: Keywords) -> Any:
    """Two tensors of which one has the shape of the outcome, or a tensor and a number."""
    if len(args) != 2 or "out" in kwargs:
        return None
    left, right = args
    if not isinstance(left, Tensor):
        left, right = right, left
    if not dense(left):
        return None
    if _is_number(right):
        return copy_of(left)
    if not dense(right) or left.dtype != right.dtype:
        return None
    for full, other in ((left, right), (right, left)):
        if full.shape == other.shape:
            return copy_of(full) if full.stride() == other.stride() else None
        if plain(other) and broadcasts(other.shape, full.shape):
            return copy_of(full)
    return None


def binary_in_place(args: Arguments, kwargs: Keywords) -> Any:
    """A tensor changed in place by another one or by a number."""
    if len(args) != 2 or "out" in kwargs or not dense(args[0]):
        return None
    if _is_number(args[1]):
        return args[0]
    fits = dense(args[1]) and args[1].dtype == args[0].dtype and broadcasts(args[1].shape, args[0].shape)
    return args[0] if fits else None


def _is_number(argument: Any) -> bool:
    return isinstance(argument, int | float) and not isinstance(argument, bool)


def broadcasts(shape: Sequence[int], full: Sequence[int]) -> bool:
    """Whether a shape expands to another one.

    >>> broadcasts((4, 1), (2, 4, 3)), broadcasts((4, 3), (4, 1))
    (True, False)
    """
    if shape == full:
        return True
    return len(shape) <= len(full) and all(a in (1, b) for a, b in zip(reversed(shape), reversed(full), strict=False))
