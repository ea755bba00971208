"""The main law around one layer: small networks that write into it and read from it, pruned at random."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from secateur.testing.broken import LawBroken
from secateur.testing.exactness import TOLERANCE, masked_equals_thinned, plan_is_exact, random_plan
from secateur.testing.values import randomised
from secateur.thinning.plan import Plan

INPUTS, OUTPUTS = 5, 3
"""Channels of the inputs and of the outputs of the networks around a layer."""


class Mix(nn.Module):
    """Mix the channels, which lie along any axis, by a linear layer; or by a convolution, where there can be one."""

    def __init__(self, inputs: int, outputs: int, axis: int, rank: int) -> None:
        super().__init__()
        convolutions = {3: nn.Conv1d, 4: nn.Conv2d, 5: nn.Conv3d}
        self.axis = axis % rank
        convolves = self.axis == 1 and rank in convolutions
        self.layer = convolutions[rank](inputs, outputs, 1) if convolves else nn.Linear(inputs, outputs)
        self.moves = not convolves and self.axis != rank - 1

    def forward(self, x: Tensor) -> Tensor:
        """Shape in and out: the same, but for the channels."""
        if not self.moves:
            made: Tensor = self.layer(x)
            return made
        return self.layer(x.transpose(self.axis, -1)).transpose(self.axis, -1)  # type: ignore[no-any-return]


class Around(nn.Module):
    """A layer with what writes into it and what reads from it, joined in one of several ways (`WAYS`)."""

    def __init__(self, layer: nn.Module, way: str, before: tuple[int, int, int], after: tuple[int, int, int]) -> None:
        super().__init__()
        self.way = way
        self.axis, width, rank = before
        self.out_axis, made, out_rank = after
        read = {"joined": made + width, "halved": made // 2}.get(way, made)
        self.writer = Mix(INPUTS, width, self.axis, rank)
        if way in ("summed", "multiplied"):
            self.other = Mix(INPUTS, width, self.axis, rank)
        self.layer = layer
        self.reader = Mix(read, OUTPUTS, self.out_axis, out_rank)

    def forward(self, x: Tensor) -> Any:
        """Run it: shape (..., INPUTS, ...) in, (..., OUTPUTS, ...) out."""
        return WAYS[self.way](self, x)


def _residual(net: Around, x: Tensor) -> Any:
    h = net.writer(x)
    return net.reader(h + net.layer(h))


def _joined(net: Around, x: Tensor) -> Any:
    h = net.writer(x)
    return net.reader(torch.cat([net.layer(h), h], net.out_axis))


def _halved(net: Around, x: Tensor) -> Any:
    left, right = net.layer(net.writer(x)).chunk(2, net.out_axis)
    return net.reader(left * torch.sigmoid(right))


def _both(net: Around, x: Tensor) -> Any:
    h = net.layer(net.writer(x))
    return net.reader(torch.relu(h)), net.reader(h)


WAYS: dict[str, Callable[[Around, Tensor], Any]] = {
    "chain": lambda net, x: net.reader(net.layer(net.writer(x))),
    "activated": lambda net, x: net.reader(torch.relu(net.layer(torch.tanh(net.writer(x))))),
    "summed": lambda net, x: net.reader(net.layer(net.writer(x) + net.other(x))),
    "residual": _residual,
    "repeated": lambda net, x: net.reader(net.layer(net.layer(net.writer(x)))),
    "joined": _joined,
    "halved": _halved,
    "both": _both,
    "multiplied": lambda net, x: net.reader(net.layer(net.writer(x)) * net.layer(net.other(x))),
    "last": lambda net, x: net.layer(net.writer(x)),
}
"""How a layer stands in a network."""


def check_layer(
    make: Callable[[], nn.Module],
    input_shape: tuple[int, ...],
    *,
    channel_axis: int = 1,
    output_axis: int | None = None,
    seeds: Iterable[int] = range(10),
    prunes: bool = True,
    renormalise: bool = False,
    tolerance: float = TOLERANCE,
    builder: str = "trace",
) -> Plan:
    """Check the main law on small networks around a layer; returns the plan of the plainest one, writer-layer-reader.

    `make()` builds the layer, a module of one tensor of shape `input_shape` (with its batch axis) whose channels lie
    along `channel_axis`; those of its output along `output_axis` (default: the same). The kit puts a layer before it
    that writes these channels and one after it that reads them, in a chain, a residual, a concatenation, a gate, or
    shared. Each seed draws other weights and another choice of what leaves, and stands for one way to join them. With
    `prunes` it is a fault if no channel that goes into or comes out of the layer can leave; the message has the
    reasons.

    Raises `LawBroken`, with the way and the seed in the message.
    """
    plain, shape = _network(make, input_shape, channel_axis, output_axis, "chain")
    inputs = (torch.zeros(shape, dtype=torch.float64),)
    made = masked_equals_thinned(
        randomised(plain), inputs, renormalise=renormalise, tolerance=tolerance, builder=builder
    )
    if prunes and not _passes(made):
        reasons = "\n".join(f"  {r}" for r in made.refusals if _at_layer(r.parameter, r.axis))
        raise LawBroken(f"nothing that goes through {type(plain.layer).__name__} can leave:\n{reasons}")
    for seed in seeds:
        way = list(WAYS)[seed % len(WAYS)]
        try:
            network, _ = _network(make, input_shape, channel_axis, output_axis, way)
            randomised(network, seed)
            network(*inputs)
        except (RuntimeError, ValueError, TypeError, IndexError):
            if way == "chain":
                raise
            continue  # the layer's output does not fit there: no residual around a layer that changes shapes
        try:
            drawn = random_plan(network, inputs, seed, renormalise=renormalise, builder=builder)
            plan_is_exact(network, drawn, inputs, tolerance=tolerance, seed=seed)
            masked_equals_thinned(network, inputs, renormalise=renormalise, tolerance=tolerance, builder=builder)
        except LawBroken as error:
            raise LawBroken(f"{type(network.layer).__name__}, {way}, seed {seed}: {error}") from error
    return made


def _network(
    make: Callable[[], nn.Module], input_shape: tuple[int, ...], axis: int, output_axis: int | None, way: str
) -> tuple[Around, tuple[int, ...]]:
    """The network around a new layer, and the shape of its inputs."""
    layer = randomised(make())
    if not -len(input_shape) <= axis < len(input_shape):
        raise ValueError(f"channel_axis {axis} is no axis of input_shape {input_shape}")
    with torch.no_grad():
        made = layer(torch.zeros(input_shape, dtype=torch.float64))
    if not isinstance(made, Tensor):
        raise TypeError(f"check_layer needs a layer that returns one tensor, this one returns {type(made).__name__}")
    out = axis if output_axis is None else output_axis
    around = Around(layer, way, (axis, input_shape[axis], len(input_shape)), (out, made.shape[out], made.dim()))
    shape = list(input_shape)
    shape[axis] = INPUTS
    return around, tuple(shape)


def _passes(plan: Plan) -> bool:
    """Whether anything leaves that is written into the layer, lies in it, or is read from it."""
    return any(_at_layer(name, axis) for name, axes in plan.cuts.items() for axis in axes)


def _at_layer(parameter: str, axis: int) -> bool:
    return (
        parameter.startswith("layer.")
        or (parameter.startswith("writer.") and axis == 0)
        or (parameter.startswith("reader.") and axis == 1)
    )
