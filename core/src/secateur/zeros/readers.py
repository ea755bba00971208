"""Readers: the operations that multiply a weight with data and sum over it, and what is known of that data.

y[g, j] = b[g, j] + sum over i and kernel of w[g, j, i, kernel] · x[g, i], for groups g (mostly one). Of every channel
(g, i) of the data it is told whether it is a constant, the same everywhere, and which.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import frozen

from secateur.coupling.binding import BindingError, bind
from secateur.coupling.labels import Atoms, Labels
from secateur.coupling.site import int_of, plain
from secateur.graph.ir import Graph, Op, Ref
from secateur.records import OpRule

if TYPE_CHECKING:
    from torch import Tensor

Array = np.ndarray[Any, Any]

NOT_UNIFORM = "the constant it emits is not the same at all positions"
BORDER = "the constant it emits meets the zero padding of {place}, where it differs from the rest"
NO_BIAS = "the constant it emits would have to go into a bias, and {place} has none of its own"


@frozen(eq=False)
class Target:
    """Where the constant that a reader no longer gets is added instead: a bias, or, with sign -1, a running mean."""

    name: str
    sign: int = 1


@frozen(eq=False)
class Reader:
    """One such operation; see the module's docstring."""

    op: Op
    data: str
    """The value it reads."""
    axis: int
    """The axis of the data along which it reads, counted from the end."""
    nonzero: Array
    """Where the weight is not zero anywhere in the kernel, bool, shape (groups, outputs, inputs)."""
    summed: Array
    """The weight, summed over the kernel, float64, shape (groups, outputs, inputs)."""
    live: Array
    """Which channels of the data depend on the model's inputs, bool, shape (groups * inputs,)."""
    uniform: Array
    """Which constant channels are the same everywhere, bool, shape (groups * inputs,)."""
    value: Array
    """The constant of each channel (a middle one if it is not uniform), float64, shape (groups * inputs,)."""
    bordered: bool
    """Whether zeros come from beyond the border."""
    channels: Atoms
    outputs: Atoms
    target: Target | None

    def touched(self, gone: Array) -> Array:
        """The channels that something that stays reads with a weight other than zero."""
        groups, outputs, _ = self.nonzero.shape
        stays = ~gone[self.outputs].reshape(groups, outputs, 1)
        found: Array = (self.nonzero & stays).any(1).reshape(-1)
        return found

    def obstacles(self) -> dict[str, Array]:
        """{why a constant cannot be folded exactly: of which channels, shape (groups * inputs,)}."""
        some = ~self.live & (self.value != 0) | ~self.live & ~self.uniform
        place = self.op.module or self.op.kind
        found = {NOT_UNIFORM: some & ~self.uniform}
        if self.bordered:
            found[BORDER.format(place=place)] = some & self.uniform
        if self.target is None:
            found[NO_BIAS.format(place=place)] = some
        return {reason: channels for reason, channels in found.items() if channels.any()}

    def fold(self, gone: Array) -> Array:
        """What the channels that leave add to each output that stays, float64, shape (groups * outputs,)."""
        groups, _, inputs = self.summed.shape
        leaving = gone[self.channels] & ~self.live
        constants = np.where(leaving, self.value, 0.0).reshape(groups, 1, inputs)
        added: Array = (self.summed * constants).sum(-1).reshape(-1)
        return np.where(gone[self.outputs], 0.0, added)


def reader_of(
    op: Op, graph: Graph, labels: Mapping[str, Labels], rules: Mapping[str, OpRule], tensors: Mapping[str, Tensor]
) -> Reader | None:
    """What an operation is as a reader; None if it is none, or one of a form that is not followed.

    `tensors`: its inputs by name, NaN where they depend on the inputs of the model.
    """
    import torch

    rule = rules[op.kind] if op.kind in rules else None  # noqa: SIM401 - a registry refuses unknown names
    form = rule.contracts if rule is not None else None
    if rule is None or form is None or form.reads is None:
        return None
    try:
        named = bind(op, rule.signature)
    except BindingError:
        return None
    data, weight = (named[name] for name in form.factors)
    if not (isinstance(data, Ref) and isinstance(weight, Ref)) or len(labels[weight.name]) < 2:
        return None
    if plain(named.get("alpha", 1)) != 1 or plain(named.get("beta", 1)) != 1 or named.get("out") is not None:
        return None
    values = tensors[weight.name]
    axis = 1 - values.dim()
    if len(labels[data.name]) < -axis or len(labels[op.outputs[0]]) < -axis or bool(values.isnan().any()):
        return None
    if values.dim() > 2 and not form.slides:
        return None
    groups = int_of(named.get("groups", 1))
    matrix = _matrix(values.detach().to("cpu", torch.float64), form.reads, groups)
    channels, outputs = labels[data.name][axis].atoms, labels[op.outputs[0]][axis].atoms
    if (len(channels), len(outputs)) != (groups * matrix.shape[2], groups * matrix.shape[1]):
        return None
    live, uniform, value = summary(tensors[data.name], axis)
    added = named.get(form.added) if form.added else None
    return Reader(
        op=op,
        data=data.name,
        axis=axis,
        nonzero=(matrix != 0).any(-1).numpy(),
        summed=matrix.sum(-1).numpy(),
        live=live,
        uniform=uniform,
        value=value,
        bordered=bordered(named, values),
        channels=channels,
        outputs=outputs,
        target=_target(op, graph, labels, rules, added, axis),
    )


