"""Shapes worked out without torch are those that torch makes, and what does not fit is left to torch to refuse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import secateur
from secateur_builders.known import Call
from secateur_builders.tensors import map_nested

x, y = torch.randn(2, 6, 9, 8), torch.randn(2, 6, 9, 8)
last = torch.randn(2, 9, 8, 6).permute(0, 3, 1, 2)
column, rows, token = torch.randn(6, 1, 1), torch.randn(5, 12), torch.randn(3, 4, 12)
filters, bias, deep = torch.randn(4, 6, 3, 2), torch.randn(4), torch.randn(12, 1, 3, 3)
square, stacked, wide = torch.randn(12, 12), torch.randn(36, 12), torch.randn(36)

Case = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]


def call(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Case:
    return function, args, kwargs


FITS = {
    "convolution": call(F.conv2d, x, filters, bias, (2, 1), (1, 0), 1, 1),
    "dilated": call(F.conv2d, x, filters, None, 1, (2, 3), (3, 2)),
    "depthwise": call(F.conv2d, x, deep, groups=6, padding=1),
    "channels last": call(F.conv2d, last, filters),
    "one axis": call(F.conv1d, torch.randn(2, 6, 9), torch.randn(4, 6, 3), stride=(2,)),
    "three axes": call(F.conv3d, torch.randn(1, 2, 5, 6, 7), torch.randn(4, 2, 1, 2, 3)),
    "linear": call(F.linear, token, rows, torch.randn(5)),
    "vector": call(F.linear, torch.randn(12), rows),
    "batch norm": call(F.batch_norm, x, torch.zeros(6), torch.ones(6)),
    "batch norm, channels last": call(F.batch_norm, last, torch.zeros(6), torch.ones(6)),
    "layer norm": call(F.layer_norm, x, (9, 8), torch.randn(9, 8), None),
    "layer norm of permuted": call(F.layer_norm, last.permute(0, 2, 3, 1), [6], torch.randn(6), torch.randn(6)),
    "layer norm of transposed": call(F.layer_norm, x.transpose(1, 3), (6,)),
    "max pool": call(F.max_pool2d, x, 3, 2, 1),
    "max pool, ceiling": call(F.max_pool2d, x, 3, 2, ceil_mode=True),
    "max pool, dilated": call(F.max_pool2d, x, (2, 3), dilation=2),
    "average pool": call(F.avg_pool2d, x, (3, 2), ceil_mode=True),
    "global pool": call(F.adaptive_avg_pool2d, x, 1),
    "adaptive pool": call(F.adaptive_avg_pool2d, x, (4, 3)),
    "global pool, channels last": call(F.adaptive_avg_pool2d, last, (1, 1)),
    "adaptive pool, channels last": call(F.adaptive_avg_pool2d, last, (4, 3)),
    "mean of all": call(torch.mean, x),
    "mean over an axis": call(torch.Tensor.mean, x, -1),
    "mean over axes": call(torch.mean, x, [2, 3]),
    "mean that keeps axes": call(torch.Tensor.mean, x, (0, -2), keepdim=True),
    "dropout": call(F.dropout, last, 0.3, training=True),
    "relu": call(F.relu, last),
    "gelu": call(F.gelu, token, approximate="tanh"),
    "sigmoid": call(torch.sigmoid, x),
    "negative": call(torch.Tensor.__neg__, x),
    "hardswish": call(F.hardswish, x),
    "add": call(torch.add, x, y, alpha=2),
    "add channels last": call(torch.add, last, last),
    "scale": call(torch.mul, column, last),
    "scale by a number": call(torch.Tensor.__rsub__, x, 1),
    "divide": call(torch.Tensor.div, x, torch.randn(8)),
    "of one element": call(torch.mul, x, torch.tensor(2.0)),
    "cat": call(torch.cat, [x, y, x], 1),
    "cat at the end": call(torch.cat, (x, y), dim=-1),
}


@pytest.mark.parametrize("case", FITS.values(), ids=FITS)
def test_outcomes_are_those_of_torch(case: Case) -> None:
    function, args, kwargs = case
    made, due = kernel_of(function)(*without_data(args, kwargs)), function(*args, **kwargs)
    assert (made.shape, made.dtype, made.device.type) == (due.shape, due.dtype, "meta")
    assert made.stride() == due.stride()


def test_attention_is_that_of_torch() -> None:
    given = (token, token, token, 12, 3, stacked, wide, None, None, False, 0.0, square, torch.randn(12))
    made, weights = kernel_of(F.multi_head_attention_forward)(*without_data(given, {"need_weights": False}))
    due, none = F.multi_head_attention_forward(*given, need_weights=False)
    assert (made.shape, made.stride(), weights, none) == (due.shape, due.stride(), None, None)


LEFT_TO_TORCH = {
    "other channels": call(F.conv2d, torch.randn(2, 5, 9, 8), filters),
    "kernel too large": call(F.conv2d, x[:, :, :2], filters),
    "other bias": call(F.conv2d, x, filters, torch.randn(3)),
    "groups": call(F.conv2d, x, filters, groups=4),
    "named padding": call(F.conv2d, x, filters, padding="same"),
    "no batch": call(F.conv2d, x[0], filters),
    "other type": call(F.conv2d, x.double(), filters),
    "linear, other width": call(F.linear, x, rows),
    "linear, other bias": call(F.linear, token, rows, torch.randn(4)),
    "layer norm, other shape": call(F.layer_norm, x, (6,)),
    "layer norm, other weight": call(F.layer_norm, x, (8,), torch.randn(9)),
    "batch norm, other statistics": call(F.batch_norm, x, torch.zeros(5), torch.ones(5)),
    "pool, padded too much": call(F.max_pool2d, x, 2, 2, 2),
    "pool, too small": call(F.max_pool2d, x, 10),
    "mean over no such axis": call(torch.mean, x, 4),
    "mean over an axis twice": call(torch.mean, x, (1, -3)),
    "mean over no axes": call(torch.mean, x, ()),
    "mean as another type": call(torch.mean, x, 1, dtype=torch.float64),
    "mean of permuted": call(torch.mean, last, 1),
    "dropout that does nothing": call(F.dropout, x, 0.3, training=False),
    "dropout of all": call(F.dropout, x, 1.5),
    "no such shape": call(torch.add, x, torch.randn(5, 8)),
    "both stretched": call(torch.add, torch.randn(4, 1), torch.randn(1, 3)),
    "promoted": call(torch.add, x, x.double()),
    "integers": call(torch.add, x, torch.arange(8)),
    "other layout": call(torch.add, x, last),
    "cat of other shapes": call(torch.cat, [x, token], 1),
    "cat of other lengths": call(torch.cat, [x, y[:, :, 1:]], 1),
    "no such axis": call(torch.cat, [x, y], 4),
    "strided": call(F.relu, x.transpose(1, 2)),
    "result given": call(torch.sigmoid, x, out=y),
}


@pytest.mark.parametrize("case", LEFT_TO_TORCH.values(), ids=LEFT_TO_TORCH)
def test_whatever_is_not_sure_is_left_to_torch(case: Case) -> None:
    function, args, kwargs = case
    assert kernel_of(function)(*without_data(args, kwargs)) is None


def test_in_place_calls_give_back_the_tensor_they_change() -> None:
    for function, others in ((torch.Tensor.add_, (y,)), (torch.relu_, ()), (torch.Tensor.__imul__, (column,))):
        args, kwargs = without_data((x, *others), {})
        assert kernel_of(function)(args, kwargs) is args[0]
    args, kwargs = without_data((column, x), {})
    assert kernel_of(torch.Tensor.add_)(args, kwargs) is None


def test_a_misfit_is_told_by_torch() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(4, 8, 3))
    with pytest.raises(secateur.CaptureError, match=r"expected input.* to have 4 channels, but got 8 channels"):
        secateur.trace(model, (torch.randn(1, 3, 9, 9),))


def kernel_of(function: Callable[..., Any]) -> Callable[..., Any]:
    """The kernel of a function, under the name by which the recorder sees it."""
    seen: list[Any] = []
    args = CALLED.get(function, (x,))

    class Watch(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            seen.append(func)
            return func(*args, **(kwargs or {}))

    with Watch():
        function(*args)
    kernel = Call.of(seen[0]).kernel
    assert kernel is not None
    return kernel


CALLED: dict[Callable[..., Any], tuple[Any, ...]] = {
    F.conv1d: (token, torch.randn(2, 4, 3)),
    F.conv2d: (x, filters),
    F.conv3d: (torch.randn(1, 2, 3, 3, 3), torch.randn(1, 2, 1, 1, 1)),
    **dict.fromkeys((torch.add, torch.mul, torch.Tensor.div, torch.Tensor.add_), (x, x)),
    **dict.fromkeys((F.max_pool2d, F.avg_pool2d, F.adaptive_avg_pool2d, torch.Tensor.__rsub__), (x, 1)),
    torch.Tensor.add_: (y.clone(), x),
    torch.Tensor.__imul__: (y.clone(), x),
    torch.relu_: (y.clone(),),
    torch.cat: ([x, x],),
    F.linear: (token, rows),
    F.batch_norm: (x, torch.zeros(6), torch.ones(6)),
    F.layer_norm: (x, (8,)),
    F.multi_head_attention_forward: (token, token, token, 12, 3, stacked, wide, None, None, False, 0.0, square, None),
}


def without_data(args: Any, kwargs: Any) -> tuple[Any, Any]:
    """The same arguments with tensors on the meta device, each of them once."""
    made: dict[int, Tensor] = {}

    def move(argument: Any) -> Any:
        return made.setdefault(id(argument), argument.to("meta")) if isinstance(argument, Tensor) else argument

    return map_nested(move, args), map_nested(move, kwargs)
