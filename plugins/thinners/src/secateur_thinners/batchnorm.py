"""Batch and instance normalisation: y[c] = (x[c] - mean[c]) / sqrt(var[c] + eps) * w[c] + b[c], channel by channel.

All statistics and affine parameters are indexed by channel, so they leave with it. A channel whose parameters and
statistics are zero gives zero.
"""

from __future__ import annotations

from collections.abc import Sequence

from secateur.coupling.labels import Axis
from secateur.coupling.site import Site
from secateur.hookspecs import hookimpl
from secateur.records import LayerAdapter, OpRule

BATCH_NORM = (
    "input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-05"
)
INSTANCE_NORM = (
    "input, running_mean=None, running_var=None, weight=None, bias=None, use_input_stats=True, "
    "momentum=0.1, eps=1e-05"
)


def channel_norm(site: Site) -> Sequence[Axis]:
    """The input is [batch, channels, ...]; unbatched input of instance norm is [channels, space]."""
    data = site["input"]
    vectors = [site[name] for name in ("running_mean", "running_var", "weight", "bias")]
    length = next((len(vector[0]) for vector in vectors if vector is not None), None)
    channel = 1 if length is None or len(data[1]) == length else 0
    axis = data[channel]
    zero = axis.zero or site["weight"] is not None
    for vector in vectors:
        if vector is not None:
            axis = site.tie(axis, vector[0])
    others = [entry.nonzero() for entry in data.axes]
    return [*others[:channel], Axis(axis.atoms, zero), *others[channel + 1 :]]


@hookimpl
def secateur_op_rules() -> list[OpRule]:
    """Rules for batch and instance norm."""
    return [
        OpRule(name="batch_norm", ops=("batch_norm",), signature=BATCH_NORM, apply=channel_norm),
        OpRule(name="instance_norm", ops=("instance_norm",), signature=INSTANCE_NORM, apply=channel_norm),
    ]


@hookimpl
def secateur_layer_adapters() -> list[LayerAdapter]:
    """The number of channels that batch and instance norm modules hold."""
    kinds = [f"batchnorm.BatchNorm{space}d" for space in (1, 2, 3)] + ["batchnorm.SyncBatchNorm"]
    kinds += [f"instancenorm.InstanceNorm{space}d" for space in (1, 2, 3)]
    types = tuple(f"torch.nn.modules.{kind}" for kind in kinds)
    return [LayerAdapter(name="batchnorm", types=types, mirrors={"num_features": "input:1"})]
