"""Embeddings and bilinear forms: the rows of a table stay, its width is carried; a form reads both its inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

LOOKED_UP = "rows are looked up by index"


class Table(nn.Module):
    """A table of eleven rows, read by a linear layer."""

    def __init__(self, table: nn.Module, forward: Callable[..., Tensor]) -> None:
        super().__init__()
        self.table, self.read, self.body = table, nn.Linear(8, 4), forward

    def forward(self, *ids: Tensor) -> Tensor:
        return self.read(self.body(self.table, *ids))


def ids() -> Tensor:
    return torch.tensor([[1, 4, 4], [0, 10, 2]])


def plain(table: nn.Module, *ids: Tensor) -> Tensor:
    found: Tensor = table(*ids)
    return found


TABLES: dict[str, tuple[nn.Module, Callable[..., Tensor], tuple[Tensor, ...]]] = {
    "module": (nn.Embedding(11, 8), plain, (ids(),)),
    "padding": (nn.Embedding(11, 8, padding_idx=4), plain, (ids(),)),
    "padding from the end": (nn.Embedding(11, 8, padding_idx=-1), plain, (ids(),)),
    "one index": (nn.Embedding(11, 8), plain, (torch.tensor(3),)),
    "sparse and scaled gradients": (nn.Embedding(11, 8, scale_grad_by_freq=True, sparse=True), plain, (ids(),)),
    "function": (nn.Embedding(11, 8), lambda t, i: F.embedding(i, t.weight, padding_idx=2), (ids(),)),
    "limited norm": (nn.Embedding(11, 8, max_norm=1.0), plain, (ids(),)),
    "limited largest entry": (nn.Embedding(11, 8, max_norm=0.5, norm_type=float("inf")), plain, (ids(),)),
    "summed": (nn.Embedding(11, 8), lambda t, i: t(i).sum(1), (ids(),)),
    "bags of one length": (nn.EmbeddingBag(11, 8), plain, (ids(),)),
    "bags, summed": (nn.EmbeddingBag(11, 8, mode="sum", padding_idx=4), plain, (ids(),)),
    "bags, largest": (nn.EmbeddingBag(11, 8, mode="max"), plain, (ids(),)),
    "bags with an empty one": (nn.EmbeddingBag(11, 8), plain, (ids().flatten(), torch.tensor([0, 2, 2]))),
    "bags with a last offset": (
        nn.EmbeddingBag(11, 8, mode="sum", include_last_offset=True),
        plain,
        (ids().flatten(), torch.tensor([0, 2, 6])),
    ),
    "bags, weighted": (
        nn.EmbeddingBag(11, 8, mode="sum"),
        lambda t, i: t(i, per_sample_weights=torch.tensor([[0.5, 1, 2], [3, 1, -1]], dtype=t.weight.dtype)),
        (ids(),),
    ),
    "bags by function": (nn.EmbeddingBag(11, 8), lambda t, i: F.embedding_bag(i, t.weight, mode="sum"), (ids(),)),
}


@pytest.mark.parametrize("name", TABLES)
def test_the_width_leaves(law: Any, name: str) -> None:
    table, body, inputs = TABLES[name]
    thinned = law(Table(table, body), inputs, {"table.weight": (11, 4), "read.weight": (4, 4)}, seeds=2)
    assert (thinned.table.num_embeddings, thinned.table.embedding_dim) == (11, 4)


def test_the_rows_stay(law: Any) -> None:
    for table in (nn.Embedding(11, 8), nn.EmbeddingBag(11, 8)):
        kind = "embedding_bag" if isinstance(table, nn.EmbeddingBag) else "embedding"
        law.refuses(Table(table, plain), (ids(),), "table.weight", f"{LOOKED_UP}, in {kind} at table")


def test_a_norm_of_order_zero_is_refused(law: Any) -> None:
    model = Table(nn.Embedding(11, 8), lambda t, i: F.embedding(i, t.weight.clone(), max_norm=4.0, norm_type=0.0))
    law.refuses(model, (ids(),), "table.weight", "rows are limited to a norm of order 0.0", axis=1)


def test_weights_of_samples_that_could_leave_are_fixed(law: Any) -> None:
    class Weighted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.samples = nn.EmbeddingBag(11, 8, mode="sum"), nn.Parameter(torch.empty(2, 3))
            self.read = nn.Linear(8, 4)

        def forward(self, ids: Tensor) -> Tensor:
            return self.read(self.table(ids, per_sample_weights=self.samples))

    law(Weighted(), ids(), {"table.weight": (11, 4), "samples": (2, 3)})
    law.refuses(Weighted(), ids(), "samples", "rows are gathered in bags along it")


class Language(nn.Module):
    """A small language model whose decoder is its table of words."""

    def __init__(self, tied: bool = True) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(11, 8), nn.Embedding(5, 8)
        self.up, self.down = nn.Linear(8, 6), nn.Linear(6, 8)
        self.decoder = nn.Linear(8, 11)
        if tied:
            self.decoder.weight = self.words.weight

    def forward(self, ids: Tensor) -> Tensor:
        x = self.words(ids) + self.places(torch.arange(ids.shape[1]))
        return self.decoder(x + self.down(self.up(x).relu()))


def test_tied_tables_are_cut_once(law: Any) -> None:
    model = Language()
    shapes = {"words.weight": (11, 4), "places.weight": (5, 4), "up.weight": (3, 4), "down.weight": (4, 3)}
    thinned = law(model, ids(), shapes)
    assert thinned.decoder.weight is thinned.words.weight
    assert (thinned.words.embedding_dim, thinned.decoder.in_features, thinned.decoder.out_features) == (4, 4, 11)
    law(Language(tied=False), ids(), {**shapes, "decoder.weight": (11, 4)})
    law.refuses(model, ids(), "words.weight", LOOKED_UP, "it is an output of the model")


def test_a_table_multiplied_as_it_is(law: Any) -> None:
    """Logits by x @ words.weight.t(), and a table of queries that is never looked up."""

    class Queries(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.queries, self.mix = nn.Embedding(11, 8), nn.Embedding(6, 8), nn.Linear(6, 3)

        def forward(self, ids: Tensor) -> Tensor:
            scores = self.words(ids) @ self.queries.weight.t()  # (batch, tokens, queries)
            return torch.cat([self.mix(scores), (scores @ self.queries.weight) @ self.words.weight.t()], -1)

    thinned = law(Queries(), ids(), {"words.weight": (11, 4), "queries.weight": (3, 4), "mix.weight": (3, 3)})
    assert (thinned.queries.num_embeddings, thinned.queries.embedding_dim) == (3, 4)


# -- bilinear forms ------------------------------------------------------------------------------------------------


class Form(nn.Module):
    """Two layers that a bilinear form reads, and a layer that reads the form."""

    def __init__(self, bias: bool = True, bend: Callable[[Tensor], Tensor] = torch.tanh) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(5, 8), nn.Linear(5, 6)
        self.form, self.read = nn.Bilinear(8, 6, 10, bias=bias), nn.Linear(10, 4)
        self.bend = bend

    def forward(self, x: Tensor) -> Tensor:
        return self.read(self.form(self.bend(self.a(x)), self.bend(self.b(x))).relu())


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(3, 5), (2, 3, 5), (5,)], ids=str)
@pytest.mark.parametrize("bend", [torch.tanh, torch.sigmoid])
def test_a_bilinear_form(law: Any, bias: bool, shape: tuple[int, ...], bend: Callable[[Tensor], Tensor]) -> None:
    """It is exact whatever it reads: its weight is zero on what leaves."""
    model, x = Form(bias, bend), law.normal(*shape)
    thinned = law(model, x, {"a.weight": (4, 5), "b.weight": (3, 5), "form.weight": (5, 4, 3), "read.weight": (4, 5)})
    form = thinned.form
    assert (form.in1_features, form.in2_features, form.out_features) == (4, 3, 5)
    readers = {key: dim.readers for dim in law.plan(model, x).dims for key in dim.slices}
    assert readers["a.weight", 0] == {("form.weight", 1)}
    assert readers["b.weight", 0] == {("form.weight", 2)}
    assert readers["form.weight", 0] == {("read.weight", 1)}


def test_a_bilinear_form_of_one_input(law: Any) -> None:
    class Quadratic(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.form = nn.Linear(5, 8), nn.Bilinear(8, 8, 3)

        def forward(self, x: Tensor) -> Tensor:
            y = self.a(x)
            return self.form(y, y)

    law(Quadratic(), law.normal(3, 5), {"a.weight": (4, 5), "form.weight": (3, 4, 4)})
    law.refuses(Quadratic(), law.normal(3, 5), "form.weight", "it is an output of the model")
