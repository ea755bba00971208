"""Cut the state of an optimizer as its parameters were cut.

Every state tensor of a parameter's shape is cut like the parameter (momentum buffers, moments, …); single numbers stay.
State of any other shape is refused: nobody knows which of its entries belong to what leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from secateur.errors import ThinError
from secateur.thinning.plan import Indices

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer


NOT_FOLLOWED = {
    "LBFGS": "keeps one history for all parameters together",
    "Adafactor": "keeps row and column averages instead of one entry per weight",
    "Muon": "scales its steps by the shape of the whole matrix, so that training on would not be the same",
}
"""Optimizers whose state cannot simply be cut, and why."""


def optimizer_cuts(
    optimizer: Optimizer,
    parameters: Mapping[str, nn.Parameter],
    cuts: Mapping[str, Mapping[int, Indices]],
    cut: Callable[[Tensor, Mapping[int, Indices]], Tensor],
) -> list[tuple[dict[str, Tensor], str, Tensor]]:
    """The new state tensors, as (table, key, tensor), nothing changed yet.

    Raises `ThinError` for state that cannot be cut, naming optimizer, parameter and entry.
    """
    import torch

    if not isinstance(optimizer, torch.optim.Optimizer):
        raise ThinError(f"expected a torch.optim.Optimizer, got {type(optimizer).__name__}", where="optimizer")
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    if cuts and not any(id(parameters[name]) in held for name in cuts if name in parameters):
        raise ThinError(
            f"{type(optimizer).__name__} holds none of the parameters that the plan cuts",
            where="optimizer",
            hint="give the optimizer that trains this model",
        )
    name = type(optimizer).__name__
    if name in NOT_FOLLOWED:
        hint = "thin without optimizer= and make a new optimizer"
        raise ThinError(f"{name} {NOT_FOLLOWED[name]}, which cannot be cut", where="optimizer", hint=hint)
    made: list[tuple[dict[str, Tensor], str, Tensor]] = []
    for name, axes in cuts.items():
        if name not in parameters:
            continue
        parameter = parameters[name]
        for key, value in optimizer.state.get(parameter, {}).items():
            if not isinstance(value, torch.Tensor) or value.numel() <= 1:
                continue
            if value.shape != parameter.shape:
                raise ThinError(
                    f"{type(optimizer).__name__} keeps {key!r} of shape {tuple(value.shape)} for a parameter of "
                    f"shape {tuple(parameter.shape)}, which cannot be cut",
                    where=name,
                    hint="thin without optimizer= and make a new optimizer",
                )
            made.append((optimizer.state[parameter], key, cut(value, axes)))
    return made
