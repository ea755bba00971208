"""See who reads the flag `training` of a model's modules while it runs.

A model whose forward never asks for it does the same in both modes, and needs no second run. Reading is seen without
touching any class: the flag is taken out of each module's `__dict__`, so that `nn.Module.__getattr__` looks for it
among parameters, buffers and submodules, and finds it in a dict of buffers that notes who asked. Modules of torch
itself hand the flag on to an operation, or choose by it between two ways to compute the same; they are listed here.
Whatever else reads it, and whatever cannot be watched, counts as a dependence.
"""

from __future__ import annotations

import sys
from types import CodeType
from typing import Any

from attrs import define, field
from torch import nn

FLAG = "training"

DROPOUTS = ("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout")

HARMLESS = frozenset(
    {
        *(("torch.nn.modules.dropout", f"{kind}.forward") for kind in DROPOUTS),
        *(("torch.nn.modules.rnn", f"{kind}.forward") for kind in ("RNN", "LSTM", "GRU")),
        ("torch.nn.modules.batchnorm", "_BatchNorm.forward"),
        ("torch.nn.modules.activation", "MultiheadAttention.forward"),
        ("torchvision.ops.stochastic_depth", "StochasticDepth.forward"),
    }
)
"""(module, function) that read the flag without doing other things to any axis: they hand it on to one operation, count
batches, multiply examples by random numbers, or avoid a fused path that is not taken under a torch function mode."""

FUSED = frozenset({"_native_multi_head_attention", "_transformer_encoder_layer_fwd"})
"""Operations of the fused paths: if one was recorded after all, the flag decided by it."""


@define
class Readers:
    """Whether anything that matters has read the flag of a module."""

    depends: bool = False
    """Something did, or may have without being seen."""
    _judged: dict[CodeType, bool] = field(factory=dict)
    _watchable: dict[type, bool] = field(factory=dict)

    def watch(self, module: nn.Module, training: bool) -> None:
        """Set the flag of a module, and watch who reads it, until its `__dict__` is restored."""
        kind = type(module)
        watchable = self._watchable.get(kind)
        if watchable is None:
            watchable = self._watchable[kind] = _is_watchable(kind)
        if not watchable:
            self.depends = True
            module.training = training
            return
        module.__dict__.pop(FLAG, None)
        module.__dict__["_buffers"] = _Buffers(module._buffers, training, self)

    def read(self, code: CodeType, module: Any) -> None:
        """Judge a function that has read the flag, by its code and the name of its Python module."""
        harmless = self._judged.get(code)
        if harmless is None:
            harmless = self._judged[code] = (module, code.co_qualname) in HARMLESS
        self.depends = self.depends or not harmless


def _is_watchable(kind: Any) -> bool:
    """Whether modules of a type look for attributes as `nn.Module` does, and for the flag in themselves."""
    ordinary = kind.__getattr__ is nn.Module.__getattr__ and kind.__getattribute__ is object.__getattribute__
    return ordinary and not hasattr(kind, FLAG)


class _Buffers(dict[str, Any]):
    """The buffers of a module, with an absent one for the flag, which tells on who asks for it."""

    def __init__(self, buffers: dict[str, Any], training: bool, readers: Readers) -> None:
        super().__init__(buffers)
        self[FLAG] = None
        self.training, self.readers = training, readers

    def __getitem__(self, key: str) -> Any:
        if key != FLAG:
            return super().__getitem__(key)
        reader = sys._getframe(2)  # past `nn.Module.__getattr__`
        self.readers.read(reader.f_code, reader.f_globals.get("__name__"))
        return self.training
