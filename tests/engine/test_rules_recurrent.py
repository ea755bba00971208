"""Recurrent layers: unit k is row k of every gate, column k of what reads it, entry k of the state."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
KINDS: dict[str, Callable[..., nn.Module]] = {
    "lstm": nn.LSTM,
    "gru": nn.GRU,
    "tanh": nn.RNN,
    "relu": lambda *sizes, **options: nn.RNN(*sizes, nonlinearity="relu", **options),
    "projected": lambda *sizes, **options: nn.LSTM(*sizes, proj_size=4, **options),
}


class Language(nn.Module):
    """A word language model: a table, a recurrent layer, a decoder."""

    def __init__(self, layer: nn.Module, tied: bool = False) -> None:
        super().__init__()
        self.table, self.layer = nn.Embedding(11, layer.input_size), layer  # type: ignore[arg-type]
        width = (layer.proj_size or layer.hidden_size) * (2 if layer.bidirectional else 1)  # type: ignore[operator]
        self.decoder = nn.Linear(width, 11)  # type: ignore[arg-type]
        if tied:
            self.decoder.weight = self.table.weight

    def forward(self, tokens: Tensor) -> Tensor:
        made, _ = self.layer(self.table(tokens))
        return self.decoder(made)


class Around(nn.Module):
    """A layer with a linear layer before it and one after it; a function says how it is called."""

    def __init__(self, layer: nn.Module, call: Callable[..., Tensor], width: int, inputs: int = 6) -> None:
        super().__init__()
        self.write, self.layer, self.read, self.body = nn.Linear(5, inputs), layer, nn.Linear(width, 3), call

    def forward(self, x: Tensor) -> Tensor:
        return self.read(self.body(self.layer, self.write(x)))


def tokens() -> Tensor:
    return torch.tensor([[1, 4, 4, 9], [0, 10, 2, 2], [5, 6, 7, 8]])


GRID = list(product(KINDS, (1, 2, 3), (False, True), (False, True), (False, True)))


@pytest.mark.parametrize("kind", KINDS)
def test_units_leave(law: Any, kind: str) -> None:
    for _, layers, both, bias, first in (entry for entry in GRID if entry[0] == kind):
        layer = KINDS[kind](6, 8, num_layers=layers, bidirectional=both, bias=bias, batch_first=first)
        thinned = law(Language(layer), (tokens(),), seeds=2)
        thin, width = thinned.layer, 2 if kind == "projected" else 4
        assert (thin.input_size, thin.hidden_size) == (3, 4)
        assert thin.proj_size == (2 if kind == "projected" else 0)
        gates = GATES[type(thin).__name__]
        for name, parameter in thin.named_parameters():
            reads = 3 if "l0" in name else width * (1 + both)
            due = {"weight_ih": (4 * gates, reads), "weight_hh": (4 * gates, width), "weight_hr": (2, 4)}
            assert tuple(parameter.shape) == due.get(name[:9], (4 * gates,)), name
        assert thinned.decoder.in_features == width * (1 + both)
        assert all(a is b for a, b in zip(thin._flat_weights, thin.parameters(), strict=True))
        thin.flatten_parameters()
