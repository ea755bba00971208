"""Attention written with matrix products: heads and widths come out as dims of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import secateur

Forward = Callable[[Any, Tensor], Tensor]


def sizes(law: Any, model: nn.Module, x: Tensor) -> list[int]:
    """How many units each dim has, in order."""
    return sorted(dim.size for dim in law.plan(model, x).dims)


class Attention(nn.Module):
    """Four heads of six; the scale is a number that stays."""

    def __init__(self, forward: Forward, features: int = 10, heads: int = 4, width: int = 6) -> None:
        super().__init__()
        self.heads, self.width, self.values, self.scale = heads, width, width, width**-0.5
        self.q, self.k = nn.Linear(features, heads * width), nn.Linear(features, heads * width)
        self.v, self.out = nn.Linear(features, heads * width), nn.Linear(heads * width, features)
        self.body = forward

    def forward(self, x: Tensor) -> Tensor:
        return self.body(self, x)

    def projected(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, (batch, heads, tokens, width)."""
        b, n, _ = x.shape
        q, k = (y.view(b, n, self.heads, self.width).transpose(1, 2) for y in (self.q(x), self.k(x)))
        return q, k, self.v(x).view(b, n, self.heads, self.values).transpose(1, 2)


def viewed(m: Any, x: Tensor) -> Tensor:
    q, k, v = m.projected(x)
    weights = (q @ k.transpose(-2, -1) * m.scale).softmax(dim=-1)
    return m.out((weights @ v).transpose(1, 2).reshape(x.shape[0], x.shape[1], -1))


def permuted(m: Any, x: Tensor) -> Tensor:
    q, k, v = (y.reshape(*x.shape[:2], m.heads, -1).permute(0, 2, 1, 3) for y in (m.q(x), m.k(x), m.v(x)))
    weights = torch.softmax(torch.matmul(q * m.scale, k.permute(0, 1, 3, 2)), -1)
    return m.out(torch.matmul(weights, v).permute(0, 2, 1, 3).contiguous().flatten(2))


def folded(m: Any, x: Tensor) -> Tensor:
    """Heads are folded into the batch, as fairseq does."""
    b, n, _ = x.shape
    q, k, v = (y.view(b, n, m.heads, -1).transpose(1, 2).reshape(b * m.heads, n, -1) for y in (m.q(x), m.k(x), m.v(x)))
    weights = torch.bmm(q, k.transpose(1, 2)).mul(m.scale).softmax(-1)
    return m.out(torch.bmm(weights, v).view(b, m.heads, n, -1).transpose(1, 2).flatten(2))


def unflattened(m: Any, x: Tensor) -> Tensor:
    q, k = (y.unflatten(-1, (m.heads, m.width)) for y in (m.q(x), m.k(x)))
    v = m.v(x).unflatten(-1, (m.heads, m.values))
    weights = torch.einsum("bihd,bjhd->bhij", q * m.scale, k).softmax(-1)
    return m.out(torch.einsum("bhij,bjhd->bihd", weights, v).flatten(-2))


def width_first(m: Any, x: Tensor) -> Tensor:
    """The heads vary fastest, and keys are transposed by their permutation."""
    b, n, _ = x.shape
    q = m.q(x).view(b, n, m.width, m.heads).permute(0, 3, 1, 2)
    k = m.k(x).view(b, n, m.width, m.heads).permute(0, 3, 2, 1)
    v = m.v(x).view(b, n, m.values, m.heads).permute(0, 3, 1, 2)
    weights = (q @ k * m.scale).softmax(-1)
    return m.out((weights @ v).permute(0, 2, 3, 1).reshape(b, n, m.values * m.heads))


def biased(m: Any, x: Tensor) -> Tensor:
    """Scores are added to a causal mask, by baddbmm, as Bloom does."""
    b, n, _ = x.shape
    q, k, v = (y.flatten(0, 1) for y in m.projected(x))
    mask = torch.full((1, n, n), -1e4, dtype=x.dtype).triu(1)
    weights = torch.baddbmm(mask, q, k.mT, alpha=m.scale).softmax(-1)
    return m.out((weights @ v).view(b, m.heads, n, -1).transpose(1, 2).flatten(2))


SPLIT = {
    "view": viewed,
    "permute": permuted,
    "folded": folded,
    "unflatten and einsum": unflattened,
    "width first": width_first,
    "baddbmm": biased,
}


@pytest.mark.parametrize("name", SPLIT)
def test_heads_and_widths_leave_independently(law: Any, name: str) -> None:
    model, x = Attention(SPLIT[name]), law.normal(2, 5, 10)
    law(model, x, {"q.weight": (6, 10), "k.weight": (6, 10), "v.weight": (6, 10), "out.weight": (10, 6)}, seeds=8)
    assert sizes(law, model, x) == [4, 6, 6]
    thinned = law(model, x, seeds=0)
    assert thinned.heads == 2
    assert (thinned.width, thinned.values) == ((3, 3) if name not in ("permute", "folded") else (6, 6))


