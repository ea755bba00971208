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
    """The output tensors of one quiet run."""
    given = placed(inputs, model)
    with quiet(model):
        made = model(**given) if isinstance(given, Mapping) else model(*given)
    return [leaf.detach().clone() for leaf in tensors_in(made)[0]]


def placed(inputs: Any, model: nn.Module) -> Any:
    """Copies of the inputs where the model is, floating-point ones in its dtype; a forward may change them."""
    import torch
    from torch.utils import _pytree as pytree

    parameter = next(iter(model.parameters()), None)

    def place(leaf: Any) -> Any:
        if not isinstance(leaf, torch.Tensor):
            return leaf
        if parameter is None:
            return leaf.detach().clone()
        same_kind = leaf.is_floating_point() and parameter.is_floating_point()
        return leaf.detach().to(parameter.device, parameter.dtype if same_kind else leaf.dtype, copy=True)

    return pytree.tree_map(place, inputs)


def telling(inputs: Any) -> Any:
    """The inputs, or random ones of their shape if all floating-point ones are constant, which tells little."""
    import torch
    from torch.utils import _pytree as pytree

    tensors = [leaf for leaf in pytree.tree_leaves(inputs) if isinstance(leaf, torch.Tensor)]
    floats = [leaf for leaf in tensors if leaf.is_floating_point()]
    if any(leaf.numel() < 2 or bool((leaf != leaf.reshape(-1)[0]).any()) for leaf in floats):
        return inputs
    generator = torch.Generator().manual_seed(0)

    def draw(leaf: Any) -> Any:
        if not isinstance(leaf, torch.Tensor) or not leaf.is_floating_point():
            return leaf
        return torch.randn(leaf.shape, generator=generator).to(leaf.device, leaf.dtype)

    return pytree.tree_map(draw, inputs)


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
        a, b = (_real(tensor).to(torch.float64) for tensor in (left, right))
        same = (a == b) | (a.isnan() & b.isnan())  # infinities and NaN of the reference must be matched
        gap = torch.where(same, 0.0, (a - b).abs())
        largest = float(torch.where(a.isfinite(), a.abs(), 0.0).max())
        worst = float("inf") if bool(gap.isnan().any()) else float(gap.max())
        absolute = max(absolute, worst)
        if worst:
            relative = max(relative, worst / largest if largest else float("inf"))
    return Difference(absolute, relative, tolerance)


def _real(tensor: Tensor) -> Tensor:
    import torch

    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor


def float_dtype(model: nn.Module) -> torch.dtype:
    """The dtype of the model's first floating-point parameter, or of the parts of the first complex one."""
    import torch

    found = (p.dtype.to_real() for p in model.parameters() if p.is_floating_point() or p.is_complex())
    return next(found, torch.float32)
