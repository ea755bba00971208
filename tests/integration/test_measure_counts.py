"""Parameters, bytes and multiply-accumulates are those that the papers and other tools give."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import secateur
from secateur.errors import CaptureError
from secateur.measure import count_bytes, count_macs, count_parameters, macs
from secateur.plugins import current

PUBLISHED = {
    "resnet20_cifar": 40_813_184,
    "resnet56_cifar": 125_747_840,
    "resnet50": 4_089_184_256,
    "alexnet": 714_188_480,
}


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("batch", [1, 3])
def test_published_numbers(name: str, batch: int) -> None:
    entry = current().models[name]
    model = entry.build()
    assert macs(model, (torch.empty(batch, *entry.input_shape),)) == PUBLISHED[name]


def test_only_rules_that_count_are_counted() -> None:
    model = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.LayerNorm(4), nn.Linear(4, 2, bias=False))
    graph = secateur.trace(model, (torch.randn(5, 6),))
    assert count_macs(graph, current().op_rules) == 6 * 4 + 4 * 2
    assert count_macs(graph, {}) == 0


def test_an_auxiliary_classifier_of_training_is_left_out() -> None:
    class Auxiliary(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.main, self.aux = nn.Linear(4, 3), nn.Linear(4, 100)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return (self.main(x), self.aux(x)) if self.training else (self.main(x),)

    assert macs(Auxiliary(), (torch.randn(2, 4),)) == 12


def test_thinning_counts() -> None:
    model = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2, bias=False))
    x = (torch.randn(5, 6),)
    assert (count_parameters(model), count_bytes(model)) == (36, 144)
    secateur.thin(model, secateur.plan(model, x))
    assert (count_parameters(model), count_bytes(model), macs(model, x)) == (18, 72, 16)


def test_tied_tensors_count_once_and_buffers_only_as_bytes() -> None:
    model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False), nn.BatchNorm1d(3))
    model[1].weight = model[0].weight
    model.register_buffer("scratch", torch.zeros(100), persistent=False)
    assert count_parameters(model) == 9 + 6
    assert count_bytes(model) == 4 * (9 + 6 + 6) + 8


def test_a_model_that_does_not_run() -> None:
    with pytest.raises(CaptureError):
        macs(nn.Linear(3, 3), (torch.randn(2, 4),))