def _matrix(weight: Tensor, reads: int, groups: int) -> Tensor:
    """The weight as (groups, outputs, inputs, kernel)."""
    flat = weight.flatten(2) if weight.dim() > 2 else weight.unsqueeze(-1)
    rows, others, kernel = flat.shape
    parts = flat.reshape(groups, rows // groups, others, kernel)
    return parts if reads == 1 else parts.transpose(1, 2)


def bordered(named: Mapping[str, Any], weight: Tensor) -> bool:
    """Whether a convolution reads zeros from beyond the border, or some outputs get fewer terms than others."""
    kernel = prod(weight.shape[2:])
    padding = plain(named.get("padding", 0))
    if isinstance(padding, str):
        return padding != "valid" and kernel > 1
    if "output_padding" in named:  # a transposed convolution: the terms of an output depend on its place
        return kernel > 1 or _any(padding) or _any(plain(named["output_padding"])) or _any(plain(named["stride"]), 1)
    return _any(padding)


def _any(numbers: Any, than: int = 0) -> bool:
    return any(number != than for number in (numbers if isinstance(numbers, tuple | list) else (numbers,)))


def summary(data: Tensor, axis: int) -> tuple[Array, Array, Array]:
    """Of every index of an axis: whether anything is unknown, whether all is one constant, and a middle constant."""
    import torch

    rows = data.detach().movedim(axis, 0).flatten(1) if data.dim() > 1 else data.detach().unsqueeze(-1)
    live = rows.isnan().any(1)
    rows = rows.masked_fill(live.unsqueeze(1), 0)
    low, high = rows.amin(1), rows.amax(1)
    slack = 256 * torch.finfo(rows.dtype).eps * torch.maximum(low.abs(), high.abs())
    uniform = (high - low) <= slack
    value = torch.where(low == high, low, rows.median(1).values)
    return live.cpu().numpy(), uniform.cpu().numpy(), value.to("cpu", torch.float64).numpy()


def _target(
    op: Op, graph: Graph, labels: Mapping[str, Labels], rules: Mapping[str, OpRule], added: Any, axis: int
) -> Target | None:
    outputs = len(labels[op.outputs[0]][axis])
    if isinstance(added, Ref):
        return _own(added.name, graph, outputs)
    if added is not None:
        return None
    after = _consumers(op.outputs[0], graph)
    if op.outputs[0] in graph.outputs or len(after) != 1 or after[0].kind != "batch_norm":
        return None
    try:
        named = bind(after[0], rules["batch_norm"].signature)
    except (BindingError, KeyError):
        return None
    mean, data = named.get("running_mean"), named.get("input")
    first = len(labels[op.outputs[0]]) + axis == 1
    if named.get("training") or not first or not isinstance(data, Ref) or data.name != op.outputs[0]:
        return None
    own = _own(mean.name, graph, outputs, ("buffer",)) if isinstance(mean, Ref) else None
    return Target(own.name, -1) if own else None


def _own(name: str, graph: Graph, length: int, kinds: tuple[str, ...] = ("parameter",)) -> Target | None:
    """A parameter or buffer of one number per output that only one operation reads."""
    value = graph.values[name]
    alone = len(_consumers(name, graph)) == 1 and name not in graph.outputs
    return Target(name) if value.kind in kinds and value.shape == (length,) and alone else None


def _consumers(name: str, graph: Graph) -> list[Op]:
    return [op for op in graph.consumers.get(name, ()) if not op.training]
