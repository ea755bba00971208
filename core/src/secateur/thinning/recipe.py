"""Recipes: the saved form of all plans applied to a model so far; a fresh dense model becomes the thin one by it.

A step holds, for every parameter and buffer that was cut, the indices kept along each axis, and every attribute that
changed. The steps travel with the model (also through copies), as plain data under one private attribute.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import evolve, field, frozen

from secateur.errors import CheckpointError
from secateur.thinning.plan import Cuts, Plan
from secateur.thinning.ranges import from_ranges, to_ranges
from secateur.thinning.states import StateCuts

if TYPE_CHECKING:
    from torch import nn

FORMAT = 1
KEY = "_secateur_recipe"
LONGEST = 1 << 26
"""Entries that all axes cut in a saved recipe may have together."""


@frozen(eq=False)
class Step:
    """One plan as it was applied: what left, and the attributes that changed."""

    cuts: Cuts
    attributes: Mapping[tuple[str, str], tuple[Any, Any]]
    shapes: Mapping[str, tuple[int, ...]]
    made: Mapping[str, Any] = field(factory=dict)
    """When (`when`, UTC) and, if a schedule did it, by which `schedule`, `policy`, `pruners`, in which `epoch`, `step`.

    It says nothing about what the step does: two steps that differ in this only are the same.
    """
    states: StateCuts = field(factory=StateCuts)
    """What left the recurrent states that the model takes and returns."""

    def plan(self) -> Plan:
        """The plan that repeats this step."""
        return Plan(
            dims=(),
            refusals=(),
            cuts=self.cuts,
            attributes=self.attributes,
            shapes=self.shapes,
            states=self.states,
        )


@frozen(eq=False)
class Recipe:
    """The steps that lead from the dense model to the thin one."""

    steps: tuple[Step, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """A form fit for JSON: kept indices as half-open ranges."""
        return {"format": FORMAT, "steps": [_step_to_dict(step) for step in self.steps]}

    def same(self, other: Recipe) -> bool:
        """Whether it does the same, whenever it was made."""
        mine, theirs = (Recipe(tuple(evolve(s, made={}) for s in recipe.steps)) for recipe in (self, other))
        return mine.to_dict() == theirs.to_dict()

    @classmethod
    def from_dict(cls, saved: Any) -> Recipe:
        """Read what `to_dict` wrote; anything else is a `CheckpointError`."""
        if not isinstance(saved, Mapping) or saved.get("format") != FORMAT:
            found = saved.get("format") if isinstance(saved, Mapping) else type(saved).__name__
            raise CheckpointError(f"expected a recipe of format {FORMAT}, found {found!r}", where="recipe")
        try:
            _check_lengths(saved["steps"])
            return cls(tuple(_step_from_dict(step) for step in saved["steps"]))
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise CheckpointError(f"the recipe is damaged: {error!r}", where="recipe") from error


def _step_to_dict(step: Step) -> dict[str, Any]:
    tensors: dict[str, Any] = {}
    for name, axes in step.cuts.items():
        kept = {str(a): to_ranges(np.setdiff1d(np.arange(step.shapes[name][a]), gone)) for a, gone in axes.items()}
        tensors[name] = {"shape": list(step.shapes[name]), "kept": kept}
    return {
        "tensors": tensors,
        "attributes": [[module, name, *change] for (module, name), change in step.attributes.items()],
        "made": dict(step.made),
        **({"states": step.states.to_dict()} if step.states else {}),
    }


def _step_from_dict(saved: Mapping[str, Any]) -> Step:
    shapes = {name: tuple(int(n) for n in entry["shape"]) for name, entry in saved["tensors"].items()}
    cuts = {
        name: {int(a): _gone(shapes[name][int(a)], ranges) for a, ranges in entry["kept"].items()}
        for name, entry in saved["tensors"].items()
    }
    attributes = {(str(m), str(n)): (_value(old), _value(new)) for m, n, old, new in saved["attributes"]}
    made = {str(key): _said(value) for key, value in saved.get("made", {}).items()}
    return Step(
        cuts, attributes, shapes, made, StateCuts.from_dict(saved["states"]) if "states" in saved else StateCuts()
    )


def _check_lengths(steps: Sequence[Mapping[str, Any]]) -> None:
    """`ValueError` if the axes that are cut are longer than any real network's: reading must not take all memory."""
    total = 0
    for step in steps:
        for entry in step["tensors"].values():
            if any(type(length) is not int or length < 0 for length in entry["shape"]):
                raise ValueError("a shape that is none")
            total += sum(entry["shape"][int(axis)] for axis in entry["kept"])
    if total > LONGEST:
        raise ValueError(f"axes of {total:,} entries together")


def _said(value: Any) -> Any:
    """What may stand in `made`: numbers, texts, and lists of them."""
    if isinstance(value, list):
        return [_said(entry) for entry in value if not isinstance(entry, list)]
    if value is not None and not isinstance(value, int | float | str):
        raise TypeError(f"{value!r} says not when a step was made")
    return value


def _gone(length: int, ranges: Sequence[Sequence[int]]) -> Any:
    if ranges and ranges[-1][1] > length:
        raise ValueError(f"kept indices reach {ranges[-1][1]} of {length}")
    return np.setdiff1d(np.arange(length), from_ranges(ranges))


def _value(value: Any) -> Any:
    if isinstance(value, list) and all(type(entry) is int for entry in value):
        return tuple(value)
    if type(value) not in (int, float, type(None)):
        raise TypeError(f"an attribute must be a number or a list of integers, found {value!r}")
    return value


def recipe_of(model: nn.Module) -> Recipe:
    """The recipe of all that was done to a model; empty for a dense one."""
    found: Recipe = model.__dict__.get(KEY, Recipe())
    return found


def record(model: nn.Module, plan: Plan) -> None:
    """Note a plan that was just applied."""
    shapes = {name: plan.shapes[name] for name in plan.cuts}
    now = datetime.now(UTC).isoformat(timespec="seconds")
    step = Step(plan.cuts, plan.attributes, shapes, {"when": now}, plan.states)
    model.__dict__[KEY] = Recipe((*recipe_of(model).steps, step))


def annotate(model: nn.Module, made: Sequence[Mapping[str, Any]]) -> None:
    """Say of the last steps of a model how they were made; what is said already stays."""
    steps = recipe_of(model).steps
    first = len(steps) - len(made)
    if made:
        noted = [evolve(step, made={**step.made, **said}) for step, said in zip(steps[first:], made, strict=True)]
        model.__dict__[KEY] = Recipe((*steps[:first], *noted))


def rewinding(model: nn.Module) -> Callable[[], None]:
    """How to bring back the recipe that a model has now."""
    before = model.__dict__.get(KEY)

    def rewind() -> None:
        if before is None:
            model.__dict__.pop(KEY, None)
        else:
            model.__dict__[KEY] = before

    return rewind
