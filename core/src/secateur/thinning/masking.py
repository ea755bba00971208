"""The masked network: the dense one with every slice that leaves set to zero. It is the reference of exactness."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from secateur.thinning.conditions import check_fits
from secateur.thinning.plan import Plan
from secateur.thinning.state import named_tensors

if TYPE_CHECKING:
    from torch import nn


def masked(model: nn.Module, plan: Plan) -> nn.Module:
    """Return a copy of the dense model in which all that leaves is zero, parameters and buffers alike.

    Raises `ThinError` if the plan was made for another model.
    """
    check_fits(model, plan)
    twin = copy.deepcopy(model)
    zero_slices(twin, plan)
    return twin


def zero_slices(model: nn.Module, plan: Plan) -> None:
    """Set all that leaves to zero, in place."""
    import torch

    tensors = named_tensors(model)
    with torch.no_grad():
        for name, axes in plan.cuts.items():
            for axis, indices in axes.items():
                tensor = tensors[name].data
                tensor.index_fill_(axis, torch.from_numpy(indices).to(tensor.device), 0)
