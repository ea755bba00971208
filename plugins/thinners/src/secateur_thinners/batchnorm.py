"""Batch and instance normalisation: y[c] = (x[c] - mean[c]) / sqrt(var[c] + eps) * w[c] + b[c], channel by channel.

All statistics and affine parameters are indexed by channel, so they leave with it. A channel whose parameters and
statistics are zero gives zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from secateur.coupling.labels import Axis, Labels
from secateur.coupling.site import Site
from secateur.hookspecs import hookimpl
from secateur.records import LayerAdapter, OpRule

if TYPE_CHECKING:
    from torch import Tensor

BATCH_NORM = "input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-05"
INSTANCE_NORM = (
    "input, running_mean=None, running_var=None, weight=None, bias=None, use_input_stats=True, momentum=0.1, eps=1e-05"
)


def batch_norm(site: Site) -> Sequence[Axis]:
    """The input is [batch, channels, ...]; batch and space are averaged over, in training at least."""
    return _channel_norm(site, averaged=site["input"].axes)


def instance_norm(site: Site) -> Sequence[Axis]:
    """The input is [batch, channels, ...]; space is averaged over."""
    return _channel_norm(site, averaged=site["input"].axes[2:] if site["use_input_stats"] else ())


def _channel_norm(site: Site, averaged: Sequence[Axis]) -> Sequence[Axis]:
    batch, axis, *space = site["input"].axes
    for other in (batch, *space):
        if other.free and other in averaged:
            site.fix(other, f"{site.op.kind} takes its statistics over it")
    mean, variance, weight, bias = [site[name] for name in ("running_mean", "running_var", "weight", "bias")]
    zero = stays_zero(axis, weight, bias, mean)
    for vector in (mean, variance, weight, bias):
        if vector is not None:
            axis = site.tie(axis, vector[0])
    return [batch.nonzero(), Axis(axis.atoms, zero, free=axis.free), *[entry.nonzero() for entry in space]]


def stays_zero(data: Axis, weight: Labels | None, bias: Labels | None, mean: Labels | None = None) -> bool:
    """Whether (x - mean) / sd * weight + bias is zero where all that leaves is zero."""
    factor = weight is not None and weight[0].zero
    centred = data.zero and (mean is None or mean[0].zero)
    return (factor or centred) and (bias is None or bias[0].zero)


def factor(arguments: Mapping[str, Any]) -> Tensor | None:
    """By what each channel is multiplied in eval mode: w / sqrt(var + eps)."""
    weight, variance = arguments["weight"], arguments["running_var"]
    if variance is None:
        return None
    scale: Tensor = (variance.detach() + float(arguments["eps"])).rsqrt()
    return scale if weight is None else weight.detach() * scale


@hookimpl
def secateur_op_rules() -> list[OpRule]:
    """Rules for batch and instance norm."""
    return [
        OpRule(
            name="batch_norm",
            ops=("batch_norm",),
            signature=BATCH_NORM,
            apply=batch_norm,
            channel_factor=factor,
        ),
        OpRule(name="instance_norm", ops=("instance_norm",), signature=INSTANCE_NORM, apply=instance_norm),
    ]


@hookimpl
def secateur_layer_adapters() -> list[LayerAdapter]:
    """The number of channels that batch and instance norm modules hold."""
    home = "torch.nn.modules"
    batch = (*(f"{home}.batchnorm.BatchNorm{space}d" for space in (1, 2, 3)), f"{home}.batchnorm.SyncBatchNorm")
    return [
        LayerAdapter(name="batchnorm", types=batch, mirrors={"num_features": "input:1"}),
        *(
            LayerAdapter(  # counted from the end: the input may come without a batch axis
                name=f"instancenorm{space}d",
                types=(f"{home}.instancenorm.InstanceNorm{space}d",),
                mirrors={"num_features": f"input:{-space - 1}"},
            )
            for space in (1, 2, 3)
        ),
    ]
