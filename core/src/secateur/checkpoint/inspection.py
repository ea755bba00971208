"""Look into a checkpoint without a model."""

from __future__ import annotations

import os
from math import prod
from typing import Any

from secateur.checkpoint.contents import MODEL, Contents
from secateur.checkpoint.header import read_header
from secateur.checkpoint.tree import decode
from secateur.thinning.recipe import Step


def inspect(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Say what a checkpoint holds, as plain values; its tensors are not read.

    Keys: `file`, `bytes`, `version` (of Secateur), `tensors` {name: {shape, dtype}}, `elements` (of all these), `tied`
    {further name: first name}, `steps` (one per thinning: {cuts: {name: {before, after}}, attributes: {path: [old,
    new]}, made: {when, and if a schedule did it also schedule, policy, pruners, epoch, step}}), `optimizer` ({class,
    parameters} or None), `scheduler` ({policies, epoch} or None), `lr_schedulers` (their classes), `rng` (whether
    random states are there), `generators` (their names), `position`, `extra` (a tensor is shown as {tensor, shape,
    dtype}).

    Raises `CheckpointError` for a file that `load` would not read.
    """
    header = read_header(path)
    contents = Contents.of(header, str(path))
    tensors = {n.removeprefix(MODEL): info for n, info in header.tensors.items() if n.startswith(MODEL)}
    optimizer = contents.optimizer

    def describe(name: str) -> dict[str, Any]:
        info = header.tensors[name]
        return {"tensor": name, "shape": list(info.shape), "dtype": info.dtype}

    trees = {name: decode(tree, describe) for name, tree in contents.parts.items()}
    schedule = trees.get("scheduler")
    return {
        "file": str(path),
        "bytes": header.size,
        "version": contents.version,
        "tensors": {name: {"shape": list(info.shape), "dtype": info.dtype} for name, info in tensors.items()},
        "elements": sum(prod(info.shape) for info in tensors.values()),
        "tied": dict(contents.tied),
        "steps": [_step(step) for step in contents.recipe.steps],
        "optimizer": optimizer and {"class": optimizer["class"], "parameters": len(optimizer["state"])},
        "scheduler": schedule and {"policies": schedule["policies"], "epoch": schedule["epoch"]},
        "lr_schedulers": [held["class"] for held in trees.get("lr_schedulers", ())],
        "rng": "rng" in trees,
        "generators": list(trees.get("generators", ())),
        "position": trees.get("position"),
        "extra": trees.get("extra"),
    }


def _step(step: Step) -> dict[str, Any]:
    cuts = {}
    for name, axes in step.cuts.items():
        before = step.shapes[name]
        after = [length - len(axes[axis]) if axis in axes else length for axis, length in enumerate(before)]
        cuts[name] = {"before": list(before), "after": after}
    attributes = {f"{m}.{a}" if m else a: list(change) for (m, a), change in step.attributes.items()}
    return {"cuts": cuts, "attributes": attributes, "made": dict(step.made)}