def test_one_attribute_for_all_widths(law: Any) -> None:
    """It is the width of queries and of values, which therefore stay of one width."""

    def shared(m: Any, x: Tensor) -> Tensor:
        b, n, _ = x.shape
        q, k, v = (y.view(b, n, m.heads, m.width).transpose(1, 2) for y in (m.q(x), m.k(x), m.v(x)))
        weights = (q @ k.mT * m.scale).softmax(-1)
        return m.out((weights @ v).transpose(1, 2).flatten(2))

    thinned = law(Attention(shared), law.normal(2, 5, 10), {"q.weight": (6, 10), "v.weight": (6, 10)})
    assert (thinned.heads, thinned.width) == (2, 3)


class Fused(nn.Module):
    """Queries, keys and values from one layer."""

    def __init__(self, forward: Forward, heads: int = 4, width: int = 6) -> None:
        super().__init__()
        self.heads, self.width, self.scale = heads, width, width**-0.5
        self.qkv, self.proj = nn.Linear(10, 3 * heads * width), nn.Linear(heads * width, 10)
        self.body = forward

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.body(self, self.qkv(x))
        weights = (q @ k.transpose(-2, -1) * self.scale).softmax(dim=-1)
        return self.proj((weights @ v).transpose(1, 2).flatten(2))


FUSED: dict[str, Callable[[Any, Tensor], Any]] = {
    "permute and unbind": lambda m, y: y.reshape(*y.shape[:2], 3, m.heads, -1).permute(2, 0, 3, 1, 4).unbind(0),
    "permute and index": lambda m, y: tuple(
        y.view(y.shape[0], y.shape[1], 3, m.heads, m.width).permute(2, 0, 3, 1, 4)[i] for i in range(3)
    ),
    "chunk": lambda m, y: tuple(p.unflatten(-1, (m.heads, m.width)).transpose(1, 2) for p in y.chunk(3, dim=-1)),
}


@pytest.mark.parametrize("name", FUSED)
def test_fused_queries_keys_and_values(law: Any, name: str) -> None:
    model, x = Fused(FUSED[name]), law.normal(2, 5, 10)
    law(model, x, {"qkv.weight": (18, 10), "proj.weight": (10, 6)})
    assert sizes(law, model, x) == [4, 6]


class OneKey(nn.Module):
    """Several query heads share one head of keys and values, which is stretched over them."""

    def __init__(self) -> None:
        super().__init__()
        self.heads, self.scale = 4, 0.4
        self.q, self.kv, self.out = nn.Linear(10, 24), nn.Linear(10, 12), nn.Linear(24, 10)

    def forward(self, x: Tensor) -> Tensor:
        q = self.q(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        k, v = self.kv(x)[:, None].chunk(2, dim=-1)
        weights = (q @ k.mT * self.scale).softmax(-1)
        return self.out((weights @ v).transpose(1, 2).flatten(2))


def test_one_head_of_keys_for_all_queries(law: Any) -> None:
    model = OneKey()
    law(model, law.normal(2, 5, 10), {"q.weight": (6, 10), "kv.weight": (6, 10), "out.weight": (10, 6)})


def test_a_scale_taken_from_the_shape_frees_the_width_on_request(law: Any) -> None:
    def scaled(m: Any, x: Tensor) -> Tensor:
        q, k, v = m.projected(x)
        weights = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)
        return m.out((weights @ v).transpose(1, 2).flatten(2))

    model, x = Attention(scaled), law.normal(2, 5, 10)
    law(model, x, {"q.weight": (12, 10), "out.weight": (10, 6)})
    assert [dim.exact for dim in law.plan(model, x).dims if dim.size == 6] == [True, False]
    report = secateur.thin(model, law.plan(model, x, renormalise=True))
    assert report.difference is not None
    assert report.difference.relative <= 1e-11
    assert model.q.weight.shape == (6, 10)


def test_linear_attention(law: Any) -> None:
    """Without a softmax over tokens the product of keys and values comes first."""

    def linear(m: Any, x: Tensor) -> Tensor:
        q, k, v = m.projected(x)
        return m.out((q @ (k.mT @ v)).transpose(1, 2).flatten(2))

    law(Attention(linear), law.normal(2, 5, 10), {"q.weight": (6, 10), "out.weight": (10, 6)})


def test_features_that_are_not_zero_stay(law: Any) -> None:
    """elu(x) + 1 is 1 where the width leaves: what both sides then add to the sum is not zero."""

    def kernel(m: Any, x: Tensor) -> Tensor:
        q, k, v = m.projected(x)
        q, k = nn.functional.elu(q) + 1, nn.functional.elu(k) + 1
        return m.out((q @ (k.mT @ v)).transpose(1, 2).flatten(2))

    model, x = Attention(kernel), law.normal(2, 5, 10)
    law(model, x, {"q.weight": (12, 10), "v.weight": (6, 10)})
    assert sizes(law, model, x) == [4, 6]  # heads, and the width of values
