"""A few small networks on which laws are tried that need any network at all."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from secateur.testing.values import randomised


class Residual(nn.Module):
    """Convolutions, batch norm, a residual and a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.left, self.right = nn.Conv2d(8, 12, 3, padding=1), nn.Conv2d(12, 8, 1, bias=False)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (batch, 3, height, width) to (batch, 4)."""
        x = F.relu(self.norm(self.stem(x)))
        x = x + self.right(F.relu(self.left(x)))
        made: Tensor = self.head(x.mean((2, 3)))
        return made


class Branches(nn.Module):
    """Grouped convolutions, a concatenation, a gate, a shared layer, two inputs and two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 1), nn.Conv2d(2, 4, 1)
        self.grouped, self.shared = nn.Conv2d(12, 12, 3, padding=1, groups=4), nn.Conv2d(12, 12, 1)
        self.head = nn.Conv2d(6, 2, 1)

    def forward(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        """Shapes (batch, 3, height, width) and (batch, 2, height, width) to (batch, 2, height, width), twice."""
        z = self.shared(torch.tanh(self.shared(self.grouped(torch.cat([self.a(x), self.b(y)], 1)))))
        left, right = z.chunk(2, 1)
        return {"left": self.head(left), "gated": self.head(F.glu(torch.cat([left, right], 1), 1))}


class Tokens(nn.Module):
    """Sequences: a linear layer in and out, positions, a view whose size is an attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = 3
        self.up, self.down = nn.Linear(5, 12), nn.Linear(12, 3)
        self.positions = nn.Parameter(torch.zeros(1, 4, 12))

    def forward(self, x: Tensor) -> Tensor:
        """Shape (batch, 4, 5) to (batch, 4, 3)."""
        batch, length, _ = x.shape
        h = F.gelu(self.up(x)) + self.positions
        h = h.view(batch, length, self.parts, -1).transpose(2, 3).flatten(2)
        made: Tensor = self.down(h)
        return made


def examples() -> list[tuple[nn.Module, tuple[Any, ...]]]:
    """New models in float64 and eval mode, each with example inputs."""
    shapes: dict[nn.Module, list[tuple[int, ...]]] = {
        Residual(): [(2, 3, 5, 5)],
        Branches(): [(2, 3, 4, 4), (2, 2, 4, 4)],
        Tokens(): [(2, 4, 5)],
    }
    generator = torch.Generator().manual_seed(1)
    return [
        (
            randomised(model, seed),
            tuple(torch.randn(shape, generator=generator, dtype=torch.float64) for shape in given),
        )
        for seed, (model, given) in enumerate(shapes.items())
    ]
