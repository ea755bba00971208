"""Linear: y[..., o] = b[o] + sum over i of w[o, i] * x[..., i]."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING

from secateur.coupling.labels import Axis
from secateur.coupling.site import Site
from secateur.hookspecs import hookimpl
from secateur.records import Contraction, LayerAdapter, OpRule

if TYPE_CHECKING:
    from secateur.graph.ir import Graph, Op


def linear(site: Site) -> Sequence[Axis]:
    """The weight is [outputs, inputs], or [inputs] for a single output without an axis."""
    data, weight, bias = site["input"], site["weight"], site["bias"]
    site.contract(data[-1], weight[-1], reads=site.learned(weight))
    batch = data.axes[:-1] if bias is None else [axis.nonzero() for axis in data.axes[:-1]]
    if len(weight) == 1:
        return list(batch)
    outputs = weight[0] if bias is None else site.tie(weight[0], bias[-1])
    return [*batch, outputs]


def linear_macs(op: Op, graph: Graph) -> int:
    """Outputs × inputs."""
    return prod(graph.values[op.outputs[0]].shape) * graph.values[op.inputs[1]].shape[-1]


@hookimpl
def secateur_op_rules() -> list[OpRule]:
    """The rule for `linear`."""
    return [
        OpRule(
            name="linear",
            ops=("linear",),
            signature="input, weight, bias=None",
            apply=linear,
            macs=linear_macs,
            contracts=Contraction(factors=("input", "weight"), added="bias", reads=1),
        )
    ]


@hookimpl
def secateur_layer_adapters() -> list[LayerAdapter]:
    """The numbers of features that `nn.Linear` holds."""
    types = ("torch.nn.modules.linear.Linear", "torch.nn.modules.linear.NonDynamicallyQuantizableLinear")
    mirrors = {"in_features": "input:-1|weight:1", "out_features": "output:-1|weight:0"}
    return [LayerAdapter(name="linear", types=types, mirrors=mirrors)]
