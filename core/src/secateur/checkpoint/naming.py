"""The names in a recipe are those that the model has now: masks of `torch.nn.utils.prune` may be gone since."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from secateur.errors import CheckpointError
from secateur.thinning.recipe import Recipe, Step
from secateur.thinning.state import named_tensors

if TYPE_CHECKING:
    from torch import nn

ORIG, MASK = "_orig", "_mask"


def renamed(model: nn.Module, recipe: Recipe) -> Recipe:
    """The recipe with `weight` for `weight_orig`, and no `weight_mask`, wherever `prune.remove` took the mask away."""
    shapes = {name: tuple(tensor.shape) for name, tensor in named_tensors(model).items()}
    ends = {name: _thin_shape(step, name) for step in recipe.steps for name in step.cuts}
    gone = {
        name
        for name, end in ends.items()
        if name.endswith(ORIG)
        and name not in shapes
        and (plain := name.removesuffix(ORIG)) in shapes
        and shapes[plain] == ends.get(plain, end)  # cut again under its plain name, after the mask was removed
    }
    if not gone:
        return recipe
    new = {name: name.removesuffix(ORIG) for name in gone}
    dropped = {plain + MASK for plain in new.values()} - shapes.keys()
    return Recipe(tuple(_with_names(step, new, dropped) for step in recipe.steps))


def check_names(model: nn.Module, recipe: Recipe, where: str) -> None:
    """Raise `CheckpointError` if the recipe cuts a tensor that the model no longer has: no model could load it."""
    held = named_tensors(model)
    for step in recipe.steps:
        for name in step.cuts:
            if name not in held:
                what = f"the model was thinned along {name!r}, which it no longer has under that name"
                hint = "undo what renamed or removed it since (a parametrization, a norm of the weight), then save"
                if name + ORIG in held:
                    hint = "call torch.nn.utils.prune.remove on its module first, then save"
                raise CheckpointError(what, where=where, hint=hint)


def _thin_shape(step: Step, name: str) -> tuple[int, ...]:
    cuts = step.cuts[name]
    return tuple(size - len(cuts.get(axis, ())) for axis, size in enumerate(step.shapes[name]))


def _with_names(step: Step, new: Mapping[str, str], dropped: set[str]) -> Step:
    cuts = {new.get(name, name): axes for name, axes in step.cuts.items() if name not in dropped}
    shapes = {new.get(name, name): shape for name, shape in step.shapes.items() if name not in dropped}
    return Step(cuts, step.attributes, shapes, step.made, step.states)
