"""A builder runs the model again with every operation in someone else's hands, under the names of the graph."""

from __future__ import annotations

import torch
from torch import nn

import secateur
from secateur.plugins import current


class TwoPaths(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.norm = nn.Linear(4, 6), nn.Linear(4, 6), nn.BatchNorm1d(6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (torch.relu(self.a(x)) + torch.relu(self.b(x)) + 1).sum(1)


def test_operations_bear_the_names_of_the_graph_and_can_be_replaced() -> None:
    model = TwoPaths().eval()
    x = torch.randn(3, 4)
    graph = secateur.trace(model, (x,))
    run = current().builders["trace"].run
    assert run is not None
    seen = []

    def watch(name, kind, function, args, kwargs):
        seen.append(name)
        return function(*args, **kwargs)

    with torch.no_grad():
        assert torch.equal(run(model, (x,), watch), model(x))
        assert [name for name in seen if name in graph.ops] == list(graph.ops)

        def without_relu(name, kind, function, args, kwargs):
            return args[0] if kind == "relu" else function(*args, **kwargs)

        assert torch.allclose(run(model, (x,), without_relu), (model.a(x) + model.b(x) + 1).sum(1))
