"""Run two networks on the same inputs, without leaving a trace, and measure how far apart their outputs are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from attrs import frozen

from secateur.graph.nested import tensors_in
from secateur.graph.preserve import preserved

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

TOLERANCES = {"float64": 1e-9, "float32": 1e-4, "float16": 5e-2, "bfloat16": 2e-1}
"""Largest relative difference that float reordering explains, by the dtype of the parameters."""


@frozen
class Difference:
    """How far two runs are apart: `absolute` and `relative` to the largest output, over all output tensors."""

    absolute: float
    relative: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the difference is within tolerance; NaN is not."""
        return self.relative <= self.tolerance


@contextmanager
def quiet(model: nn.Module) -> Iterator[None]:
    """Eval mode, no gradients; the random state, the modules' attributes and the buffers are restored afterwards."""
    import torch

    dense = [buffer for buffer in model.buffers() if buffer.layout == torch.strided]
    buffers = [(buffer, buffer.detach().clone()) for buffer in dense]
    try:
        with preserved(model), torch.no_grad():
            for module in model.modules():
                module.training = False
            yield
    finally:
        for buffer, saved in buffers:
            if buffer.shape == saved.shape and not torch.equal(buffer, saved):
                buffer.data.copy_(saved)


def outputs(model: nn.Module, inputs: Any) -> list[Tensor]:
    """The floating-point output tensors of one quiet run."""
    from torch.utils import _pytree as pytree

    moved = pytree.tree_map(lambda leaf: _on_device(leaf, model), inputs)
    with quiet(model):
        made = model(**moved) if isinstance(moved, Mapping) else model(*moved)
    return [leaf.detach().clone() for leaf in tensors_in(made)[0]]


def _on_device(leaf: Any, model: nn.Module) -> Any:
    """An input where the model is, in its floating-point dtype."""
    import torch

    parameter = next(iter(model.parameters()), None)
    if not isinstance(leaf, torch.Tensor) or parameter is None:
        return leaf
    if leaf.is_floating_point() and parameter.is_floating_point():
        return leaf.detach().to(parameter.device, parameter.dtype)
    return leaf.detach().to(parameter.device)


def compare(reference: list[Tensor], other: list[Tensor], dtype: torch.dtype) -> Difference:
    """The difference of two lists of outputs. Outputs of different number or shape differ infinitely."""
    import torch

    tolerance = TOLERANCES.get(str(dtype).removeprefix("torch."), 1e-4)
    if [tuple(tensor.shape) for tensor in reference] != [tuple(tensor.shape) for tensor in other]:
        return Difference(float("inf"), float("inf"), tolerance)
    absolute = relative = 0.0
    for left, right in zip(reference, other, strict=True):
        if not left.numel():
            continue
        a, b = left.to(torch.float64), right.to(torch.float64)
        same = (a == b) | (a.isnan() & b.isnan())  # infinities and NaN of the reference must be matched
        gap = torch.where(same, 0.0, (a - b).abs())
        largest = float(torch.where(a.isfinite(), a.abs(), 0.0).max())
        worst = float("inf") if bool(gap.isnan().any()) else float(gap.max())
        absolute = max(absolute, worst)
        if worst:
            relative = max(relative, worst / largest if largest else float("inf"))
    return Difference(absolute, relative, tolerance)


def float_dtype(model: nn.Module) -> torch.dtype:
    """The dtype of the model's first floating-point parameter."""
    import torch

    return next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
