"""Tell how two checkpoints differ: recipe, shapes, weights, optimizer, position."""

from __future__ import annotations

import os
from math import isnan
from typing import TYPE_CHECKING, Any

from secateur.checkpoint.contents import MODEL
from secateur.checkpoint.reading import Checkpoint, read
from secateur.thinning.recipe import Recipe

if TYPE_CHECKING:
    from torch import Tensor


def diff(first: str | os.PathLike[str], second: str | os.PathLike[str]) -> dict[str, Any]:
    """Compare two checkpoints, without a model; both are read whole.

    Keys: `same` (in everything below), `files`, `steps` ({common, first, second}: thinnings that both have from the
    begin, and how many more each has), `only` ({first, second}: names of the model's tensors that the other lacks),
    `shapes` {name: [first, second]}, `weights` {name: {absolute, relative}} for those that differ, by the largest
    difference of two entries and that in relation to the largest entry of the first, the largest first; `equal` (how
    many are equal to the bit), `optimizer` and `training` ([what, first, second] for all that differs; a tensor is
    told by its largest difference), `position` ([first, second]).

    Raises `CheckpointError` for a file that `load` would not read.
    """
    a, b = read(first), read(second)
    one, other = (_tensors(checkpoint) for checkpoint in (a, b))
    both = [name for name in one if name in other]
    shapes = {n: [list(one[n].shape), list(other[n].shape)] for n in both if one[n].shape != other[n].shape}
    weights, equal = {}, 0
    for name in both:
        if name in shapes:
            continue
        gap = difference(one[name], other[name])
        if gap is None:
            equal += 1
        else:
            weights[name] = gap
    common = _common(a.contents.recipe, b.contents.recipe)
    told: dict[str, Any] = {
        "files": [a.path, b.path],
        "steps": {"common": common, "first": _more(a, common), "second": _more(b, common)},
        "only": {"first": [n for n in one if n not in other], "second": [n for n in other if n not in one]},
        "shapes": shapes,
        "weights": dict(sorted(weights.items(), key=lambda entry: -entry[1]["absolute"])),
        "equal": equal,
        "optimizer": _optimizer(a, b),
        "training": [
            row
            for part in ("scheduler", "lr_schedulers", "rng", "generators", "extra")
            for row in _part(part, a.trees.get(part), b.trees.get(part))
        ],
        "position": [a.position, b.position],
    }
    empty = not (shapes or weights or told["only"]["first"] or told["only"]["second"])
    same_steps = not (told["steps"]["first"] or told["steps"]["second"])
    same_rest = not (told["optimizer"] or told["training"] or _trees("position", a.position, b.position))
    told["same"] = empty and same_steps and same_rest
    return told


def difference(one: Tensor, other: Tensor) -> dict[str, Any] | None:
    """The largest difference of two tensors of one shape; None if they are equal to the bit, but for the sign of 0."""
    import torch

    if one.dtype != other.dtype:
        return {"absolute": float("inf"), "relative": float("inf"), "dtypes": [str(one.dtype), str(other.dtype)]}
    wide = torch.complex128 if one.is_complex() else torch.float64
    a, b = one.to(wide), other.to(wide)
    apart = ~((a == b) | (a.isnan() & b.isnan()))
    if not bool(apart.any()):
        return None
    gap = (a[apart] - b[apart]).abs()
    absolute = float("inf") if bool(gap.isnan().any()) else float(gap.max())
    largest = float(a[a.isfinite()].abs().max()) if bool(a.isfinite().any()) else 0.0
    return {"absolute": absolute, "relative": absolute / largest if largest else float("inf")}


def _tensors(checkpoint: Checkpoint) -> dict[str, Tensor]:
    return {n.removeprefix(MODEL): t for n, t in checkpoint.tensors.items() if n.startswith(MODEL)}


def _common(one: Recipe, other: Recipe) -> int:
    count = 0
    for left, right in zip(one.steps, other.steps, strict=False):
        if not Recipe((left,)).same(Recipe((right,))):
            break
        count += 1
    return count


def _more(checkpoint: Checkpoint, common: int) -> int:
    return len(checkpoint.contents.recipe.steps) - common


def _optimizer(a: Checkpoint, b: Checkpoint) -> list[list[Any]]:
    from secateur.checkpoint.tree import decode

    def tree(checkpoint: Checkpoint) -> Any:
        said = checkpoint.contents.optimizer
        if said is None:
            return None
        take = checkpoint.tensors.__getitem__
        return {
            "class": said["class"],
            "groups": [
                {**{k: decode(v, take) for k, v in group["options"].items()}, "parameters": group["parameters"]}
                for group in said["groups"]
            ],
            "state": {n: {k: decode(v, take) for k, v in held.items()} for n, held in said["state"].items()},
        }

    return _trees("optimizer", tree(a), tree(b))


def _part(name: str, one: Any, other: Any) -> list[list[Any]]:
    """Where two parts differ; how far random states are apart means nothing."""
    rows = _trees(name, one, other)
    if rows and one is not None and other is not None and name in ("rng", "generators"):
        return [[name, "one state", "another"]]
    return rows


def _trees(name: str, one: Any, other: Any) -> list[list[Any]]:
    """All places where two trees differ: [place, first, second]."""
    import torch

    if isinstance(one, dict) and isinstance(other, dict):
        keys = list(dict.fromkeys([*one, *other]))
        return [row for key in keys for row in _trees(f"{name}.{key}", one.get(key), other.get(key))]
    if isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [row for i, (left, right) in pairs for row in _trees(f"{name}.{i}", left, right)]
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor) and one.shape == other.shape:
        gap = difference(one, other)
        return [] if gap is None else [[name, "largest difference", gap["absolute"]]]
    told = [_told(value) for value in (one, other)]
    nan = all(isinstance(value, float) and isnan(value) for value in told)
    return [] if nan or told[0] == told[1] else [[name, *told]]


def _told(value: Any) -> Any:
    """A value, or how large it is."""
    if hasattr(value, "shape"):
        return f"tensor of shape {tuple(value.shape)}"
    if isinstance(value, dict | list | tuple) and len(value) > 4:
        return f"{len(value)} entries"
    return value
