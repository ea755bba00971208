"""Attention in one call: heads, widths, groups and masks; the transformer layers of the library, fused or not."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import secateur
from secateur.thinning.verify import outputs

Forward = Callable[..., Any]
attend = F.scaled_dot_product_attention


class Attention(nn.Module):
    """Heads of six, by default four of them; `groups` of keys and values."""

    def __init__(self, body: Forward, heads: int = 4, groups: int = 4, values: int = 6, **held: Any) -> None:
        super().__init__()
        self.heads, self.groups, self.body = heads, groups, body
        self.q, self.k = nn.Linear(10, heads * 6), nn.Linear(10, groups * 6)
        self.v, self.o = nn.Linear(10, groups * values), nn.Linear(heads * values, 3)
        for name, value in held.items():
            setattr(self, name, value)

    def parts(self, x: Tensor) -> list[Tensor]:
        layers = ((self.q, self.heads), (self.k, self.groups), (self.v, self.groups))
        return [layer(x).unflatten(-1, (count, -1)).transpose(1, 2) for layer, count in layers]

    def forward(self, *inputs: Tensor) -> Tensor:
        made = self.body(self, *inputs)
        return self.o(made.transpose(1, 2).flatten(2)) if made.dim() == 4 else made


def sizes(plan: secateur.Plan) -> list[int]:
    return sorted(dim.size for dim in plan.dims)


def stays(law: Any, model: nn.Module, x: Tensor, parameter: str = "q.weight") -> str:
    """Why some of the rows of a parameter stay unless asked for."""
    plan = law.plan(model, x)
    (found,) = (str(r) for r in plan.refusals if (r.parameter, r.axis) == (parameter, 0))
    assert "renormalise=True prunes it all the same" in found
    return found


def causal(length: int = 5) -> Tensor:
    return torch.ones(length, length, dtype=torch.bool).tril()


SCALE = {"scale": 0.3}
FORMS: dict[str, tuple[Forward, dict[str, Any]]] = {
    "causal": (lambda m, x: attend(*m.parts(x), is_causal=True, **SCALE), {}),
    "boolean mask": (lambda m, x: attend(*m.parts(x), attn_mask=causal(), **SCALE), {}),
    "number mask for all heads": (
        lambda m, x: attend(*m.parts(x), attn_mask=m.mask, **SCALE),
        {"mask": nn.Parameter(torch.empty(1, 5, 5))},
    ),
    "number mask for every head": (
        lambda m, x: attend(*m.parts(x), attn_mask=m.mask, **SCALE),
        {"mask": nn.Parameter(torch.empty(4, 5, 5))},
    ),
    "a table of positions for every head": (
        lambda m, x: attend(*m.parts(x), attn_mask=m.table(m.places).permute(2, 0, 1), **SCALE),
        {"table": nn.Embedding(9, 4), "places": torch.arange(5)[:, None] - torch.arange(5) + 4},
    ),
    "values of another width": (lambda m, x: attend(*m.parts(x), **SCALE), {"values": 8}),
    "one of the batch stretched": (lambda m, x: attend(m.parts(x[:1])[0], *m.parts(x)[1:], **SCALE), {}),
}


@pytest.mark.parametrize("name", FORMS)
def test_heads_and_widths_are_dims_of_their_own(law: Any, name: str) -> None:
    body, held = FORMS[name]
    model, x = Attention(body, **held), law.normal(2, 5, 10)
    values = held.get("values", 6)
    thinned = law(model, x, {"q.weight": (6, 10), "k.weight": (6, 10), "v.weight": (values, 10)}, seeds=3)
    assert sizes(law.plan(model, x)) == sorted([4, 6, values])
    assert (thinned.heads, thinned.groups) == (2, 2)
    if name.endswith("every head"):
        assert (thinned.mask.shape if "mask" in held else thinned.table.weight.shape)[-3 if "mask" in held else 1] == 2


def test_a_scale_of_its_own_keeps_the_width_unless_asked(law: Any) -> None:
    model, x = Attention(lambda m, x: attend(*m.parts(x))), law.normal(2, 5, 10)
    law(model, x, {"q.weight": (12, 10), "v.weight": (6, 10)}, seeds=3)
    assert "the attention scale is derived from its length, in scaled_dot_product_attention at " in stays(law, model, x)


def test_without_an_axis_of_heads(law: Any) -> None:
    model, x = Attention(lambda m, x: m.r(attend(m.q(x), m.k(x), m.v(x), **SCALE)), r=nn.Linear(24, 3)), (2, 5, 10)
    for shape in (x, x[1:]):
        law(copy.deepcopy(model), law.normal(*shape), {"q.weight": (12, 10), "v.weight": (12, 10)}, seeds=2)


def other(m: Any, x: Tensor, count: int) -> Tensor:
    return m.w(x).unflatten(-1, (count, -1)).transpose(1, 2)


GROUPED: dict[str, tuple[Forward, dict[str, Any], dict[str, tuple[int, ...]]]] = {
    "three groups of two": (
        lambda m, x: attend(*m.parts(x), enable_gqa=True, **SCALE),
        {"groups": 3},
        {"q.weight": (6, 10), "k.weight": (6, 10), "v.weight": (6, 10)},
    ),
    "one group": (
        lambda m, x: attend(*m.parts(x), enable_gqa=True, **SCALE),
        {"groups": 1},
        {"q.weight": (9, 10), "k.weight": (3, 10)},
    ),
    "one group that is stretched": (
        lambda m, x: attend(*m.parts(x), **SCALE),
        {"groups": 1},
        {"q.weight": (9, 10), "k.weight": (3, 10)},
    ),
    "groups that are repeated": (
        lambda m, x: attend(
            *(y if i == 0 else y.repeat_interleave(m.heads // m.groups, 1) for i, y in enumerate(m.parts(x))), **SCALE
        ),
        {"groups": 3},
        {"q.weight": (12, 10), "k.weight": (6, 10)},
    ),
    "a mask for every head": (
        lambda m, x: attend(*m.parts(x), attn_mask=m.mask, enable_gqa=True, **SCALE),
        {"groups": 3, "mask": nn.Parameter(torch.empty(6, 5, 5))},
        {"q.weight": (6, 10), "mask": (2, 5, 5)},
    ),
    "one head of values": (
        lambda m, x: attend(*m.parts(x)[:2], other(m, x, 1), enable_gqa=True, **SCALE),
        {"groups": 3, "w": nn.Linear(10, 6)},
        {"q.weight": (6, 10), "k.weight": (6, 10), "w.weight": (3, 10)},
    ),
    "values for every head": (
        lambda m, x: attend(*m.parts(x)[:2], other(m, x, 6), enable_gqa=True, **SCALE),
        {"groups": 3, "w": nn.Linear(10, 36)},
        {"k.weight": (9, 10), "w.weight": (18, 10)},
    ),
    "values in two groups": (
        lambda m, x: attend(*m.parts(x)[:2], other(m, x, 2), enable_gqa=True, **SCALE),
        {"groups": 3, "w": nn.Linear(10, 12)},
        {"q.weight": (18, 10), "k.weight": (9, 10), "w.weight": (6, 10)},
    ),
}


@pytest.mark.parametrize("name", GROUPED)
def test_grouped_queries(law: Any, name: str) -> None:
    body, held, shapes = GROUPED[name]
    law(Attention(body, heads=6, **held), law.normal(2, 5, 10), shapes, seeds=4)


SHARED: dict[str, tuple[Forward, dict[str, Any]]] = {
    "values of one head": (lambda m, x: attend(*m.parts(x)[:2], m.w(x)[:, None], **SCALE), {"w": nn.Linear(10, 6)}),
    "a mean of values": (
        lambda m, x: attend(*m.parts(x)[:2], m.w(x).unflatten(-1, (4, -1)).mean(2)[:, None], **SCALE),
        {"w": nn.Linear(10, 24)},
    ),
    "grouped values": (lambda m, x: attend(*m.parts(x), enable_gqa=True, **SCALE), {"groups": 2}),
}


@pytest.mark.parametrize("name", SHARED)
def test_heads_that_share_values_are_not_zero_where_they_leave(law: Any, name: str) -> None:
    """A head without queries attends to all alike: what it gives is not zero, and a sum over heads takes it in."""
    body, held = SHARED[name]
    model = Attention(lambda m, x: m.r(body(m, x).sum(1)), r=nn.Linear(6, 3), **held)
    x = law.normal(2, 5, 10)
    law(model, x, {"q.weight": (12, 10)}, seeds=3)
    assert "sum is taken over it, in sum at " in stays(law, model, x)
    report = secateur.thin(model, law.plan(model, x, renormalise=True))
    assert report.difference.relative < 1e-11
    assert len(model.q.weight) < 12


@pytest.mark.parametrize("both", [False, True])
def test_a_width_that_is_zero_on_neither_side_stays(law: Any, both: bool) -> None:
    def body(m: Any, x: Tensor) -> Tensor:
        q, k, v = m.parts(x)
        return attend(q.sigmoid(), k.sigmoid() if both else k, v, **SCALE)

    model, x = Attention(body), law.normal(2, 5, 10)
    law(model, x, {"q.weight": (12 if both else 6, 10), "v.weight": (6, 10)}, seeds=3)
    assert sizes(law.plan(model, x)) == ([4, 6] if both else [4, 6, 6])


class Within(nn.Module):
    """A module of the library between two layers, of twelve features."""

    def __init__(self, body: nn.Module, call: Forward | None = None, output: int = 12) -> None:
        super().__init__()
        self.i, self.k, self.v = nn.Linear(10, 12), nn.Linear(10, 8), nn.Linear(10, 6)
        self.body, self.o, self.call = body, nn.Linear(output, 3), call

    def forward(self, *inputs: Tensor) -> Any:
        if self.call is not None:
            return self.call(self, *inputs)
        return self.o(self.body(*map(self.i, inputs)))


def of_itself(**options: Any) -> Forward:
    def call(m: Any, x: Tensor) -> Tensor:
        y = m.i(x)
        return m.o(m.body(y, y, y, **options)[0])

    return call


def of_others(m: Any, x: Tensor) -> Tensor:
    return m.o(m.body(m.i(x), m.k(x), m.v(x))[0])


def widths(att: nn.MultiheadAttention) -> tuple[Any, ...]:
    return att.embed_dim, att.num_heads, att.head_dim, att.kdim, att.vdim


PADDING = torch.tensor([[0, 0, 0, 0, 1], [0, 0, 0, 1, 1]]).bool()
MULTIHEAD: dict[str, tuple[dict[str, Any], Forward]] = {
    "of itself": ({}, of_itself()),
    "without weights": ({}, of_itself(need_weights=False)),
    "without bias": ({"bias": False}, of_itself()),
    "time first": ({"batch_first": False}, of_itself()),
    "keys and values of other widths": ({"kdim": 8, "vdim": 6}, of_others),
    "added bias": ({"add_bias_kv": True}, of_itself()),
    "added zeros": ({"add_zero_attn": True}, of_itself()),
    "added to others": ({"kdim": 8, "vdim": 6, "add_bias_kv": True, "add_zero_attn": True}, of_others),
    "padding": ({}, of_itself(key_padding_mask=PADDING)),
    "causal": ({}, of_itself(attn_mask=~causal(), is_causal=True, need_weights=False)),
}


@pytest.mark.parametrize("name", MULTIHEAD)
def test_multihead_attention(law: Any, name: str) -> None:
    """Heads leave as they are, widths on request, and the attributes follow both."""
    options, call = MULTIHEAD[name]
    model = Within(nn.MultiheadAttention(12, 4, **{"batch_first": True, **options}), call)
    x = law.normal(2, 5, 10)
    keys = {"k.weight": (4, 10), "v.weight": (3, 10)} if call is of_others else {}
    thinned = law(model, x, {"i.weight": (6, 10), "body.out_proj.weight": (6, 6), **keys}, seeds=3)
    kdim, vdim = (4, 3) if keys else (6, 6)
    assert widths(thinned.body) == (6, 2, 3, kdim, vdim)
    plan = secateur.plan(model, (x,), renormalise=True)
    assert all(dim.exact for dim in plan.dims)
    smaller = law.exact(model, plan, (x,))
    assert widths(smaller.body) == (4, 2, 2, *((4, 3) if keys else (4, 4)))


@pytest.mark.parametrize(("kdim", "vdim"), [(12, 6), (8, 12)])
def test_widths_that_happen_to_be_alike_are_told_apart(law: Any, kdim: int, vdim: int) -> None:
    model = Within(nn.MultiheadAttention(12, 4, batch_first=True, kdim=kdim, vdim=vdim), of_others)
    model.k, model.v = nn.Linear(10, kdim), nn.Linear(10, vdim)
    thinned = law(model, law.normal(2, 5, 10), seeds=2, prune={"i": 0.5})
    assert widths(thinned.body) == (6, 2, 3, kdim, vdim)


def test_without_a_batch(law: Any) -> None:
    law(Within(nn.MultiheadAttention(12, 4), of_itself()), law.normal(5, 10), {"i.weight": (6, 10)}, seeds=2)


OWN_MASKS = torch.linspace(-1, 1, 200).double().view(8, 5, 5)
TOLD_APART: dict[str, tuple[Forward, int]] = {
    "masks of their own": (of_itself(attn_mask=OWN_MASKS), 4),
    "their weights are returned": (
        lambda m, x: (lambda y: m.body(y, y, y, average_attn_weights=False)[1])(m.i(x)),
        4,
    ),
    "their weights are averaged": (lambda m, x: (lambda y: m.body(y, y, y)[1])(m.i(x)), 2),
}


@pytest.mark.parametrize("name", TOLD_APART)
def test_heads_that_something_tells_apart_stay(law: Any, name: str) -> None:
    call, heads = TOLD_APART[name]
    model = Within(nn.MultiheadAttention(12, 4, batch_first=True), call)
    x = law.normal(2, 5, 10)
    law(model, x, {"body.in_proj_weight": (36, 12)}, seeds=2)
    reason = stays(law, model, x, "body.in_proj_weight")
    assert ("the attention weights are averaged over it" in reason) == (heads == 2)
    report = secateur.thin(model, law.plan(model, x, renormalise=True))
    assert report.difference.relative < 1e-11
    assert widths(model.body)[:3] == (heads * 2, heads, 2)


def test_static_keys_are_not_followed(law: Any) -> None:
    def call(m: Any, x: Tensor) -> Tensor:
        y, b = m.i(x), m.body
        arguments = (y, y, y, 12, 4, b.in_proj_weight, b.in_proj_bias, None, None, False, 0.0)
        made, _ = F.multi_head_attention_forward(
            *arguments, b.out_proj.weight, b.out_proj.bias, static_k=y.new_zeros(8, 5, 3)
        )
        return m.o(made)

    model = Within(nn.MultiheadAttention(12, 4), call)
    law.refuses(model, law.normal(5, 2, 10), "i.weight", "attention with static keys or values is not followed")


def encoder(**options: Any) -> nn.Module:
    return nn.TransformerEncoderLayer(12, 4, 16, batch_first=True, **options)


def decoder(**options: Any) -> nn.Module:
    return nn.TransformerDecoderLayer(12, 4, 16, batch_first=True, **options)


def stack(first: bool) -> nn.Module:
    return nn.TransformerEncoder(encoder(norm_first=first), 2, nn.LayerNorm(12), enable_nested_tensor=False)


LAYERS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "encoder layer": (encoder, 1),
    "encoder layer, norm first": (lambda: encoder(norm_first=True, activation="gelu", bias=False), 1),
    "encoder": (lambda: stack(False), 1),
    "encoder, norm first": (lambda: stack(True), 1),
    "decoder layer": (decoder, 2),
    "decoder": (lambda: nn.TransformerDecoder(decoder(norm_first=True), 2), 2),
    "transformer": (lambda: nn.Transformer(12, 4, 1, 1, 16, batch_first=True), 2),
}


@pytest.fixture
def fused() -> Iterator[Callable[[bool], None]]:
    """Turns the fused path on and off, and on again."""
    yield torch.backends.mha.set_fastpath_enabled
    torch.backends.mha.set_fastpath_enabled(True)


@pytest.mark.parametrize("ratio", [0.5, 0.3])
@pytest.mark.parametrize("name", LAYERS)
def test_transformer_layers_fused_or_not(law: Any, fused: Callable[[bool], None], name: str, ratio: float) -> None:
    """At 0.3 three of the four heads are left: the fused path, which wants an even number, is not taken any more."""
    make, count = LAYERS[name]
    model, x = law.randomised(Within(make())), (law.normal(2, 5, 10), law.normal(2, 7, 10, seed=3))[:count]
    heads, width = (2, 2) if ratio == 0.5 else (3, 3)
    plain = secateur.plan(model, x, ratio)
    assert {dim.name.rpartition(".")[2] for dim in plan_dims(plain)} == {"linear1"}
    exact = law.exact(model, plain, x)
    plan = secateur.plan(model, x, ratio, renormalise=True)
    thinned = copy.deepcopy(model)
    report = secateur.thin(thinned, plan)
    assert report.difference.relative < 1e-11
    for module in thinned.modules():
        if isinstance(module, nn.MultiheadAttention):
            assert widths(module) == (heads * width, heads, width, heads * width, heads * width)
    for net in (exact, thinned):
        made = []
        for on in (True, False):
            fused(on)
            made.append(outputs(net, x))
        assert law.relative(*made) < 1e-12
    saved = secateur.Plan.from_dict(plan.to_dict())
    assert secateur.thin(model, saved, example_inputs=x).difference.relative < 1e-11


def plan_dims(plan: secateur.Plan) -> list[Any]:
    return [dim for dim in plan.dims if len(dim.leaving)]


def test_rotary_embeddings_in_complex_numbers(law: Any) -> None:
    """Su et al. 2021, RoFormer, as Llama's first code wrote it: pairs of entries are turned as complex numbers."""

    class Rotary(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.heads = 4
            self.q, self.k, self.v = nn.Linear(10, 24), nn.Linear(10, 24), nn.Linear(10, 24)
            self.out = nn.Linear(24, 5)
            self.register_buffer("turn", torch.randn(9, 3, 2))

        def turned(self, x: torch.Tensor) -> torch.Tensor:
            pairs = torch.view_as_complex(x.reshape(*x.shape[:-1], -1, 2))
            return torch.view_as_real(pairs * torch.view_as_complex(self.turn)[: x.shape[1], None]).flatten(3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            b, n, _ = x.shape
            q, k, v = (layer(x).view(b, n, self.heads, -1) for layer in (self.q, self.k, self.v))
            y = F.scaled_dot_product_attention(*(t.transpose(1, 2) for t in (self.turned(q), self.turned(k), v)))
            return self.out(y.transpose(1, 2).flatten(2))

    law(Rotary(), law.normal(2, 5, 10), {"q.weight": (12, 10), "v.weight": (6, 10), "out.weight": (5, 6)})
