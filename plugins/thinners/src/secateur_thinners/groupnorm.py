"""Norms that average over channels: group norm, layer norm, RMS norm, local response norm.

Group norm averages within each of its G groups of C / G channels: a whole group may leave exactly, a channel within
a group may not. Layer and RMS norm average over everything they normalise, so those axes stay. Local response norm
reads neighbouring channels, so the channels stay.
"""

from __future__ import annotations

from collections.abc import Sequence

from secateur.coupling.labels import Axis
from secateur.coupling.site import Site, int_of
from secateur.hookspecs import hookimpl
from secateur.records import LayerAdapter, OpRule
from secateur_thinners.batchnorm import stays_zero


def group_norm(site: Site) -> Sequence[Axis]:
    """The input is [batch, G * channels per group, *space]."""
    data, groups = site["input"], int_of(site["num_groups"])
    axis = data[1]
    outer, inner = site.split(axis, groups, len(axis) // groups)
    site.fix(inner, "group norm averages over the channels of a group", "whole groups can leave")
    site.require(site["num_groups"], outer, "the number of groups")
    zero = stays_zero(axis, site["weight"], site["bias"])
    for vector in (site["weight"], site["bias"]):
        if vector is not None:
            axis = site.tie(axis, vector[0])
    for entry in data.axes[2:]:
        site.fix(entry, "group norm averages over it")
    batch = data[0].nonzero()
    return [batch, Axis(axis.atoms, zero), *data.axes[2:]]


def layer_norm(site: Site) -> Sequence[Axis]:
    """The last axes, as many as `normalized_shape` has, are averaged over."""
    data = site["input"]
    count = len(site["normalized_shape"])
    first = len(data) - count
    for position in range(count):
        site.fix(data[first + position], f"{site.op.kind} averages over it")
        for vector in (site["weight"], site["bias"]):
            if vector is not None:
                site.tie(data[first + position], vector[position])
    return [*(axis.nonzero() for axis in data.axes[:first]), *data.axes[first:]]


def rms_norm(site: Site) -> Sequence[Axis]:
    """As layer norm, without a bias."""
    data, weight = site["input"], site["weight"]
    count = len(site["normalized_shape"])
    first = len(data) - count
    for position in range(count):
        site.fix(data[first + position], f"{site.op.kind} averages over it")
        if weight is not None:
            site.tie(data[first + position], weight[position])
    return list(data.axes)


def local_response_norm(site: Site) -> Sequence[Axis]:
    """Each channel is divided by a sum over its neighbours."""
    data = site["input"]
    return [data[0], site.fix(data[1], "local response norm reads neighbouring channels"), *data.axes[2:]]


@hookimpl
def secateur_op_rules() -> list[OpRule]:
    """Rules for norms that average over channels."""
    return [
        OpRule(
            name="group_norm",
            ops=("group_norm",),
            signature="input, num_groups, weight=None, bias=None, eps=1e-05",
            apply=group_norm,
        ),
        OpRule(
            name="layer_norm",
            ops=("layer_norm",),
            signature="input, normalized_shape, weight=None, bias=None, eps=1e-05",
            apply=layer_norm,
        ),
        OpRule(
            name="rms_norm",
            ops=("rms_norm",),
            signature="input, normalized_shape, weight=None, eps=None",
            apply=rms_norm,
        ),
        OpRule(
            name="local_response_norm",
            ops=("local_response_norm",),
            signature="input, size, alpha=0.0001, beta=0.75, k=1.0",
            apply=local_response_norm,
        ),
    ]


@hookimpl
def secateur_layer_adapters() -> list[LayerAdapter]:
    """The number of channels that `nn.GroupNorm` holds; its number of groups follows from the call."""
    types = ("torch.nn.modules.normalization.GroupNorm",)
    return [LayerAdapter(name="groupnorm", types=types, mirrors={"num_channels": "input:1"})]
