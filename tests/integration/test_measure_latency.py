"""Latency: who is run when, what is made of the times, and that nothing of the model changes."""

from __future__ import annotations

import time

import pytest
import torch
from torch import nn

from secateur.errors import SecateurError
from secateur.measure import Latency, latency, latency_pair


class Sleeper(nn.Module):
    """Notes its runs, and takes a while."""

    def __init__(self, name: str, log: list[str], seconds: float = 0.0) -> None:
        super().__init__()
        self.name, self.note, self.seconds = name, log.append, seconds
        self.bn = nn.BatchNorm1d(3)
        self.drop = nn.Dropout(0.5)

    def forward(self, x: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        assert not self.training
        assert not torch.is_grad_enabled()
        self.note(self.name)
        time.sleep(self.seconds)
        return self.drop(self.bn(x)) * scale  # type: ignore[no-any-return]


X = torch.randn(4, 3)


def test_repeats_and_warmup_are_counted() -> None:
    log: list[str] = []
    found = latency(Sleeper("a", log, 0.002), (X,), repeats=5, warmup=2)
    assert log == ["a"] * 7
    assert 0.002 <= found.low <= found.median <= found.high < 1


def test_two_networks_are_run_in_turns() -> None:
    log: list[str] = []
    slow, fast = Sleeper("slow", log, 0.02), Sleeper("fast", log, 0.002)
    found = latency_pair(slow, fast, (X,), 5, warmup=1)
    assert log == ["slow", "fast"] * 6
    assert found.a.median > found.b.median
    assert found.ratio > 1.5


def test_nothing_of_the_model_changes() -> None:
    model = Sleeper("a", [])
    model.drop.eval()
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    latency(model, {"x": X, "scale": 2.0}, repeats=1, warmup=0)
    latency_pair(model, model, X, repeats=1)
    assert model.training
    assert not model.drop.training
    assert all(torch.equal(buffer, buffers[name]) for name, buffer in model.named_buffers())
    assert torch.equal(torch.rand(1), expected)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_inputs_follow_the_dtype_of_the_model() -> None:
    latency(nn.Linear(3, 3).double(), (X,), repeats=1, warmup=0)


def test_it_is_printed_in_milliseconds() -> None:
    assert str(Latency(0.0125, 0.012, 0.014)) == "12.50 ms (12.00 to 14.00)"


@pytest.mark.parametrize("arguments", [{"repeats": 0}, {"warmup": -1}])
def test_bad_counts(arguments: dict[str, int]) -> None:
    with pytest.raises(SecateurError, match="give at least one repeat"):
        latency(nn.Linear(3, 3), (X,), **arguments)
    with pytest.raises(SecateurError, match="give at least one repeat"):
        latency_pair(nn.Linear(3, 3), nn.Linear(3, 3), (X,), **arguments)
