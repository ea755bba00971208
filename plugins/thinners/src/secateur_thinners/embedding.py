"""Embeddings: rows of a table, looked up by index, one by one or summed in bags.

The weight is [rows, width]. Rows stay, since an index must find the row that it means; the width is carried.
"""

from __future__ import annotations

from collections.abc import Sequence

from secateur.coupling.labels import Axis, Labels, fixed
from secateur.coupling.site import Site, plain
from secateur.hookspecs import hookimpl
from secateur.records import LayerAdapter, OpRule
from secateur_thinners.table import rule

LOOKED_UP = "rows are looked up by index"


def embedding(site: Site) -> Sequence[Axis]:
    """One row for each index; the axes of the indices come first."""
    return [*(axis.nonzero() for axis in site["input"].axes), _width(site)]


def embedding_bag(site: Site) -> Sequence[Axis]:
    """The sum, mean or maximum of the rows of each bag: zero where all of them are."""
    weights = site["per_sample_weights"]
    for tensor in (site["input"], *([] if weights is None else [weights])):
        for axis in tensor.axes:
            site.fix(axis, "rows are gathered in bags along it")
    return [fixed(site.shape[0]), _width(site)]


def _width(site: Site) -> Axis:
    weight: Labels = site["weight"]
    if site["max_norm"] is not None and not plain(site["norm_type"]) > 0:
        raise NotImplementedError(f"rows are limited to a norm of order {plain(site['norm_type'])}")
    site.fix(weight[0], LOOKED_UP)
    return weight[1]


STEERED = "max_norm=None, norm_type=2.0, scale_grad_by_freq=False"


@hookimpl
def secateur_op_rules() -> list[OpRule]:
    """Rules for lookups in a table."""
    bags = "mode='mean', sparse=False, per_sample_weights=None, include_last_offset=False, padding_idx=None"
    return [
        rule("embedding", f"input, weight, padding_idx=None, {STEERED}, sparse=False", embedding),
        rule("embedding_bag", f"input, weight, offsets=None, {STEERED}, {bags}", embedding_bag),
    ]


@hookimpl
def secateur_layer_adapters() -> list[LayerAdapter]:
    """The number of rows and their width that embedding modules hold."""
    return [
        LayerAdapter(
            name=name,
            types=(f"torch.nn.modules.sparse.{kind}",),
            mirrors={"num_embeddings": "weight:0", "embedding_dim": "weight:1"},
        )
        for name, kind in (("embedding", "Embedding"), ("embedding_bag", "EmbeddingBag"))
    ]
