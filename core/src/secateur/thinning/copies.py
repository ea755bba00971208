"""Copies of a model (moving averages, the best so far) that are thinned along with it, by the same plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

from secateur.errors import ThinError
from secateur.thinning.conditions import check_fits
from secateur.thinning.plan import Plan
from secateur.thinning.state import named_tensors

if TYPE_CHECKING:
    from torch import Tensor, nn


def copies_in(also: Any, model: nn.Module, plan: Plan) -> tuple[list[nn.Module], list[MutableMapping[str, Tensor]]]:
    """The copies that a user gave, one or several: modules, without their wrappers, and tables {name: tensor}.

    Raises `ThinError` unless the plan fits each.
    """
    from torch import nn

    single = isinstance(also, nn.Module | Mapping) or not isinstance(also, Iterable)
    modules: list[nn.Module] = []
    tables: list[MutableMapping[str, Tensor]] = []
    for number, given in enumerate((also,) if single else also):
        where = "also" if single else f"also[{number}]"
        if plan.folds:
            raise ThinError(
                "the plan folds constants of this model into biases, and those of a copy are others",
                where=where,
                hint="thin without also= and make the copy anew",
            )
        if isinstance(given, nn.Module):
            modules.append(_module(given, model, plan, where))
        elif isinstance(given, MutableMapping):
            _check_table(given, model, plan, where)
            tables.append(given)
        else:
            what = f"expected a copy of the model, or a dict of its tensors by name, got {type(given).__name__}"
            raise ThinError(what, where=where, hint="of AveragedModel and the like, give the object itself")
    return list({id(each): each for each in modules}.values()), list({id(each): each for each in tables}.values())


def _module(given: nn.Module, model: nn.Module, plan: Plan, where: str) -> nn.Module:
    from torch import nn

    inner = given
    while not plan.shapes.keys() <= named_tensors(inner).keys() and isinstance(
        within := getattr(inner, "module", None), nn.Module
    ):
        inner = within
    try:
        check_fits(inner, plan)
    except ThinError as error:
        raise ThinError(
            error.what, where=f"{where}: {error.where}", hint="give a copy of the model as it is now"
        ) from None
    own = {id(tensor) for tensor in named_tensors(model).values()}
    for name, tensor in named_tensors(inner).items():
        if id(tensor) in own:
            what = f"it shares {name} with the model, and is no copy"
            raise ThinError(what, where=where, hint="give copy.deepcopy(model) or an AveragedModel of it")
    return inner


def _check_table(table: Mapping[str, Any], model: nn.Module, plan: Plan, where: str) -> None:
    import torch

    for name, dense in aliases(model).items():
        if dense not in plan.cuts:
            continue
        if name not in table:
            if name == dense and name in dict(model.named_parameters()):
                raise ThinError("the plan cuts it, the copy does not have it", where=f"{where}: {name}")
            continue
        held, shape = table[name], plan.shapes[dense]
        if not isinstance(held, torch.Tensor) or tuple(held.shape) != tuple(shape):
            found = tuple(held.shape) if isinstance(held, torch.Tensor) else type(held).__name__
            what = f"the plan was made for shape {tuple(shape)}, it has {found}"
            raise ThinError(what, where=f"{where}: {name}", hint="give a copy of the model as it is now")


def aliases(model: nn.Module) -> dict[str, str]:
    """{every name of every tensor of a model: the name that plans know it by}"""
    known = {id(tensor): name for name, tensor in named_tensors(model).items()}
    every = [
        *model.named_parameters(remove_duplicate=False),
        *model.named_buffers(remove_duplicate=False),
    ]
    return {name: known[id(tensor)] for name, tensor in every if id(tensor) in known}
