"""Laws of layer adapters: they name what exists, and the attributes they mirror say what shapes are, thin and dense."""

from __future__ import annotations

import importlib
import inspect
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from secateur.graph.capture import trace
from secateur.graph.ir import Graph, ModuleCall
from secateur.records import LayerAdapter
from secateur.testing.broken import LawBroken, NotTried
from secateur.testing.exactness import plan_is_exact, random_plan
from secateur.testing.layers import INPUTS, OUTPUTS, Mix
from secateur.testing.values import randomised

WIDTH = 8
SHAPES = ((3, WIDTH), (3, 6, WIDTH), (3, WIDTH, 6), (3, WIDTH, 4, 4), (3, WIDTH, 3, 3, 3))
SIZES: Mapping[str, int] = {"kernel_size": 1, "num_heads": 2, "nhead": 2, "num_groups": 2, "num_embeddings": 7}
"""Values of arguments that are not numbers of channels."""


class Held(nn.Module):
    """A layer of the adapter's type, what writes into it, and what reads its first output."""

    def __init__(self, layer: nn.Module, shape: tuple[int, ...], times: int) -> None:
        super().__init__()
        self.axis, self.times = shape.index(WIDTH, 1), times
        self.given = [INPUTS if axis == self.axis else length for axis, length in enumerate(shape)]
        self.writer = Mix(INPUTS, WIDTH, self.axis, len(shape))
        self.layer = layer
        made = self.call(torch.zeros(shape))
        self.reader = Mix(made.shape[self.axis], OUTPUTS, self.axis, made.dim())

    def call(self, x: Tensor) -> Tensor:
        """The first output of the layer; some take their input several times, as query, key and value."""
        made = self.layer(*[x] * self.times)
        while not isinstance(made, Tensor):
            made = made[0]
        return made

    def forward(self, x: Tensor) -> Tensor:
        """Write, call, read."""
        made: Tensor = self.reader(self.call(self.writer(x)))
        return made

    def example(self) -> Tensor:
        """An input that fits."""
        return torch.zeros(self.given, dtype=torch.float64)


class OfIndices(nn.Module):
    """A layer of the adapter's type that takes indices, and what reads its output."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.reader = nn.Linear(layer(torch.zeros(2, 3, dtype=torch.long)).shape[-1], OUTPUTS)

    def forward(self, x: Tensor) -> Tensor:
        """Look up, read."""
        made: Tensor = self.reader(self.layer(x))
        return made

    def example(self) -> Tensor:
        """Indices that fit."""
        return torch.tensor([[1, 2, 3], [0, 4, 6]])


def names_what_exists(adapter: LayerAdapter) -> None:
    """Its types are module classes, and its references say where and which axis."""
    for name in adapter.types:
        kind = _class(name)
        if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
            raise LawBroken(f"the adapter {adapter.name!r} names {name}, which is no module class")
    for attribute, references in adapter.mirrors.items():
        for reference in references.split("|"):
            where, _, axis = reference.partition(":")
            if not where or not axis.lstrip("-").isdigit():
                raise LawBroken(
                    f"the adapter {adapter.name!r} says {attribute!r} mirrors {reference!r}; "
                    "'input:AXIS', 'output:AXIS' or 'PARAMETER:AXIS' is due"
                )


def attributes_say_what_shapes_are(adapter: LayerAdapter) -> None:
    """What an attribute mirrors in the dense network it mirrors in the thin one."""
    tried = mirrors = False
    for name in adapter.types:
        for network, inputs in _networks(_class(name)):
            before = mirrored(adapter, trace(network, inputs))
            tried, mirrors = True, mirrors or any(held == length for held, length in before.values())
            for seed in (0, 1, 4):
                thinned = plan_is_exact(network, random_plan(network, inputs, seed), inputs, seed=seed)
                for key, (held, length) in mirrored(adapter, trace(thinned, inputs)).items():
                    if held != length and before[key][0] == before[key][1]:
                        raise LawBroken(f"{name}: {key} is {held} after thinning, its axis has the length {length}")
    if tried and not mirrors:
        names = ", ".join(adapter.mirrors)
        raise LawBroken(f"{names} of {', '.join(adapter.types)} are not the lengths of the axes they mirror")
    if not tried:
        raise NotTried(f"the kit knows no way to make a network with {', '.join(adapter.types)}")


def mirrored(adapter: LayerAdapter, graph: Graph) -> dict[str, tuple[Any, int]]:
    """{attribute: (its value, the length of the axis it mirrors)} for every call of an adapter's types."""
    found = {}
    for call in graph.calls:
        if {call.type, *call.bases}.isdisjoint(adapter.types):
            continue
        for attribute, references in adapter.mirrors.items():
            lengths = [_length(reference, call, graph) for reference in references.split("|")]
            length = next((length for length in lengths if length is not None), None)
            if length is not None:
                found[f"{call.module}.{attribute}"] = graph.attributes.get((call.module, attribute)), length
    return found


def _length(reference: str, call: ModuleCall, graph: Graph) -> int | None:
    where, _, axis = reference.partition(":")
    if where in ("input", "output"):
        name = next(iter(call.inputs if where == "input" else call.outputs), "")
    else:
        name = f"{call.module}.{where}"
        name = graph.aliases.get(name, name)
    shape = graph.values[name].shape if name in graph.values else ()
    return shape[int(axis)] if -len(shape) <= int(axis) < len(shape) else None


def _class(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise LawBroken(f"there is no {name}: {error}") from error


def _networks(kind: type[nn.Module]) -> list[tuple[nn.Module, tuple[Tensor, ...]]]:
    """Networks with a module of a class in every way that works without a warning."""
    ways: list[Callable[..., nn.Module]] = [OfIndices]
    ways += [partial(Held, shape=shape, times=times) for shape, times in product(SHAPES, (1, 3))]
    found: list[tuple[nn.Module, tuple[Tensor, ...]]] = []
    for way in ways:
        with warnings.catch_warnings(), suppress(Exception):  # most shapes fit few classes
            warnings.simplefilter("error")
            network: Any = randomised(way(_made(kind)))
            network(network.example())
            found.append((network, (network.example(),)))
    return found


def _made(kind: type[nn.Module]) -> nn.Module:
    """A module of a class: what has no default is a size; one that names none (`nn.LSTM`) takes two."""
    named = inspect.signature(kind).parameters.values()
    if any(p.kind == p.VAR_POSITIONAL for p in named):
        return kind(WIDTH, WIDTH).eval()
    needed = [p.name for p in named if p.default is p.empty and p.kind != p.VAR_KEYWORD]
    options: dict[str, Any] = {name: SIZES.get(name, WIDTH) for name in needed}
    if "num_parameters" in inspect.signature(kind).parameters:
        options["num_parameters"] = WIDTH
    return kind(**options).eval()
