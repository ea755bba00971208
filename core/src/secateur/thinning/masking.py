"""The masked network: the dense one with every slice that leaves set to zero. It is the reference of exactness."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from secateur.errors import ThinError
from secateur.thinning.conditions import check_fits
from secateur.thinning.plan import Indices, Plan
from secateur.thinning.state import named_tensors

if TYPE_CHECKING:
    from torch import Tensor, nn


def masked(model: nn.Module, plan: Plan) -> nn.Module:
    """Return a copy of the dense model in which all that leaves is zero, parameters and buffers alike.

    Constants that a plan made from zeros folds into biases are in them.

    Raises `ThinError` if the plan was made for another model, or the model cannot be copied.
    """
    import torch

    check_fits(model, plan)
    try:
        with torch.no_grad():  # recurrent layers compute normalised weights anew when they are copied
            twin = copy.deepcopy(model, results_held(model))
    except Exception as error:
        raise ThinError(
            f"the model cannot be copied: {type(error).__name__}: {error}",
            where="masked",
            hint="secateur.thin verifies without a copy",
        ) from error
    zero_slices(twin, plan)
    return twin


def results_held(model: nn.Module) -> dict[int, Any]:
    """Copies of the computed tensors that modules hold (old weight norms, a last output): they refuse to be copied.

    Recurrent layers hold theirs in a list.
    """
    import torch

    held = [value for module in model.modules() for value in module.__dict__.values()]
    held += [entry for value in held if type(value) is list for entry in value]
    return {id(v): v.detach().clone() for v in held if isinstance(v, torch.Tensor) and not v.is_leaf}


def zero_slices(model: nn.Module, plan: Plan) -> None:
    """Set all that leaves to zero, in place, after folding constants."""
    tensors = named_tensors(model)
    for name, numbers in plan.folds.items():
        tensors[name].data.add_(folded(numbers, tensors[name]))
    for name, axes in plan.cuts.items():
        for axis, indices in axes.items():
            if (name, axis) not in plan.unmasked:
                data = tensors[name].data
                data.index_fill_(axis, _index(indices, data), 0)


@contextmanager
def zeroed(model: nn.Module, plan: Plan) -> Iterator[None]:
    """Let the model be the masked network while the body runs; only the slices that leave are kept meanwhile."""
    import torch

    tensors = named_tensors(model)
    saved: list[tuple[Tensor, int, Tensor, Tensor]] = []
    try:
        for name, numbers in plan.folds.items():
            data = tensors[name].data
            every = torch.arange(len(data), device=data.device)
            saved.append((data, 0, every, data.clone()))
            data.add_(folded(numbers, data))
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


def folded(numbers: np.ndarray[Any, Any], data: Tensor) -> Tensor:
    """What is added to a tensor, where it is and in its dtype."""
    import torch

    return torch.from_numpy(numbers).to(data.device, data.dtype)


def _index(indices: Indices, data: Tensor) -> Tensor:
    import torch

    return torch.from_numpy(indices).to(data.device)
