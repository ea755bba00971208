"""Zeros that are written into a tensor leave it zero where it was; other numbers do not."""

from __future__ import annotations

from typing import Any

import pytest
from torch import Tensor, nn
from torch.nn import functional as F


class Products(nn.Module):
    """Products of all pairs of rows, whose first half of channels has another bias; sums need zeros to be exact."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value
        self.a = nn.Linear(5, 8)

    def forward(self, x: Tensor) -> Tensor:
        bias = self.a.bias.clone()
        part = bias[: bias.numel() // 2]
        part.fill_(self.value) if self.value else part.zero_()
        y = F.linear(x, self.a.weight, bias)
        return y @ y.transpose(-2, -1)


def test_what_was_zero_still_is(law: Any) -> None:
    law(Products(0.0), law.normal(2, 3, 5), {"a.weight": (4, 5), "a.bias": (4,)}, seeds=8)


def test_other_numbers_are_not_zero(law: Any) -> None:
    law.refuses(Products(1.0), law.normal(2, 3, 5), "a.weight", "matmul")


@pytest.mark.parametrize("renormalise", [False, True])
def test_widths_of_cosine_attention_leave(law: Any, renormalise: bool) -> None:
    """As in version 2 of the Swin transformer: keys have no bias, queries and keys are divided by their norms."""

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.heads = 3
            self.qkv, self.out = nn.Linear(5, 3 * 12), nn.Linear(12, 4)

        def forward(self, x: Tensor) -> Tensor:
            bias = self.qkv.bias.clone()
            length = bias.numel() // 3
            bias[length : 2 * length].zero_()
            y = F.linear(x, self.qkv.weight, bias).unflatten(-1, (3, self.heads, -1))
            q, k, v = y.permute(2, 0, 3, 1, 4)
            weights = (F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-2, -1)).softmax(-1)
            return self.out((weights @ v).transpose(1, 2).flatten(2))

    model = law.randomised(Attention())
    inputs = (law.normal(2, 7, 5),)
    plan = law.plan(model, inputs, renormalise=renormalise)
    assert sorted(dim.size for dim in plan.dims) == [3, 4]
    thinned = law.exact(model, plan, inputs)
    assert (thinned.heads, thinned.qkv.out_features, thinned.out.in_features) == (2, 12, 4)
