"""How a thin network differs from the dense one it was: shapes and attributes, all thinnings taken together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import frozen

from secateur.checkpoint.naming import check_names, renamed
from secateur.errors import CheckpointError
from secateur.thinning.ranges import Indices, to_ranges
from secateur.thinning.recipe import Recipe, recipe_of
from secateur.thinning.state import get_attribute, named_tensors

if TYPE_CHECKING:
    from torch import nn

Shape = tuple[int, ...]


@frozen
class Tensor:
    """A parameter or buffer that was cut."""

    module: str
    """The path of its module."""
    name: str
    """Its full name."""
    dense: Shape
    thin: Shape
    kept: dict[int, list[list[int]]]
    """{axis: half-open ranges of the dense indices that stay}."""


@frozen
class Attribute:
    """An attribute of a module that changed."""

    module: str
    name: str
    """Its full name."""
    dense: Any
    thin: Any


@frozen
class Structure:
    """All that changed, in the order of the modules."""

    tensors: tuple[Tensor, ...]
    attributes: tuple[Attribute, ...]
    steps: int
    """How many thinnings it took."""


def structure_of(model: nn.Module, where: str) -> Structure:
    """How the model came to differ from the dense one; nothing for a dense model.

    Raises `CheckpointError` if it was changed by other hands since it was thinned, or if only a part of it was thinned.
    """
    for path, module in model.named_modules():
        if path and recipe_of(module).steps:
            hint = f"export {path!r} by itself, or thin the whole model"
            raise CheckpointError(f"only its part {path!r} was thinned", where=where, hint=hint)
    recipe = renamed(model, recipe_of(model))
    check_names(model, recipe, where)
    order = {path: place for place, (path, _) in enumerate(model.named_modules())}
    tensors = sorted(_tensors(model, recipe, where), key=lambda it: order[it.module])
    attributes = sorted(_attributes(model, recipe, where), key=lambda it: (order[it.module], it.name))
    return Structure(tuple(tensors), tuple(attributes), len(recipe.steps))


def _tensors(model: nn.Module, recipe: Recipe, where: str) -> list[Tensor]:
    dense: dict[str, Shape] = {}
    kept: dict[str, dict[int, Indices]] = {}
    for step in recipe.steps:
        for name, axes in step.cuts.items():
            shape = dense.setdefault(name, tuple(step.shapes[name]))
            mine = kept.setdefault(name, {})
            for axis, gone in axes.items():
                mine[axis] = np.delete(mine.get(axis, np.arange(shape[axis])), gone)
    found = []
    for name, tensor in named_tensors(model).items():
        if name not in dense:
            continue
        thin = tuple(len(kept[name][axis]) if axis in kept[name] else size for axis, size in enumerate(dense[name]))
        if thin != tuple(tensor.shape):
            raise _changed(name, "shape", thin, tuple(tensor.shape), where)
        if thin != dense[name]:
            ranges = {axis: to_ranges(kept[name][axis]) for axis in sorted(kept[name])}
            found.append(Tensor(name.rpartition(".")[0], name, dense[name], thin, ranges))
    return found


def _attributes(model: nn.Module, recipe: Recipe, where: str) -> list[Attribute]:
    first: dict[tuple[str, str], Any] = {}
    last: dict[tuple[str, str], Any] = {}
    for step in recipe.steps:
        for place, (old, new) in step.attributes.items():
            first.setdefault(place, old)
            last[place] = new
    found = []
    for (module, attribute), new in last.items():
        held, old = get_attribute(model, module, attribute), first[module, attribute]
        name = f"{module}.{attribute}" if module else attribute
        if (tuple(held) if isinstance(held, list) else held) != (tuple(new) if isinstance(new, list) else new):
            raise _changed(name, "value", new, held, where)
        if old != new:
            found.append(Attribute(module, name, _plain(old, held), _plain(new, held)))
    return found


def _plain(value: Any, held: Any) -> Any:
    """A number or a sequence of numbers of the built-in types, a list where the model holds a list."""
    if isinstance(value, tuple | list):
        return (list if isinstance(held, list) else tuple)(_plain(entry, None) for entry in value)
    if value is None or isinstance(value, bool):
        return value
    return int(value) if isinstance(value, int | np.integer) else float(value)


def _changed(name: str, what: str, left: Any, found: Any, where: str) -> CheckpointError:
    return CheckpointError(
        f"{name!r} was changed since the model was thinned: thinning left the {what} {left}, it is {found}",
        where=where,
        hint="export the model as thinning left it",
    )
