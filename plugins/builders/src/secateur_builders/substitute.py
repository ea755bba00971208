"""Put stand-ins into a model for one run, and take every one of them out again.

Parameters and floating-point buffers become tensors without data (`meta`), integer buffers become copies, integers held
by modules become integers that remember where they were held. Tied tensors stay tied. Whatever happens during
the run, the model is afterwards exactly as it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from attrs import define, field
from torch import Tensor, nn

from secateur.graph.modules import modules_of
from secateur.graph.preserve import preserved
from secateur.graph.sizes import Attribute
from secateur_builders.flags import Readers
from secateur_builders.provenance import TrackedInt

Device = Literal["meta", "real", "own"]
"""Where stand-ins live: without data, as copies, or (no stand-ins) the model's own tensors."""


@define
class StandIns:
    """What was put into the model: the tensors by name, and the names that share one tensor."""

    tensors: dict[str, Tensor] = field(factory=dict)
    kinds: dict[str, Literal["parameter", "buffer"]] = field(factory=dict)
    aliases: dict[str, str] = field(factory=dict)
    attributes: dict[tuple[str, str], Any] = field(factory=dict)
    paths: dict[int, str] = field(factory=dict)
    """The path of each module, by identity."""


@contextmanager
def substituted(model: nn.Module, device: Device, training: bool, readers: Readers | None = None) -> Iterator[StandIns]:
    """Run the body with stand-ins in the model, in eval or training mode, and restore everything.

    `readers`: finds out who reads the modules' flag `training` meanwhile.
    """
    modules = modules_of(model)
    with preserved(model, modules):
        stand_ins = StandIns(paths={id(module): path for path, module in modules})
        _swap_tensors(modules, device, stand_ins)
        _swap_integers(modules, stand_ins)
        for _, module in modules:
            if readers is None:
                module.training = training
            else:
                readers.watch(module, training)
        with torch.no_grad():
            yield stand_ins


def _swap_tensors(modules: list[tuple[str, nn.Module]], device: Device, stand_ins: StandIns) -> None:
    made: dict[int, tuple[str, Tensor]] = {}
    for path, module in modules:
        kinds: tuple[tuple[Literal["parameter", "buffer"], dict[str, Any]], ...] = (
            ("parameter", module._parameters),
            ("buffer", module._buffers),
        )
        for kind, table in kinds:
            for key, tensor in list(table.items()):
                if tensor is None:
                    continue
                name = f"{path}.{key}" if path else key
                if id(tensor) in made:
                    stand_ins.aliases[name] = made[id(tensor)][0]
                else:
                    made[id(tensor)] = (name, _stand_in(tensor, kind, device))
                    stand_ins.tensors[name] = made[id(tensor)][1]
                    stand_ins.kinds[name] = kind
                table[key] = made[id(tensor)][1]


def _stand_in(tensor: Tensor, kind: str, device: Device) -> Tensor:
    if device == "own":
        return tensor
    floating = tensor.is_floating_point() or tensor.is_complex()
    if kind == "parameter":
        moved = _without_data(tensor) if device == "meta" else tensor.detach().clone()
        return nn.Parameter(moved, requires_grad=tensor.requires_grad)
    return _without_data(tensor) if device == "meta" and floating else tensor.detach().clone()


def _without_data(tensor: Tensor) -> Tensor:
    if tensor.is_contiguous() and not tensor.is_meta and tensor.layout is torch.strided:
        return torch.empty_like(tensor, device="meta")  # the fastest way that torch has
    return tensor.detach().to("meta")


INTEGERS = {int}


def _swap_integers(modules: list[tuple[str, nn.Module]], stand_ins: StandIns) -> None:
    for path, module in modules:
        for key, held in list(module.__dict__.items()):
            if type(held) is int:
                module.__dict__[key] = TrackedInt(held, Attribute(path, key))
            elif type(held) in (tuple, list) and set(map(type, held)) == INTEGERS:
                module.__dict__[key] = type(held)(
                    TrackedInt(entry, Attribute(path, key, index)) for index, entry in enumerate(held)
                )
            else:
                continue
            stand_ins.attributes[path, key] = held
