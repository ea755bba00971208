"""Axes of parameters take the label of what they meet: few atoms, and the dims that atoms of their own would give."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from secateur.thinning.planner import couple


def dense(layers: int) -> nn.Module:
    """Layers that each read the concatenation of all before them."""

    class Dense(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            widths = [8 * (number + 1) for number in range(layers)]
            self.first = nn.Conv2d(3, 8, 1)
            self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in widths)
            self.convs = nn.ModuleList(nn.Conv2d(width, 8, 3, padding=1) for width in widths)
            self.last = nn.Linear(8 * (layers + 1), 3)

        def forward(self, x: Tensor) -> Tensor:
            made = [self.first(x)]
            for norm, conv in zip(self.norms, self.convs, strict=True):
                made.append(conv(norm(torch.cat(made, 1)).relu()))
            out: Tensor = self.last(torch.cat(made, 1).mean((2, 3)))
            return out

    return Dense()


@pytest.mark.parametrize("layers", [2, 6])
def test_there_are_as_many_atoms_as_channels_that_something_writes(law: Any, layers: int) -> None:
    model = dense(layers)
    x = law.normal(2, 3, 4, 4)
    law(model, (x,))
    facts = couple(model, (x,)).labelling.facts
    written = 8 * (layers + 1)
    assert facts.count <= 1 + written + 3 + 3  # and the three that it reads, and the three outputs
    assert not facts.ties


def test_what_meets_the_channels_shares_their_label_and_only_the_next_layer_reads_them(law: Any) -> None:
    model = dense(1)
    coupling = couple(law.randomised(model), (law.normal(2, 3, 4, 4),))
    labels = coupling.labelling.labels
    assert labels["norms.0.weight"][0].atoms is labels["convs.0.weight"][1].atoms
    first = next(dim for dim in coupling.dims if dim.name == "first")
    assert first.readers == {("convs.0.weight", 1), ("last.weight", 1)}
    assert first.slices["norms.0.running_mean", 0] is first.slices["norms.0.bias", 0]


class Twice(nn.Module):
    """A parameter that two unlike operations read: it has atoms of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(5, 6), nn.Linear(5, 6), nn.Linear(6, 2)
        self.gain = nn.Parameter(torch.rand(6))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.c(self.a(x) * self.gain) + self.c(self.b(x) + self.gain)
        return out


def test_a_parameter_of_two_operations_ties_what_both_write(law: Any) -> None:
    model = Twice()
    law(model, (law.normal(4, 5),))
    coupling = couple(model, (law.normal(4, 5),))
    assert [dim.name for dim in coupling.dims] == ["a"]
    assert {("a.weight", 0), ("b.weight", 0), ("gain", 0), ("c.weight", 1)} <= set(coupling.dims[0].slices)
    assert coupling.dims[0].readers == {("c.weight", 1)}


class Transposed(nn.Module):
    """Weights that are written with and read with: an encoder, and the decoder with its transpose."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Linear(5, 7)
        self.norm = nn.BatchNorm1d(7)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.norm(self.encode(x)).relu()
        out: Tensor = hidden @ self.encode.weight
        return out


def test_weights_that_write_and_read_leave_by_both(law: Any) -> None:
    model = Transposed()
    law(model, (law.normal(4, 5),))
    (dim,) = couple(model, (law.normal(4, 5),)).dims
    assert len(dim) == 7
    assert dim.slices["norm.weight", 0].tolist() == dim.slices["encode.weight", 0].tolist()
    assert ("norm.weight", 0) not in dim.readers
