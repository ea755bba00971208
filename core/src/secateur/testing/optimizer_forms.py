"""Every optimizer of `torch.optim` in its forms, and three networks to train with them: for tests and benchmarks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from attrs import frozen
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from secateur.testing.values import randomised


class ResidualNet(nn.Module):
    """Convolutions without biases, batch norm, residuals, and a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.a, self.a_norm = nn.Conv2d(8, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12)
        self.b, self.b_norm = nn.Conv2d(12, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (batch, 3, height, width) to (batch, 4)."""
        x = F.relu(self.norm(self.stem(x)))
        x = F.relu(x + self.b_norm(self.b(F.relu(self.a_norm(self.a(x))))))
        made: Tensor = self.head(x.mean((2, 3)))
        return made


class SmallTransformer(nn.Module):
    """A pre-norm block with attention of a fixed scale, so that heads and their width leave exactly."""

    def __init__(self) -> None:
        super().__init__()
        self.width, self.heads = 4, 4
        self.norm, self.norm2 = nn.LayerNorm(12), nn.LayerNorm(12)
        self.q, self.k, self.v = (nn.Linear(12, 16, bias=False) for _ in range(3))
        self.out = nn.Linear(16, 12)
        self.up, self.down, self.head = nn.Linear(12, 24), nn.Linear(24, 12), nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (batch, length, 12) to (batch, length, 5)."""
        h = self.norm(x)
        q, k, v = (
            layer(h).view(*x.shape[:2], self.heads, self.width).transpose(1, 2) for layer in (self.q, self.k, self.v)
        )
        mixed = F.scaled_dot_product_attention(q, k, v, scale=0.5).transpose(1, 2).flatten(2)
        x = x + self.out(mixed)
        made: Tensor = self.head(x + self.down(F.gelu(self.up(self.norm2(x)))))
        return made


class Perceptron(nn.Module):
    """Three linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 12), nn.PReLU(12), nn.Linear(12, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Shape (batch, 6) to (batch, 3)."""
        made: Tensor = self.layers(x)
        return made


class Words(nn.Module):
    """An embedding with sparse gradients before two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 8, sparse=True)
        self.a, self.b = nn.Linear(8, 12), nn.Linear(12, 3)

    def forward(self, ids: Tensor) -> Tensor:
        """Integers of shape (batch, length) to (batch, length, 3)."""
        made: Tensor = self.b(torch.tanh(self.a(self.embedding(ids))))
        return made


def networks() -> dict[str, tuple[nn.Module, tuple[Any, ...]]]:
    """New networks in float64 with example inputs, by name."""
    made = {
        "residual net": (ResidualNet(), (torch.zeros(8, 3, 6, 6, dtype=torch.float64),)),
        "transformer": (SmallTransformer(), (torch.zeros(4, 5, 12, dtype=torch.float64),)),
        "perceptron": (Perceptron(), (torch.zeros(16, 6, dtype=torch.float64),)),
    }
    return {name: (randomised(model), inputs) for name, (model, inputs) in made.items()}


def words() -> tuple[nn.Module, tuple[Tensor]]:
    """A new network with sparse gradients, and its inputs: integers."""
    return randomised(Words()), (torch.arange(24).view(4, 6) % 20,)


@frozen
class Form:
    """One way to use an optimizer. Call it with parameters to get the optimizers that train them."""

    optimizer: str
    settings: Mapping[str, Any]
    grouped: bool = False
    """Whether parameters are in two groups, the second with half the learning rate."""

    @property
    def name(self) -> str:
        """The settings besides learning rates, and whether there are groups."""
        said = [key if value is True else f"{key}={value}" for key, value in self.settings.items() if key != "lr"]
        return ", ".join([*said, *(["two groups"] if self.grouped else [])]) or "plain"

    def __call__(self, parameters: Sequence[nn.Parameter]) -> list[Optimizer]:
        """One optimizer; beside one that takes matrices or sparse gradients only, AdamW for the rest."""
        kind, lr = getattr(torch.optim, self.optimizer), self.settings["lr"]
        mine = [p for p in parameters if self.optimizer not in ("Muon", "SparseAdam") or p.dim() == 2]
        rest = [p for p in parameters if all(p is not each for each in mine)]
        if self.optimizer == "SparseAdam":
            mine, rest = mine[:1], [*mine[1:], *rest]
        if not mine or (rest and self.grouped):
            raise ValueError(f"{self.optimizer} does not take these parameters")
        half = (len(mine) + 1) // 2
        groups: Any = [{"params": mine[:half]}, {"params": mine[half:], "lr": lr / 2}] if self.grouped else mine
        others = [torch.optim.AdamW(rest, lr=0.002)] if rest else []
        return [kind(groups, **self.settings), *others]


_RATES = {
    "SGD": 0.02,
    "Adam": 0.002,
    "AdamW": 0.002,
    "Adamax": 0.002,
    "NAdam": 0.002,
    "RAdam": 0.002,
    "RMSprop": 0.0005,
    "Rprop": 0.0005,
    "Adagrad": 0.005,
    "Adadelta": 0.1,
    "ASGD": 0.01,
}
_OWN: dict[str, list[dict[str, Any]]] = {
    "SGD": [
        {"momentum": 0.9, "weight_decay": 0.01},
        {"momentum": 0.9, "nesterov": True},
        {"momentum": 0.9, "dampening": 0.1},
        {"momentum": 0.9, "fused": True},
    ],
    "Adam": [{"amsgrad": True, "weight_decay": 0.01}, {"fused": True}, {"fused": True, "amsgrad": True}],
    "AdamW": [{"amsgrad": True}, {"fused": True}],
    "NAdam": [{"decoupled_weight_decay": True, "weight_decay": 0.01}],
    "RAdam": [{"decoupled_weight_decay": True, "weight_decay": 0.01}],
    "RMSprop": [{"centered": True, "momentum": 0.5}, {"momentum": 0.9, "weight_decay": 0.01}],
    "Adagrad": [{"lr_decay": 0.01, "initial_accumulator_value": 0.1}, {"fused": True}],
    "ASGD": [{"t0": 3, "weight_decay": 0.01}],
    "Adadelta": [{"weight_decay": 0.01}],
}


def forms() -> list[Form]:
    """Optimizers that treat every weight by itself: plain, several tensors at once, maximising, in groups, and more."""
    found = []
    for name, lr in _RATES.items():
        common: list[dict[str, Any]] = [{}, {"foreach": False}, {"foreach": True}, {"maximize": True}]
        for settings in [*common, *_OWN.get(name, [])]:
            slow = {"lr": lr / 20 if "maximize" in settings else lr}
            found.append(Form(name, slow | settings))
        found.append(Form(name, {"lr": lr}, grouped=True))
    return found
