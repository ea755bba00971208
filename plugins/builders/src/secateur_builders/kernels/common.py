"""What kernels share: which tensors they answer for, how they make one, and how they read arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from secateur_builders.provenance import bare

Arguments = tuple[Any, ...]
Keywords = Mapping[str, Any]
Kernel = Callable[[Arguments, Keywords], Any]

META = torch.device("meta")
EXACT = frozenset({Tensor, nn.Parameter})


def plain(tensor: Any) -> bool:
    """Whether a kernel may answer for a tensor."""
    return type(tensor) in EXACT and tensor.is_meta and tensor.is_floating_point() and tensor.is_contiguous()


def dense(tensor: Any) -> bool:
    """Whether a kernel that keeps strides may answer for a tensor."""
    return plain(tensor) or (
        type(tensor) in EXACT
        and tensor.is_meta
        and tensor.is_floating_point()
        and tensor.dim() == 4
        and tensor.is_contiguous(memory_format=torch.channels_last)
    )


def copy_of(tensor: Tensor) -> Tensor:
    """A tensor without data of the same shape, strides and type."""
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=META)


def made(shape: Sequence[int], tensor: Tensor, channels_last: bool = False) -> Tensor:
    """A tensor without data of a shape, and of the type of another one (`torch.empty` takes twice as long)."""
    strides, step = [1] * len(shape), 1
    for axis in (1, *range(len(shape) - 1, 1, -1), 0) if channels_last else range(len(shape) - 1, -1, -1):
        strides[axis] = step
        step *= max(shape[axis], 1)
    return torch.empty_strided(tuple(shape), strides, dtype=tensor.dtype, device=META)


def alike(*tensors: Tensor | None, dtype: torch.dtype) -> bool:
    """Whether all tensors that are given are plain and of one type."""
    for tensor in tensors:  # noqa: SIM110 - all() of a generator takes twice as long
        if tensor is not None and not (plain(tensor) and tensor.dtype == dtype):
            return False
    return True


def numbers(argument: Any, count: int) -> tuple[int, ...] | None:
    """An integer, or a sequence of one or `count`, as `count` plain integers."""
    if isinstance(argument, int):
        return (bare(argument),) * count
    if not isinstance(argument, tuple | list):
        return None
    try:
        found = tuple(map(bare, argument))
    except TypeError:  # an entry is no integer
        return None
    return found * count if len(found) == 1 else found if len(found) == count else None


def bind(names: Sequence[str], args: Arguments, kwargs: Keywords) -> list[Any] | None:
    """The arguments in the order of their names, None for those not given; None for a call of another form."""
    if len(args) > len(names):
        return None
    rest = names[len(args) :]
    if not kwargs:
        return [*args, *[None] * len(rest)]
    if not kwargs.keys() <= set(rest):
        return None
    return [*args, *(kwargs.get(name) for name in rest)]
