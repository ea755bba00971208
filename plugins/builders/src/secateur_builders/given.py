"""What a builder is given: a model that it can look into, and inputs that get names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from secateur.errors import CaptureError

if TYPE_CHECKING:
    from torch import nn

Inputs = tuple[Any, ...] | Mapping[str, Any]


def input_names(inputs: Inputs, leaves: list[Any]) -> list[str]:
    """A name for each of the inputs: its keyword, or its place."""
    if isinstance(inputs, Mapping) and len(inputs) == len(leaves):
        return [str(key) for key in inputs]
    return ["input" if len(leaves) == 1 else f"input{index}" for index in range(len(leaves))]


WRAPPERS = {
    "DataParallel": "module",
    "DistributedDataParallel": "module",
    "FullyShardedDataParallel": "module",
    "OptimizedModule": "_orig_mod",
}
"""Types that wrap a model, and the attribute that holds it."""


def check_modules(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """The modules of a model with their paths.

    Raises `CaptureError` if they cannot be given stand-ins: wrapped, scripted, without shapes.
    """
    import torch
    from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

    from secateur.graph.modules import modules_of

    kind = type(model).__name__
    if kind in WRAPPERS and hasattr(model, WRAPPERS[kind]):
        hint = f"give the model inside, model.{WRAPPERS[kind]}"
        raise CaptureError(f"it is wrapped in {kind}", where="model", hint=hint)
    modules = modules_of(model)
    scripted = any(issubclass(kind, torch.jit.ScriptModule) for kind in {type(module) for _, module in modules})
    tables = [table for _, module in modules for table in (module._parameters, module._buffers)]
    tensors = {type(tensor) for table in tables for tensor in table.values()}
    if not scripted and not any(issubclass(kind, UninitializedParameter | UninitializedBuffer) for kind in tensors):
        return modules
    for path, module in modules:
        if isinstance(module, torch.jit.ScriptModule):
            raise CaptureError(
                "it is scripted by torch.jit, which hides its operations",
                where=f"model.{path}" if path else "model",
                hint="give the plain nn.Module it was made from",
            )
        for name, tensor in [*module._parameters.items(), *module._buffers.items()]:
            if isinstance(tensor, UninitializedParameter | UninitializedBuffer):
                where = f"{path}.{name}" if path else name
                raise CaptureError("it has no shape yet", where=where, hint="run the model once before planning")
    return modules
