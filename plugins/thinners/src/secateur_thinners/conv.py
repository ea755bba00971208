"""Convolution: y[o] = b[o] + sum over i of w[o, i] * x[i], within each group of channels.

Output channel o is row o of the weight; input channel i is read by column i. With G groups the input channels are
G × I, the output channels G × J, both products: an output channel leaves if its group or its place within it does.
Transposed convolution swaps the first two axes of the weight. A depthwise convolution is the case I = 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING

from secateur.coupling.labels import Axis, Labels, fixed
from secateur.coupling.site import Site, int_of
from secateur.hookspecs import hookimpl
from secateur.records import Contraction, LayerAdapter, OpRule

if TYPE_CHECKING:
    from secateur.graph.ir import Graph, Op

CONV = "input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1"
TRANSPOSED = "input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1"


def conv(site: Site) -> Sequence[Axis]:
    """The weight is [G*J, I, *kernel], the input [(batch,) G*I, *space]."""
    data, weight = site["input"], site["weight"]
    channels = _channels(site, data, weight)
    groups, learned = int_of(site["groups"]), site.learned(weight)
    if groups == 1:
        site.contract(channels, weight[1], reads=learned)
    else:
        outer, inner = site.split(channels, groups, len(channels) // groups)
        site.contract(inner, weight[1], reads=learned)
        written, _ = site.split(weight[0], groups, len(weight[0]) // groups)
        site.tie(outer, written)
        site.require(site["groups"], outer, "the number of groups")
    return _output(site, data, weight, weight[0])


def conv_transpose(site: Site) -> Sequence[Axis]:
    """The weight is [G*I, J, *kernel], the input [(batch,) G*I, *space]."""
    data, weight = site["input"], site["weight"]
    channels = _channels(site, data, weight)
    groups, learned = int_of(site["groups"]), site.learned(weight)
    site.contract(channels, weight[0], reads=learned)
    if groups == 1:
        return _output(site, data, weight, weight[1])
    outer, _ = site.split(channels, groups, len(channels) // groups)
    site.require(site["groups"], outer, "the number of groups")
    return _output(site, data, weight, site.merge(outer, weight[1]))


def _channels(site: Site, data: Labels, weight: Labels) -> Axis:
    """The channel axis of the input; the kernel's axes stay, and so does what they slide over."""
    space = len(weight) - 2
    site.stay(weight.axes[2:])
    for axis in data.axes[len(data) - space :]:
        if axis.free:
            site.fix(axis, "a convolution slides over it")
    return data[-(space + 1)]


def _output(site: Site, data: Labels, weight: Labels, channels: Axis) -> Sequence[Axis]:
    bias, space, shape = site["bias"], len(weight) - 2, site.shape
    if bias is not None:
        channels = site.tie(channels, bias[0])
    batch = [axis.nonzero() for axis in data.axes[: len(data) - space - 1]]
    return [*batch, channels, *[fixed(length) for length in shape[len(shape) - space :]]]


def conv_macs(op: Op, graph: Graph) -> int:
    """Outputs × (inputs per group × kernel elements)."""
    weight = graph.values[op.inputs[1]].shape
    return prod(graph.values[op.outputs[0]].shape) * prod(weight[1:])


def transposed_macs(op: Op, graph: Graph) -> int:
    """Inputs × (outputs per group × kernel elements)."""
    weight = graph.values[op.inputs[1]].shape
    return prod(graph.values[op.inputs[0]].shape) * prod(weight[1:])


@hookimpl
def secateur_op_rules() -> list[OpRule]:
    """Rules for convolutions of one to three spatial axes."""
    return [
        OpRule(
            name="conv",
            ops=("conv1d", "conv2d", "conv3d"),
            signature=CONV,
            apply=conv,
            macs=conv_macs,
            contracts=Contraction(factors=("input", "weight"), added="bias", reads=1, slides=True),
        ),
        OpRule(
            name="conv_transpose",
            ops=("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
            signature=TRANSPOSED,
            apply=conv_transpose,
            macs=transposed_macs,
            contracts=Contraction(factors=("input", "weight"), added="bias", reads=0, slides=True),
        ),
    ]


@hookimpl
def secateur_layer_adapters() -> list[LayerAdapter]:
    """The numbers of channels that convolution modules hold."""
    return [
        LayerAdapter(
            name=f"conv{transposed.lower()}{space}d",
            types=(f"torch.nn.modules.conv.Conv{transposed}{space}d",),
            mirrors={
                "in_channels": f"input:{-space - 1}|weight:{1 - swapped}",
                "out_channels": f"output:{-space - 1}|weight:{swapped}",
            },
        )
        for space in (1, 2, 3)
        for swapped, transposed in enumerate(("", "Transpose"))
    ]
