"""The masked network: the dense one with every slice that leaves set to zero. It is the reference of exactness."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from secateur.thinning.conditions import check_fits
from secateur.thinning.plan import Indices, Plan
from secateur.thinning.state import named_tensors

if TYPE_CHECKING:
    from torch import Tensor, nn


def masked(model: nn.Module, plan: Plan) -> nn.Module:
    """Return a copy of the dense model in which all that leaves is zero, parameters and buffers alike.

    Raises `ThinError` if the plan was made for another model.
    """
    check_fits(model, plan)
    twin = copy.deepcopy(model, _results_held(model))
    zero_slices(twin, plan)
    return twin


def _results_held(model: nn.Module) -> dict[int, Any]:
    """Copies of the computed tensors that modules hold (old weight norms, a last output): they refuse to be copied."""
    import torch

    held = [value for module in model.modules() for value in module.__dict__.values()]
    return {id(v): v.detach().clone() for v in held if isinstance(v, torch.Tensor) and not v.is_leaf}


def zero_slices(model: nn.Module, plan: Plan) -> None:
    """Set all that leaves to zero, in place."""
    tensors = named_tensors(model)
    for name, axes in plan.cuts.items():
        for axis, indices in axes.items():
            if (name, axis) not in plan.unmasked:
                data = tensors[name].data
                data.index_fill_(axis, _index(indices, data), 0)


@contextmanager
def zeroed(model: nn.Module, plan: Plan) -> Iterator[None]:
    """Let the model be the masked network while the body runs; only the slices that leave are kept meanwhile."""
    tensors = named_tensors(model)
    saved: list[tuple[Tensor, int, Tensor, Tensor]] = []
    try:
        for name, axes in plan.cuts.items():
            for axis, indices in axes.items():
                if (name, axis) in plan.unmasked:
                    continue
                data = tensors[name].data
                index = _index(indices, data)
                saved.append((data, axis, index, data.index_select(axis, index)))
                data.index_fill_(axis, index, 0)
        yield
    finally:
        for data, axis, index, slices in reversed(saved):
            data.index_copy_(axis, index, slices)


def _index(indices: Indices, data: Tensor) -> Tensor:
    import torch

    return torch.from_numpy(indices).to(data.device)
