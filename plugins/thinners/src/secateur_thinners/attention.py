"""Scaled dot-product attention: softmax(q k^T / sqrt(E) + mask) v, head by head (Vaswani et al. 2017).

The width E of queries and keys is summed over, so it leaves from both; the width of the values is carried. A head
leaves from queries, keys and values alike. With fewer key/value heads (grouped queries, Ainslie et al. 2023) query
heads are groups × places in a group, and each group belongs to one key/value head. Unless a scale is given it derives
from E: then E renormalises, and rescaling the rows that write the queries compensates.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING

from secateur.coupling.binding import bind
from secateur.coupling.facts import Compensation
from secateur.coupling.labels import Axis, Labels, fixed
from secateur.coupling.site import Site, plain
from secateur.coupling.writers import rows_of
from secateur.hookspecs import hookimpl
from secateur.records import OpRule

if TYPE_CHECKING:
    from secateur.graph.ir import Graph, Op

SIGNATURE = "query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False"
SCALE = "the attention scale is derived from its length"


def scaled_dot_product_attention(site: Site) -> Sequence[Axis]:
    """Queries [..., heads, L, E], keys [..., heads, S, E], values [..., heads, S, V], the mask broadcasts to
    [..., heads, L, S]; the result is [..., heads, L, V]."""
    query, key, value, mask = site["query"], site["key"], site["value"], site["attn_mask"]
    width = query[-1]
    site.contract(width, key[-1], reads=False)
    if site["scale"] is None:
        site.renormalise(width, SCALE, *_compensation(site, query))
    for axis in (key[-2], value[-2], *(mask.axes[-1:] if isinstance(mask, Labels) else ())):
        site.fix(axis, "attention takes a softmax over it")
    length = query[-2]
    if isinstance(mask, Labels) and len(mask) > 1:
        length = _together(site, [length, mask[-2]], len(length))
    several = len(query) > 2 and any(len(tensor) > 2 and len(tensor[-3]) != len(query[-3]) for tensor in (key, value))
    grouped = bool(plain(site["enable_gqa"])) and several
    batch = [_heads(site, place, grouped and place == 3) for place in range(len(site.shape), 2, -1)]
    return [*batch, length.nonzero(), value[-1]]


def _heads(site: Site, place: int, grouped: bool) -> Axis:
    """One axis before the last two, counted from the end: zero where the values are, if each place has its own."""
    query, key, value, mask = site["query"], site["key"], site["value"], site["attn_mask"]
    length = site.shape[-place]
    own = [tensor[-place] for tensor in (query, mask) if isinstance(tensor, Labels) and len(tensor) >= place]
    others = [tensor[-place] for tensor in (key, value) if len(tensor) >= place]
    zero = len(value) >= place and len(value[-place]) == length and value[-place].zero
    if grouped:
        axis = _together(site, own, length)
        for other in others:
            outer, _ = site.split(axis, len(other), length // len(other))
            site.tie(outer, other)
    else:
        axis = _together(site, [*own, *others], length)
    return Axis(axis.atoms, zero)


def _together(site: Site, axes: Sequence[Axis], length: int) -> Axis:
    """Axes of one length leave together; one of length 1 that is stretched over others stays."""
    full = [axis for axis in axes if len(axis) == length]
    for axis in axes:
        if len(axis) != length:
            site.fix(axis, "it is stretched over heads")
    result = full[0] if full else fixed(length)
    for axis in full[1:]:
        result = site.tie(result, axis)
    return result


def _compensation(site: Site, query: Labels) -> list[Compensation]:
    rows = rows_of(site.graph, query.name)
    if rows is None:
        return []
    return [Compensation(power=0.5, value=name, indices=rows.indices) for name in (rows.weight, rows.bias) if name]


def attention_macs(op: Op, graph: Graph) -> int:
    """Scores and weighted sums: L * S * (E + V) for each head."""
    bound = bind(op, SIGNATURE)
    key, value = (graph.values[bound[name].name].shape for name in ("key", "value"))
    *heads, length, _ = graph.values[op.outputs[0]].shape
    return prod(heads) * length * key[-2] * (key[-1] + value[-1])


@hookimpl
def secateur_op_rules() -> list[OpRule]:
    """The rule for attention in one call."""
    return [
        OpRule(
            name="scaled_dot_product_attention",
            ops=("scaled_dot_product_attention",),
            signature=SIGNATURE,
            apply=scaled_dot_product_attention,
            macs=attention_macs,
        )
    ]
