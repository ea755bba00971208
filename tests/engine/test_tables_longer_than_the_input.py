"""Tables of which an input reads only as much as it is long: what the example does not reach stays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import secateur

Read = Callable[[Tensor, int], Tensor]

READS: dict[str, Read] = {
    "slice": lambda table, n: table[:n],
    "narrow": lambda table, n: table.narrow(0, 0, n),
    "from the end": lambda table, n: table[table.shape[0] - n :],
    "an offset": lambda table, n: table[1 : n + 1],
    "beyond": lambda table, n: table[: n + 3][:n],
    "arange": lambda table, n: table[torch.arange(n)],
}


class Positions(nn.Module):
    def __init__(self, read: Read, buffer: bool) -> None:
        super().__init__()
        self.a, self.b, self.read = nn.Linear(4, 16), nn.Linear(16, 2), read
        table = torch.randn(8, 16, dtype=torch.float64)
        if buffer:
            self.register_buffer("table", table)
        else:
            self.table = nn.Parameter(table)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.relu(self.a(x) + self.read(self.table, x.shape[1])))


@pytest.mark.parametrize("buffer", [False, True], ids=["parameter", "buffer"])
@pytest.mark.parametrize("read", READS)
def test_rows_that_a_longer_input_reads_stay(law: Any, read: str, buffer: bool) -> None:
    model = law.randomised(Positions(READS[read], buffer))
    plan = secateur.plan(model, (law.normal(1, 5, 4),))
    assert 0 not in plan.cuts.get("table", {})
    assert len(plan.cuts["table"][1]) == 8
    masked = secateur.masked(model, plan)
    secateur.thin(model, plan)
    for length in (1, 5, 7):
        x = law.normal(2, length, 4)
        with torch.no_grad():
            assert law.relative([masked(x)], [model(x)]) <= 1e-11


def test_a_causal_mask_stays_causal(law: Any) -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 3)
            self.register_buffer("mask", torch.tril(torch.ones(9, 9, dtype=torch.float64)))

        def forward(self, x: Tensor) -> Tensor:
            n = x.shape[1]
            y = self.a(x)
            return self.b((y @ y.mT).masked_fill(self.mask[:n, :n] == 0, 0) @ y)

    plan = secateur.plan(law.randomised(Masked()), (law.normal(1, 5, 4),))
    assert "mask" not in plan.cuts
    assert plan.cuts
