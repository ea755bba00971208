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
from secateur_builders.flags import Readers
from secateur_builders.provenance import held_by

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
def substituted(
    model: nn.Module,
    device: Device,
    training: bool,
    readers: Readers | None = None,
    modules: list[tuple[str, nn.Module]] | None = None,
) -> Iterator[StandIns]:
    """Run the body with stand-ins in the model, in eval or training mode, and restore everything.

    `readers`: finds out who reads the modules' flag `training` meanwhile. `modules`: the model's, if they are at hand.
    """
    modules = modules_of(model) if modules is None else modules
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
            for key, tensor in table.items():  # no key is added
                if tensor is None:
                    continue
                name = f"{path}.{key}" if path else key
                known = made.get(id(tensor))
                if known is None:
                    known = made[id(tensor)] = (name, _stand_in(tensor, kind, device))
                    stand_ins.tensors[name] = known[1]
                    stand_ins.kinds[name] = kind
                else:
                    stand_ins.aliases[name] = known[0]
                table[key] = known[1]


def _stand_in(tensor: Tensor, kind: str, device: Device) -> Tensor:
    if device == "own":
        return tensor
    if kind == "parameter":
        moved = _without_data(tensor) if device == "meta" else tensor.detach().clone()
        return nn.Parameter(moved, requires_grad=tensor.requires_grad)
    floating = tensor.is_floating_point() or tensor.is_complex()
    return _without_data(tensor) if device == "meta" and floating else tensor.detach().clone()


def _without_data(tensor: Tensor) -> Tensor:
    if type(tensor) in ORDINARY and tensor.layout is torch.strided and tensor.is_contiguous() and not tensor.is_meta:
        # the fastest way that torch has
        return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=META)
    return tensor.detach().to("meta")


ORDINARY = frozenset({Tensor, nn.Parameter})
META = torch.device("meta")

INTEGERS = {int}
HOLDERS = frozenset({int, tuple, list})


def _swap_integers(modules: list[tuple[str, nn.Module]], stand_ins: StandIns) -> None:
    for path, module in modules:
        table = module.__dict__
        for key, held in [entry for entry in table.items() if type(entry[1]) in HOLDERS]:
            kind = type(held)
            if kind is int:
                table[key] = held_by(path, key, held)
            elif set(map(type, held)) == INTEGERS:
                table[key] = kind([held_by(path, key, entry, index) for index, entry in enumerate(held)])
            else:
                continue
            stand_ins.attributes[path, key] = held
