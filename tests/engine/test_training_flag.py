"""The forward runs a second time, in training mode, if anything of the model's asks for its flag; else once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import secateur


class Counted(nn.Module):
    """Counts its runs, and has a head of its own for whoever is in training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.aux = nn.Linear(6, 8), nn.Linear(8, 4), nn.Linear(8, 3)
        self.drop, self.norm = nn.Dropout(0.5), nn.BatchNorm1d(8)

    def asked(self) -> Any:
        """Whether it is in training mode, or False."""
        return False

    def forward(self, x: Tensor) -> Any:
        RUNS.append(1)
        h = self.drop(self.norm(self.a(x)).relu())
        return (self.b(h), self.aux(h)) if self.asked() else self.b(h)


RUNS: list[int] = []


@pytest.fixture(autouse=True)
def count() -> None:
    """Begin to count anew."""
    RUNS.clear()


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention, self.recurrent = nn.MultiheadAttention(6, 2, dropout=0.1), nn.LSTM(6, 6, 2, dropout=0.1)

    def forward(self, x: Tensor) -> Tensor:
        RUNS.append(1)
        y = self.attention(x[:, None], x[:, None], x[:, None])[0]
        return self.recurrent(y)[0].mean()


@pytest.mark.parametrize("make", [Counted, Attention])
def test_layers_of_torch_ask_for_nothing_that_matters(make: Callable[[], nn.Module]) -> None:
    model = make()
    secateur.trace(model, (torch.randn(2, 6),))
    assert len(RUNS) == 1
    assert model.training
    assert "training" in model.__dict__


class Plainly(Counted):
    def asked(self) -> Any:
        return self.training


class ByIdentity(Counted):
    def asked(self) -> Any:
        return self.training is True


class ByName(Counted):
    def asked(self) -> Any:
        return getattr(self, "training", False)


class OfAnother(Counted):
    def asked(self) -> Any:
        return self.drop.training


class ByDict(Counted):
    def asked(self) -> Any:
        return self.__dict__["training"]


class ByTable(Counted):
    def asked(self) -> Any:
        return {True: "yes", False: ""}[self.norm.training]


class Delegating(Counted):
    def asked(self) -> Any:
        return self.mode

    def __getattr__(self, name: str) -> Any:
        return super().__getattr__("training" if name == "mode" else name) if name != "training" else False

    @property
    def mode(self) -> Any:
        return self.__dict__.get("training", False)


class OfItsClass(Counted):
    @property
    def training(self) -> Any:
        return self.__dict__.get("mode", False)

    @training.setter
    def training(self, value: bool) -> None:
        self.__dict__["mode"] = value

    def asked(self) -> Any:
        return self.training


class Settling(Counted):
    """Sets the flag of a part of it, which no watching allows."""

    def forward(self, x: Tensor) -> Any:
        self.norm.eval()
        return super().forward(x)

    def asked(self) -> Any:
        return self.training


KINDS = [Plainly, ByIdentity, ByName, OfAnother, ByDict, ByTable, Delegating, OfItsClass, Settling]


@pytest.mark.parametrize("kind", KINDS)
def test_whoever_asks_is_seen(kind: type[nn.Module]) -> None:
    model = kind().eval()
    before = {path: dict(module.__dict__) for path, module in model.named_modules()}
    graph = secateur.trace(model, (torch.randn(2, 6),))
    assert any(op.module == "aux" and op.training for op in graph.ops.values())
    assert len(RUNS) > 1
    after = {path: dict(module.__dict__) for path, module in model.named_modules()}
    assert {path: list(held) for path, held in after.items()} == {path: list(held) for path, held in before.items()}
    assert all(after[path][key] is value for path, held in before.items() for key, value in held.items())


def test_a_hook_that_asks_is_seen() -> None:
    model = Counted().eval()
    model.a.register_forward_hook(lambda module, _, output: output * 2 if module.training else None)
    graph = secateur.trace(model, (torch.randn(2, 6),))
    assert any(op.kind == "mul" and op.training for op in graph.ops.values())


def test_a_flag_that_is_handed_on_by_the_model_counts_as_asked() -> None:
    class Handing(Counted):
        def forward(self, x: Tensor) -> Any:
            return F.dropout(super().forward(x), 0.5, training=self.training)

    secateur.trace(Handing().eval(), (torch.randn(2, 6),))
    assert len(RUNS) == 2


def test_the_flag_is_no_buffer_meanwhile() -> None:
    class Looking(Counted):
        def asked(self) -> Any:
            SEEN.append(([name for name, _ in self.named_buffers()], "training" in self.state_dict()))
            return False

    SEEN: list[Any] = []
    model = Looking().eval()
    secateur.trace(model, (torch.randn(2, 6),))
    assert SEEN == [(["norm.running_mean", "norm.running_var", "norm.num_batches_tracked"], False)]
