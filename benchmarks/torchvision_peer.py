"""Half of the channels of a torchvision network pruned by Torch-Pruning, as its documentation recommends.

Its users say which layers emit the outputs, and repair by hand what it does not know: the width that torchvision's
vision transformer holds as a number. Both are done here. For attention its documentation knows two ways, to say how
many heads there are, or to round to their number; for detectors with regions its own benchmark leaves the pyramid and
the heads alone. All ways are tried, and the smallest network counts. Otherwise nothing is rounded, and channels are
ranked within each group.
"""

from __future__ import annotations

import copy
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch_pruning
from attrs import frozen
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torchvision_zoo import Network, emitting


@frozen
class Way:
    """One way to prune a network: the layers that are left alone, and what numbers of channels are rounded to."""

    ignored: tuple[str, ...] = ()
    round_to: int | None = None


def ways(network: Network, model: nn.Module) -> list[Way]:
    """The ways to try."""
    heads = [module.num_heads for module in model.modules() if isinstance(module, nn.MultiheadAttention)]
    found = [Way(), *(Way(round_to=number) for number in heads[:1])]
    if "rcnn" in network.name:
        found.append(Way(ignored=("backbone.fpn", "roi_heads")))
    return found


def peer(network: Network, model: nn.Module, ratio: float, limit: float) -> dict[str, Any]:
    """What Torch-Pruning makes of a model, at best; see `attempt`."""
    found = [attempt(network, copy.deepcopy(model), ratio, limit, way) for way in ways(network, model)]
    return min(found, key=lambda outcome: (bool(outcome["error"]), outcome["parameters"]))


def attempt(network: Network, model: nn.Module, ratio: float, limit: float, way: Way) -> dict[str, Any]:
    """The outcome of one way: the share of the parameters that is left, why it failed, if it did, and why the smaller
    network does not train, which counts as no failure. The model is changed.

    It failed if it raised, if the smaller network does not run or gives outputs of other shapes, or if it took more
    than `limit` seconds of processor time.
    """
    inputs = network.inputs()
    before, expected = count(model), shapes(model, inputs)
    error = training = ""
    try:
        with at_most(limit):
            prune(network, model, inputs, ratio, way)
            found = shapes(model, inputs)
    except Exception as raised:  # noqa: BLE001 - whatever it raises is its result
        error = first_line(raised)
    else:
        if network.group != "detection" and found != expected:  # how many boxes are found is no matter of shapes
            error = f"outputs of shapes {found}, not {expected}"
        elif count(model) == before:
            error = "nothing was pruned"
        else:
            training = training_error(network, model)
    return {"parameters": count(model) / before, "error": error, "training": training}


def training_error(network: Network, model: nn.Module) -> str:
    """Why a model does not run in training mode, or nothing."""
    try:
        network.loss(model.train()).backward()
    except Exception as raised:  # noqa: BLE001 - as above
        return first_line(raised)
    return ""


def first_line(error: Exception) -> str:
    """The kind of an error, and the first line of what it says."""
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]


def prune(network: Network, model: nn.Module, inputs: tuple[Any, ...], ratio: float, way: Way) -> None:
    """Build the groups, rank and prune."""
    model.requires_grad_(True)
    heads = {module: module.num_heads for module in model.modules() if isinstance(module, nn.MultiheadAttention)}
    pruner = torch_pruning.pruner.BasePruner(
        model,
        inputs[0] if len(inputs) == 1 and isinstance(inputs[0], Tensor) else inputs,
        importance=torch_pruning.importance.MagnitudeImportance(p=1),
        pruning_ratio=ratio,
        ignored_layers=[*emitting(network, model), *map(model.get_submodule, way.ignored)],
        num_heads=heads if way.round_to is None else {},
        round_to=way.round_to,
        in_channel_groups={},  # its defaults are shared by all pruners, and keep their networks alive
        out_channel_groups={},
    )
    pruner.step()
    if isinstance(getattr(model, "hidden_dim", None), int) and isinstance(getattr(model, "conv_proj", None), nn.Conv2d):
        model.hidden_dim = model.conv_proj.out_channels


def count(model: nn.Module) -> int:
    """The number of parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


def shapes(model: nn.Module, inputs: tuple[Any, ...]) -> list[tuple[int, ...]]:
    """The shapes of the outputs."""
    with torch.no_grad():
        made = model.eval()(*inputs)
    return [tuple(leaf.shape) for leaf in pytree.tree_leaves(made) if isinstance(leaf, Tensor)]


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raise `TimeoutError` in the body if it takes more processor time; what else the machine does is no matter."""

    def late(*_: object) -> None:
        raise TimeoutError(f"took more than {seconds:.0f} s")

    before = signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
