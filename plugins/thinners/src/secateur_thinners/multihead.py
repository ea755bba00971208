"""Multi-head attention in one call: projections of queries, keys and values, attention, projection of the result.

The packed weight holds the rows of queries, keys and values one after another, each heads × width. torch derives the
width from the width E of the queries' input, E = heads × width, so that the three can only change together: the input's
channels are tied to heads × width, index by index. The attention scale derives from the width; rescaling the queries'
rows compensates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import frozen

from secateur.coupling.binding import bind
from secateur.coupling.facts import Compensation
from secateur.coupling.labels import Axis, Labels
from secateur.coupling.site import Site, int_of, plain
from secateur.hookspecs import hookimpl
from secateur.records import LayerAdapter, OpRule
from secateur_thinners.attention import SCALE

if TYPE_CHECKING:
    from secateur.graph.ir import Graph, Op

SIGNATURE = (
    "query, key, value, embed_dim_to_check, num_heads, in_proj_weight, in_proj_bias, bias_k, bias_v, add_zero_attn, "
    "dropout_p, out_proj_weight, out_proj_bias, training=True, key_padding_mask=None, need_weights=True, "
    "attn_mask=None, use_separate_proj_weight=False, q_proj_weight=None, k_proj_weight=None, v_proj_weight=None, "
    "static_k=None, static_v=None, average_attn_weights=True, is_causal=False"
)


@frozen(eq=False)
class Projection:
    """The rows of one weight that make queries, keys or values: the weight, its rows, and what they read."""

    weight: Labels
    rows: Axis
    start: int
    reads: Axis


def multi_head_attention(site: Site) -> list[Sequence[Axis]]:
    """Inputs [length, (batch,) width]; the result is [L, (batch,) output], and attention weights if asked for."""
    if site["static_k"] is not None or site["static_v"] is not None:
        raise NotImplementedError("attention with static keys or values is not followed")
    query, key, count = site["query"], site["key"], int_of(site["num_heads"])
    heads: list[Axis] = []
    widths: list[Axis] = []
    projections = list(_projections(site, len(query[-1])))
    for projection, extra in zip(projections, (None, site["bias_k"], site["bias_v"]), strict=True):
        site.contract(projection.reads, projection.weight[1])
        rows = projection.rows
        if site["in_proj_bias"] is not None:
            rows = site.tie(rows, _part(site["in_proj_bias"][0], len(heads), len(rows)))
        if extra is not None:
            rows = site.tie(rows, extra[-1])
        outer, inner = site.split(rows, count, len(rows) // count)
        heads.append(outer)
        widths.append(inner)
    for axis in heads[1:]:
        site.tie(heads[0], axis)
    for axis in widths[1:]:
        site.tie(widths[0], axis)
    site.renormalise(widths[0], SCALE, *_compensation(site, projections[0]))
    embedding = site.tie(query[-1], projections[0].rows)
    site.require(site["embed_dim_to_check"], embedding, "the width of attention")
    site.require(site["num_heads"], heads[0], "the number of heads")
    site.mirror("head_dim", widths[0])
    site.contract(projections[2].rows, site["out_proj_weight"][1])
    return _outputs(site, query, key, heads[0])


def _projections(site: Site, width: int) -> Iterator[Projection]:
    inputs = [site[name] for name in ("query", "key", "value")]
    if plain(site["use_separate_proj_weight"]):
        weights = [site[name] for name in ("q_proj_weight", "k_proj_weight", "v_proj_weight")]
        for tensor, weight in zip(inputs, weights, strict=True):
            yield Projection(weight, weight[0], 0, tensor[-1])
    else:
        weight = site["in_proj_weight"]
        for index, tensor in enumerate(inputs):
            yield Projection(weight, _part(weight[0], index, width), index * width, tensor[-1])


def _part(axis: Axis, index: int, length: int) -> Axis:
    return Axis(axis.atoms[index * length : (index + 1) * length], axis.zero)


def _compensation(site: Site, queries: Projection) -> list[Compensation]:
    """The rows of the queries, in the weight and in the bias, if no other call reads them."""
    biases = [site["in_proj_bias"]] if site["in_proj_bias"] is not None else []
    for tensor in (queries.weight, *biases):
        if any((op.kind, op.module) != (site.op.kind, site.op.module) for op in site.graph.consumers[tensor.name]):
            return []
    rows = np.arange(queries.start, queries.start + len(queries.rows))
    found = [Compensation(power=0.5, value=queries.weight.name, indices=rows)]
    return found + [Compensation(power=0.5, value=bias.name, indices=np.arange(len(rows))) for bias in biases]


def _outputs(site: Site, query: Labels, key: Labels, heads: Axis) -> list[Sequence[Axis]]:
    masks = [site[name] for name in ("attn_mask", "key_padding_mask") if isinstance(site[name], Labels)]
    for axis in [*key.axes[:-1], *(axis for mask in masks for axis in mask.axes)]:
        site.fix(axis, "attention takes a softmax over it")
    if any(len(mask) == 3 for mask in masks):
        site.fix(heads, "each head has a mask of its own")
    written = site["out_proj_weight"][0]
    if site["out_proj_bias"] is not None:
        written = site.tie(written, site["out_proj_bias"][0])
    made: list[Sequence[Axis]] = [[*(axis.nonzero() for axis in query.axes[:-1]), written]]
    if len(site.op.outputs) > 1:
        made.append(_weights(site, heads))
    return made


def _weights(site: Site, heads: Axis) -> Sequence[Axis]:
    """The attention weights [(batch,) (heads,) L, S]: averaged over heads, or one matrix for each."""
    shape: Any = site.shapes[1]
    axes = [Axis(np.zeros(length, np.int64), zero=False) for length in shape]
    if not plain(site["average_attn_weights"]):
        axes[-3] = heads.nonzero()
    elif site.is_read(site.op.outputs[1]):
        site.renormalise(heads, "the attention weights are averaged over it")
    return axes


def multi_head_macs(op: Op, graph: Graph) -> int:
    """Four projections, the scores, and the weighted sums."""
    bound = bind(op, SIGNATURE)
    query, key, value = (graph.values[bound[name].name].shape for name in ("query", "key", "value"))
    out = graph.values[bound["out_proj_weight"].name].shape
    batch = query[1] if len(query) == 3 else 1
    width = query[-1]
    projected = query[0] * width * query[-1] + key[0] * width * (key[-1] + value[-1]) + query[0] * prod(out)
    return batch * (projected + 2 * query[0] * key[0] * width)


@hookimpl
def secateur_op_rules() -> list[OpRule]:
    """The rule for `torch.nn.functional.multi_head_attention_forward`."""
    return [
        OpRule(
            name="multi_head_attention_forward",
            ops=("multi_head_attention_forward",),
            signature=SIGNATURE,
            apply=multi_head_attention,
            macs=multi_head_macs,
        )
    ]


@hookimpl
def secateur_layer_adapters() -> list[LayerAdapter]:
    """The widths that `nn.MultiheadAttention` holds; its number of heads and their width follow from the call.

    `nn.Transformer` holds the width too, and compares its inputs with it.
    """
    mirrors = {
        "embed_dim": "in_proj_weight:1|q_proj_weight:1",
        "kdim": "in_proj_weight:1|k_proj_weight:1",
        "vdim": "in_proj_weight:1|v_proj_weight:1",
    }
    return [
        LayerAdapter(name="multihead", types=("torch.nn.modules.activation.MultiheadAttention",), mirrors=mirrors),
        LayerAdapter(
            name="transformer", types=("torch.nn.modules.transformer.Transformer",), mirrors={"d_model": "input:-1"}
        ),
    ]
