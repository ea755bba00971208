"""The tensors of a model as a checkpoint holds them: by state-dict name, tied ones once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from secateur.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor, nn


def state_tensors(model: nn.Module, where: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a model's state dict, not copied, and its tied names: {further name: first name}.

    Raises `CheckpointError` for a state that is no tensor, and for tensors without values.
    """
    import torch
    from torch.nn.parameter import is_lazy

    tensors: dict[str, Tensor] = {}
    tied: dict[str, str] = {}
    first: dict[int, str] = {}
    for name, value in model.state_dict(keep_vars=True).items():
        if not isinstance(value, torch.Tensor):
            owner = name.removesuffix("_extra_state").rstrip(".") or "the model itself"
            raise CheckpointError(
                f"the model keeps {name!r}, a {type(value).__name__} and no tensor, which a checkpoint cannot hold",
                where=where,
                hint=f"let get_extra_state of {owner} return a tensor, or remove it and use extra=",
            )
        if is_lazy(value) or value.is_meta:
            why = "not initialised yet" if is_lazy(value) else "on the meta device"
            hint = (
                "run the model once first" if is_lazy(value) else "give it memory first, with model.to_empty(device=…)"
            )
            raise CheckpointError(f"{name!r} of the model has no values: it is {why}", where=where, hint=hint)
        if id(value) in first:
            tied[name] = first[id(value)]
        else:
            first[id(value)] = name
            tensors[name] = value
    return tensors, tied


def kind_of(tensor: Tensor) -> str:
    """`floating`, `complex`, `boolean` or `integer`: dtypes of one kind are converted, others are an error."""
    import torch

    if tensor.is_floating_point():
        return "floating"
    if tensor.is_complex():
        return "complex"
    return "boolean" if tensor.dtype == torch.bool else "integer"
