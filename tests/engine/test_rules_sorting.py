"""Sorting, ranking and running sums: the axis they run along stays, all others are carried."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

Body = Callable[[Tensor], Tensor]


class Around(nn.Module):
    """linear, the body, linear; channels are the last axis of (2, 5, 8)."""

    def __init__(self, body: Body) -> None:
        super().__init__()
        self.a, self.b, self.body = nn.Linear(3, 8), nn.Linear(8, 4), body

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.body(self.a(x)))


def rows(law: Any) -> Tensor:
    return law.normal(2, 5, 3)


FREE: dict[str, Body] = {
    "cumsum": lambda x: x.cumsum(1),
    "cumsum of the last but one": lambda x: torch.cumsum(x, dim=-2),
    "cumprod": lambda x: x.cumprod(dim=1),
    "cummax": lambda x: x.cummax(1).values,
    "cummin": lambda x: sum(torch.cummin(x, 0)),
    "logcumsumexp": lambda x: x.logcumsumexp(1),
    "diff": lambda x: x.diff(dim=1),
    "twice diff": lambda x: torch.diff(x, n=2, dim=1),
    "sort": lambda x: x.sort(1).values,
    "sort down": lambda x: torch.sort(x, 1, True)[0],
    "stable sort": lambda x: torch.sort(x, stable=True, dim=1, descending=True).values,
    "places": lambda x: x.sort(1).indices + x,
    "argsort": lambda x: x.argsort(1, descending=True) * x,
    "argsort twice": lambda x: x.argsort(1).argsort(1).to(x.dtype),
    "msort": lambda x: x.msort(),
    "topk": lambda x: x.topk(3, 1).values,
    "smallest": lambda x: torch.topk(x, k=2, dim=1, largest=False)[0],
    "topk places": lambda x: x.gather(1, x.topk(2, 1).indices),
    "kthvalue": lambda x: x.kthvalue(2, 1, keepdim=True).values.expand_as(x) * x,
    "kthvalue without its axis": lambda x: x.kthvalue(2, 1)[0],
    "median": lambda x: x.median(1, keepdim=True).values + x,
    "mode": lambda x: x.round().mode(1).values,
    "quantile": lambda x: x.quantile(0.3, dim=1, keepdim=True) * x,
    "quantiles": lambda x: torch.quantile(x, torch.tensor([0.2, 0.5], dtype=x.dtype), dim=1)[1],
    "nanquantile": lambda x: x.nanquantile(0.5, 1),
    "searchsorted in one row": lambda x: torch.searchsorted(torch.tensor([-1.0, 0.0, 1.0], dtype=x.dtype), x) * x,
    "searchsorted in its own rows": lambda x: (
        torch.searchsorted(x.mT.sort(-1).values.contiguous(), x.mT.contiguous()).transpose(1, 2) + x
    ),
    "bucketize": lambda x: torch.bucketize(x, torch.tensor([-1.0, 0.0, 1.0], dtype=x.dtype), right=True) + x,
}


@pytest.mark.parametrize("name", FREE)
def test_channels_are_carried(law: Any, name: str) -> None:
    law(Around(FREE[name]), rows(law), {"a.weight": (4, 3), "b.weight": (4, 4)}, seeds=3)


@pytest.mark.parametrize("name", FREE)
def test_sums_over_channels_are_exact_or_refused(law: Any, name: str) -> None:
    """A sum reads no weights, so it shows whether pruned slices are zero where the rule says so."""

    class Sums(Around):
        def forward(self, x: Tensor) -> Tensor:
            return self.body(self.a(x)).sum(-1)

    law(Sums(FREE[name]), rows(law), seeds=2)


REFUSED: dict[str, tuple[Body, str]] = {
    "cumsum": (lambda x: x.cumsum(2), "cumsum is taken over it"),
    "cumprod": (lambda x: x.cumprod(-1), "cumprod is taken over it"),
    "cummax": (lambda x: x.cummax(-1)[0], "cummax is taken over it"),
    "logcumsumexp": (lambda x: x.logcumsumexp(-1), "logcumsumexp is taken over it"),
    "diff": (lambda x: x + x.diff().sum(-1, True), "diff is taken over it"),
    "diff with more": (lambda x: x.diff(dim=1, prepend=x[:, :1]), "further entries are put before or after it"),
    "sort": (lambda x: x.sort().values, "sort is taken over it"),
    "argsort": (lambda x: x.argsort().to(x.dtype), "argsort is taken over it"),
    "msort": (lambda x: x.permute(2, 0, 1).msort().permute(1, 2, 0), "msort is taken over it"),
    "topk": (lambda x: x.topk(8).values, "topk is taken over it"),
    "kthvalue": (lambda x: x + x.kthvalue(1, keepdim=True).values, "kthvalue is taken over it"),
    "median of all": (lambda x: x - x.median(), "median is taken over it"),
    "quantile of all": (lambda x: x - x.quantile(0.5), "quantile is taken over it"),
    "quantile": (lambda x: x - x.quantile(0.5, -1, keepdim=True), "quantile is taken over it"),
    "searchsorted": (lambda x: torch.searchsorted(x.sort(1).values, x) + x, "searchsorted is taken over it"),
    "searchsorted with an order": (
        lambda x: torch.searchsorted(x.mT.contiguous(), x.mT.contiguous(), sorter=x.mT.argsort(-1).contiguous()).mT + x,
        "the order of its rows is given by a tensor",
    ),
    "bucketize": (lambda x: torch.bucketize(x, x[0, 0].sort().values) + x, "sort is taken over it"),
    "unique": (lambda x: x + torch.unique(x).sum(), "how many entries are distinct depends on values"),
    "unique_consecutive": (lambda x: x + x.unique_consecutive()[0], "how many entries are distinct depends on values"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_sorted_stays(law: Any, name: str) -> None:
    body, reason = REFUSED[name]
    law.refuses(Around(body), rows(law), "a.weight", reason, f"test_rules_sorting.py:{body.__code__.co_firstlineno}")


def test_a_mixture_chooses_experts_by_topk(law: Any) -> None:
    class Mixture(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.gate, self.out = nn.Linear(3, 8), nn.Linear(8, 4), nn.Linear(8, 5)
            self.experts, self.top_k = nn.ModuleList(nn.Linear(8, 8) for _ in range(4)), 2

        def forward(self, x: Tensor) -> Tensor:
            y = self.stem(x)
            weights, chosen = self.gate(y).softmax(-1).topk(self.top_k, dim=-1)
            all_of_them = torch.stack([expert(y) for expert in self.experts], dim=2)
            picked = all_of_them.gather(2, chosen[..., None].expand(-1, -1, -1, all_of_them.shape[-1]))
            return self.out((picked * weights[..., None]).sum(2))

    thinned = law(Mixture(), rows(law), seeds=8)
    assert thinned.stem.weight.shape == (4, 3)
    assert thinned.gate.weight.shape == (4, 4)
    assert thinned.top_k == 2
