"""Check that a checkpoint fits a model before anything is touched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from secateur.checkpoint.contents import MODEL, Contents
from secateur.checkpoint.header import Header
from secateur.checkpoint.naming import renamed
from secateur.checkpoint.tensors import kind_of, state_tensors
from secateur.errors import CheckpointError
from secateur.thinning.recipe import Recipe, Step, recipe_of
from secateur.thinning.state import get_attribute, named_tensors

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

Shape = tuple[int, ...]
FRESH = "give a fresh model, built with the arguments of the one that was saved"

WRAPPERS = {"OptimizedModule": "_orig_mod", "DataParallel": "module", "DistributedDataParallel": "module"}
"""Types of torch around a model: {type: the attribute that has the model}."""


def check_kinds(model: nn.Module, optimizer: Optimizer | None, where: str) -> None:
    """Raise `CheckpointError` for a model or an optimizer that is none, above all for several optimizers."""
    from torch import nn

    if not isinstance(model, nn.Module):
        what = f"expected a torch.nn.Module, got {type(model).__name__}"
        raise CheckpointError(what, where=where, hint="give the model first, then its optimizer")
    if optimizer is not None and not hasattr(optimizer, "param_groups"):
        what = f"expected one torch.optim.Optimizer, got {type(optimizer).__name__}"
        hint = "give one; the state_dict() of further ones can be saved in extra="
        raise CheckpointError(what, where=where, hint=hint)


def check_bound(model: nn.Module, scheduler: Any, where: str) -> None:
    """Raise `CheckpointError` for a schedule that prunes another model than the one that is loaded."""
    theirs = getattr(scheduler, "model", None)
    if theirs is not None and all(module is not theirs for module in model.modules()):
        what = f"the schedule given is bound to another model, a {type(theirs).__name__}"
        raise CheckpointError(what, where=where, hint="make it with this very model")


def check_wrapped(model: nn.Module, header: Header, where: str) -> None:
    """Raise `CheckpointError` for a model that is wrapped where the one that was saved was not."""
    kind = type(model).__name__
    inside = WRAPPERS.get(kind)
    if inside and not any(name.startswith(f"{MODEL}{inside}.") for name in header.tensors):
        what = f"the model is wrapped in {kind}, the one in the file was not"
        raise CheckpointError(what, where=where, hint=f"give the model inside, model.{inside}")


def remaining(model: nn.Module, recipe: Recipe, where: str) -> Recipe:
    """The steps that the model still needs: all for a dense one, none if it is thin by the same recipe."""
    done = recipe_of(model)
    if not done.steps:
        return recipe
    if recipe.same(done) or recipe.same(renamed(model, done)):
        return Recipe()
    raise CheckpointError("the model was thinned already, by another recipe than the file's", where=where, hint=FRESH)


def check_fits(model: nn.Module, recipe: Recipe, contents: Contents, header: Header, where: str) -> None:
    """Raise `CheckpointError`, naming the first thing that differs, unless recipe and tensors fit the model.

    Shapes are followed through all steps of the recipe without changing the model.
    """
    state_tensors(model, where)  # those without values have no shapes either
    shapes = {name: tuple(tensor.shape) for name, tensor in named_tensors(model).items()}
    attributes: dict[tuple[str, str], Any] = {}
    for step in recipe.steps:
        _follow(step, model, shapes, attributes, where)
    _check_tensors(model, shapes, contents, header, where)


def _follow(
    step: Step, model: nn.Module, shapes: dict[str, Shape], attributes: dict[tuple[str, str], Any], where: str
) -> None:
    for name, shape in step.shapes.items():
        if name not in shapes:
            raise _stranger(name, where)
        if shapes[name] != shape:
            raise _misfit(name, shape, shapes[name], where, "before thinning ")
    for name, axes in step.cuts.items():
        lengths = list(shapes[name])
        for axis, leaving in axes.items():
            if not 0 <= axis < len(lengths) or len(leaving) >= lengths[axis]:
                what = f"cuts {len(leaving)} slices of axis {axis} of {name!r}, shape {shapes[name]}"
                raise CheckpointError(f"its recipe is damaged: it {what}", where=where, hint="save it again")
            lengths[axis] -= len(leaving)
        shapes[name] = tuple(lengths)
    for (module, attribute), (old, new) in step.attributes.items():
        path = f"{module}.{attribute}" if module else attribute
        try:
            held = attributes.get((module, attribute), get_attribute(model, module, attribute))
        except AttributeError:
            raise CheckpointError(f"{path!r} is in the file, not in the model", where=where, hint=FRESH) from None
        if attribute.startswith("__") or isinstance(held, bool):
            what = f"changes {path!r}, which no thinning changes"
            raise CheckpointError(f"its recipe is damaged: it {what}", where=where, hint="save it again")
        if (tuple(held) if isinstance(held, list) else held) != old:  # recipes know tuples only
            what = f"{path!r} was {old} before thinning in the file, it is {held!r} in the model"
            raise CheckpointError(what, where=where, hint=FRESH)
        attributes[module, attribute] = new


def _check_tensors(
    model: nn.Module, shapes: Mapping[str, Shape], contents: Contents, header: Header, where: str
) -> None:
    names = {id(tensor): name for name, tensor in named_tensors(model).items()}
    tensors, tied = state_tensors(model, where)
    for name, tensor in tensors.items():
        if name in contents.tied:
            first = contents.tied[name]
            what = f"{name!r} and {first!r} are one tensor in the file, two in the model"
            raise CheckpointError(what, where=where, hint=FRESH)
        if MODEL + name not in header.tensors:
            raise CheckpointError(f"{name!r} is in the model, not in the file", where=where, hint=FRESH)
        found = header.tensors[MODEL + name]
        wanted = shapes.get(names.get(id(tensor), ""))
        if wanted is not None and found.shape != wanted:
            raise _misfit(name, found.shape, wanted, where, "")
        if found.kind != kind_of(tensor):
            what = f"{name!r} holds {found.kind} numbers in the file, {kind_of(tensor)} ones in the model"
            raise CheckpointError(what, where=where, hint=FRESH)
    for name, first in tied.items():
        if contents.tied.get(name) != first:
            what = f"{name!r} and {first!r} are one tensor in the model, not in the file"
            raise CheckpointError(what, where=where, hint=FRESH)
    if strangers := [name for name in contents.tied if name not in tied]:
        raise _stranger(strangers[0], where)
    for name in header.tensors:
        if name.startswith(MODEL) and name.removeprefix(MODEL) not in tensors:
            raise _stranger(name.removeprefix(MODEL), where)


def _stranger(name: str, where: str) -> CheckpointError:
    return CheckpointError(f"{name!r} is in the file, not in the model", where=where, hint=FRESH)


def _misfit(name: str, theirs: Shape, mine: Shape, where: str, when: str) -> CheckpointError:
    what = f"{name!r} has shape {theirs} {when}in the file, {mine} in the model"
    return CheckpointError(what, where=where, hint=FRESH)
