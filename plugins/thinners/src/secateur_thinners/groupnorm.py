"""Norms that average over channels: group norm, layer norm, RMS norm, local response norm.

Group norm averages within each of its G groups of C / G channels: a whole group may leave exactly, a channel within
a group renormalises. Layer and RMS norm average over everything they normalise, so what leaves those axes renormalises.

RMS norm (Zhang & Sennrich 2019), y = w x / sqrt(sum(x^2) / C + eps), can be compensated. Local response norm reads
neighbouring channels, so the channels stay.
"""

from __future__ import annotations

from collections.abc import Sequence

from secateur.coupling.facts import Compensation
from secateur.coupling.labels import Axis, Labels
from secateur.coupling.site import Site, int_of
from secateur.hookspecs import hookimpl
from secateur.records import LayerAdapter, OpRule
from secateur_thinners.batchnorm import stays_zero

RMS_NORM = "torch.nn.modules.normalization.RMSNorm"
EPSILON = {"float64": 2.0**-52, "float32": 2.0**-23, "bfloat16": 2.0**-23, "float16": 2.0**-23}
"""What RMS norm adds if it is given no eps: the spacing at one of the dtype it computes in."""


def group_norm(site: Site) -> Sequence[Axis]:
    """The input is [batch, G * channels per group, *space]."""
    data, groups = site["input"], int_of(site["num_groups"])
    axis = data[1]
    outer, inner = site.split(axis, groups, len(axis) // groups)
    site.renormalise(inner, "group norm averages over the channels of a group")
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
    """The last axes, as many as `normalized_shape` has, are averaged over; the others stay zero if nothing is added."""
    normalised = _normalised(site, (site["weight"], site["bias"]))
    return [*(axis.nonzero() for axis in _before(site)), *normalised]


def rms_norm(site: Site) -> Sequence[Axis]:
    """As layer norm, without a bias.

    With k of C channels left, sum(x^2) / k + eps C / k is C / k times what it was, so a weight times sqrt(C / k) and
    an eps times C / k leave the result as it was: if the others are zero, that is, else they are part of the sum.
    """
    data, weight = site["input"], site["weight"]
    compensations = []
    module = site.op.module
    if weight is not None and data[-1].zero and site.held_by(RMS_NORM, "weight", weight):
        default = EPSILON.get(site.graph.values[site.op.outputs[0]].dtype, 0.0)
        compensations = [
            Compensation(power=-0.5, value=weight.name),
            Compensation(power=-1.0, attribute=(module, "eps"), default=default),
        ]
    return [*_before(site), *_normalised(site, (weight,), compensations)]


def _before(site: Site) -> tuple[Axis, ...]:
    axes: tuple[Axis, ...] = site["input"].axes
    return axes[: len(axes) - len(site["normalized_shape"])]


def _normalised(site: Site, vectors: Sequence[Labels | None], compensations: Sequence[Compensation] = ()) -> list[Axis]:
    """The axes that are averaged over; each is as long as the shape says, and leaves with the affine parameters."""
    data, shape = site["input"], site["normalized_shape"]
    made = []
    for position, size in enumerate(shape):
        axis = data[len(data) - len(shape) + position]
        axis = site.require(size, axis, "the normalised shape")
        axis = site.renormalise(axis, f"{site.op.kind} averages over it", *(compensations if len(shape) == 1 else ()))
        for vector in vectors:
            if vector is not None:
                axis = site.tie(axis, vector[position])
        made.append(axis)
    return made


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
