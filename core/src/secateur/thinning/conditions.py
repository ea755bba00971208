"""What must hold before a plan is applied: it was made for this model, and leaves something of everything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from secateur.errors import ThinError
from secateur.thinning.plan import Plan
from secateur.thinning.state import get_attribute, named_parameters, named_tensors

if TYPE_CHECKING:
    from torch import Tensor, nn

ANOTHER = "make a new plan for the model as it is now"


def check_fits(model: nn.Module, plan: Plan) -> None:
    """Raise `ThinError` unless every name, shape, index and attribute of the plan is found in the model."""
    import torch
    from torch import nn

    if not isinstance(model, nn.Module):
        raise ThinError(f"expected a torch.nn.Module, got {type(model).__name__}", where="model")
    if not isinstance(plan, Plan):
        raise ThinError(f"expected what secateur.plan returns, got {type(plan).__name__}", where="plan")
    for path, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            where = f"model.{path}" if path else "model"
            raise ThinError(
                "it is scripted by torch.jit, which cannot change its shape", where=where, hint="thin, then script"
            )
    tensors = named_tensors(model)
    for name in plan.cuts:
        if name in tensors and tensors[name].is_inference():
            raise ThinError(
                "it was made in torch.inference_mode, and cannot be changed any more",
                where=name,
                hint="make or load the model outside of it",
            )
    for name, shape in plan.shapes.items():
        if name not in tensors:
            raise ThinError("the plan names it, the model does not have it", where=name, hint=ANOTHER)
        if tuple(tensors[name].shape) != tuple(shape):
            found = tuple(tensors[name].shape)
            raise ThinError(f"the plan was made for shape {tuple(shape)}, it has {found}", where=name, hint=ANOTHER)
    _check_known(model, plan)
    for name, numbers in plan.folds.items():
        if plan.shapes.get(name) != numbers.shape:
            raise ThinError(f"the plan adds numbers of shape {numbers.shape} to it", where=name, hint=ANOTHER)
    for name, axes in plan.cuts.items():
        for axis, indices in axes.items():
            if name not in plan.shapes or not 0 <= axis < len(plan.shapes[name]):
                raise ThinError(f"the plan cuts axis {axis}, which it does not have", where=name, hint=ANOTHER)
            length = plan.shapes[name][axis]
            if len(indices) and not 0 <= indices.min() <= indices.max() < length:
                raise ThinError(f"the plan cuts indices outside axis {axis} of length {length}", where=name)
            if len(indices) >= length:
                raise ThinError(f"the plan leaves nothing of axis {axis}", where=name, hint="keep at least one unit")
    _check_memory(plan, tensors)
    for (module, attribute), (old, _) in plan.attributes.items():
        path = f"{module}.{attribute}" if module else attribute
        try:
            held = get_attribute(model, module, attribute)
        except AttributeError:
            raise ThinError("the plan changes this attribute, the model does not have it", where=path) from None
        if held != old and not (isinstance(held, list) and tuple(held) == tuple(old)):  # a saved plan knows tuples only
            raise ThinError(f"the plan was made for the value {old}, it is {held}", where=path, hint=ANOTHER)


def _check_known(model: nn.Module, plan: Plan) -> None:
    """Refuse a larger model of which the plan knows only a part; steps of a recipe know only what they cut."""
    if not plan.dims and plan.example_inputs is None:
        return
    for name in named_parameters(model):
        if name not in plan.shapes:
            what = f"the plan was made for another model: it does not know {name}"
            raise ThinError(what, where="plan", hint=ANOTHER)


def _check_memory(plan: Plan, tensors: Mapping[str, Tensor]) -> None:
    """Refuse to cut a tensor that shares memory with another one: the tie between them would be lost unseen."""
    import torch

    owners: dict[int, str] = {}
    for name, tensor in tensors.items():
        if tensor.is_meta or tensor.layout != torch.strided or not tensor.numel():
            continue
        first = owners.setdefault(tensor.untyped_storage().data_ptr(), name)
        if first != name and (name in plan.cuts or first in plan.cuts):
            raise ThinError(
                f"it shares its memory with {first!r}, and cutting would part them",
                where=name,
                hint="tie the Parameter itself (one object under two names), or give each its own memory",
            )
