"""Calls that the kit found to be followed wrongly once, and that must stay right."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import secateur
from secateur.testing import plan_is_exact, random_plan, randomised


class Calls(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor], read: int) -> None:
        super().__init__()
        self.write, self.function, self.read = nn.Linear(5, 8), function, nn.Linear(read, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.read(self.function(self.write(x)))


@pytest.mark.parametrize(
    ("function", "read", "reason"),
    [
        (lambda x: F.normalize(x, -1.0, dim=-1), 8, "a norm of an order that is not above zero is taken over it"),
        (lambda x: F.pixel_shuffle(x, 1), 8, "pixels are shuffled along it"),
        (lambda x: F.pixel_unshuffle(x, 2), 4, "pixels are shuffled along it"),
        (lambda x: torch.mode(x)[0].unsqueeze(1), 6, "mode is taken over it"),
        (lambda x: x.new_full((2, 6, 8), 0.5) + x.new_ones(()), 8, ""),
    ],
)
def test_refused(function: Callable[[Tensor], Tensor], read: int, reason: str) -> None:
    model = randomised(Calls(function, read))
    inputs = (torch.randn(2, 6, 5, dtype=torch.float64),)
    for seed in range(4):
        plan_is_exact(model, random_plan(model, inputs, seed), inputs, seed=seed)
    refusals = [str(r) for r in secateur.plan(model, inputs).refusals if (r.parameter, r.axis) == ("write.weight", 0)]
    assert all(reason in refusal for refusal in refusals)
    assert bool(refusals) == bool(reason)


def test_any_order_above_zero_is_followed() -> None:
    for order in (0.5, 1.0, 2.0, float("inf")):
        model = randomised(Calls(lambda x, order=order: F.normalize(x, order, dim=-1), 8))
        inputs = (torch.randn(2, 6, 5, dtype=torch.float64),)
        plan = secateur.plan(model, inputs)
        assert "write.weight" in plan.cuts
        plan_is_exact(model, plan, inputs)
