"""Run a model once through a graph builder and get its graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from secateur.errors import CaptureError
from secateur.graph.ir import Graph, check
from secateur.graph.modules import modules_of
from secateur.plugins import current

if TYPE_CHECKING:
    from torch import nn


def trace(model: nn.Module, example_inputs: tuple[Any, ...] | Mapping[str, Any], builder: str = "trace") -> Graph:
    """Record the graph of a model.

    `example_inputs`: a tuple (positional) or a dict (keyword arguments) that the model's `forward` takes; a single
    tensor stands for a tuple of one. The model is left exactly as it was.

    Raises `CaptureError` if the forward fails, naming the module and line, or if the model is distributed, and
    `PluginError` for an unknown builder.
    """
    build = current().builders[builder].build
    _check_not_distributed(model)
    return check(build(model, normalise_inputs(example_inputs)))


DISTRIBUTED = ("DistributedDataParallel", "FullyShardedDataParallel")
"""Types of torch that hook the parameters of the module they wrap, or cut them up."""

SHARDED = "torch.distributed"
"""The package whose types of parameters lie on several processes."""


def _check_not_distributed(model: Any) -> None:
    """Raise `CaptureError` for a model whose parameters others keep account of: they would go on with the old ones."""
    from torch import nn

    modules = modules_of(model) if isinstance(model, nn.Module) else []
    wrapped = any(kind.__name__ in DISTRIBUTED for kind in {type(module) for _, module in modules})
    kinds: set[type] = set()
    for _, module in modules:
        kinds.update(map(type, module._parameters.values()))
    if not wrapped and not any(kind.__module__.startswith(SHARDED) for kind in kinds):
        return
    for path, module in modules:
        where = f"model.{path}" if path else "model"
        if type(module).__name__ in DISTRIBUTED:
            raise CaptureError(
                f"it is wrapped in {type(module).__name__}",
                where=where,
                hint=f"give the model inside, {where}.module, and wrap it anew after thinning",
            )
        for name, parameter in module._parameters.items():
            if type(parameter).__module__.startswith(SHARDED):
                raise CaptureError(
                    f"it is sharded over processes ({type(parameter).__name__})",
                    where=f"{where}.{name}",
                    hint="plan and thin before sharding",
                )


def normalise_inputs(example_inputs: Any) -> tuple[Any, ...] | Mapping[str, Any]:
    """Return the example inputs as a tuple or a dict; anything else is a `CaptureError`."""
    import torch

    if isinstance(example_inputs, torch.Tensor):
        return (example_inputs,)
    if isinstance(example_inputs, list):
        return tuple(example_inputs)
    if isinstance(example_inputs, tuple | Mapping):
        return example_inputs
    raise CaptureError(
        f"expected a tuple of positional inputs or a dict of keyword inputs, got {type(example_inputs).__name__}",
        where="example_inputs",
        hint="for a model called as model(x), give (x,)",
    )
