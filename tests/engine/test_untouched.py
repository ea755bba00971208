"""Looking changes nothing: trace, plan and masked leave the model, its gradients and the random state as they were."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import secateur


class Busy(nn.Module):
    """A model that does everything a forward should not do to its state."""

    def __init__(self, fails: bool = False, branches: bool = False) -> None:
        super().__init__()
        self.a, self.norm, self.b = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 4, 1)
        self.drop, self.aux = nn.Dropout(0.3), nn.Conv2d(8, 2, 1)
        self.register_buffer("count", torch.zeros((), dtype=torch.long))
        self.register_buffer("mean", torch.zeros(8))
        self.widths, self.width, self.log, self.seen = (8, 4), 8, [], {"x": 1}
        self.fails, self.branches, self.kinds = fails, branches, {1}

    def forward(self, x: Tensor) -> Any:
        self.count += 1
        self.width = self.width + 1
        self.log.append(x)
        self.seen["y"] = x
        self.kinds.add(2)
        self.new = x
        y = F.relu(self.norm(self.a(x)))
        self.mean.mul_(0.9).add_(y.mean((0, 2, 3)))
        with torch.no_grad():
            self.b.weight.clamp_(-0.01, 0.01)
        self.drop.p = random.random()
        y = F.dropout(y, 0.5)
        self.a.register_forward_hook(print)
        if self.branches and y.sum() > 1e9:
            y = y * 2
        if self.fails:
            self.b = nn.Identity()
            raise ValueError("on purpose")
        return (self.b(y), self.aux(y)) if self.training else self.b(y)


def bits(model: nn.Module) -> list[Any]:
    """All of a model that can be compared: what is held where, and the numbers in it."""
    found: list[Any] = []
    for path, module in model.named_modules():
        for key, value in module.__dict__.items():
            inner = dict(value) if isinstance(value, dict) else list(value) if isinstance(value, list | set) else None
            found.append((path, key, id(value), type(value), inner if inner is None else repr(inner)))
        found.append((path, module.training, type(module)))
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        grad = None if tensor.grad is None else (id(tensor.grad), tensor.grad.tolist())
        found.append((name, id(tensor), tensor.data_ptr(), tensor.tolist(), tensor.requires_grad, grad))
    return found


def surroundings() -> list[Any]:
    from torch.nn.modules import module as hooks

    tables = [hooks._global_forward_hooks, hooks._global_forward_pre_hooks, hooks._global_forward_hooks_with_kwargs]
    return [
        hooks._has_any_global_hook(),
        torch.get_rng_state().tolist(),
        random.getstate(),
        *(dict(table) for table in tables),
        torch.is_grad_enabled(),
    ]


LOOKS: dict[str, Callable[[nn.Module, Any], Any]] = {
    "trace": secateur.trace,
    "plan": lambda model, x: secateur.plan(model, x, 0.5),
    "masked": lambda model, x: secateur.masked(model, secateur.plan(model, x)),
    "printing": lambda model, x: (secateur.plan(model, x).explain("a"), str(secateur.trace(model, x))),
}


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("branches", [True, False])
def test_looking_changes_nothing(look: str, training: bool, branches: bool) -> None:
    torch.manual_seed(1)
    model = Busy(branches=branches).train(training)
    model.norm.eval()
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    x = torch.randn(2, 3, 6, 6)
    before, around, given = bits(model), surroundings(), x.clone()
    LOOKS[look](model, (x,))
    assert bits(model) == before
    assert surroundings() == around
    assert torch.equal(x, given)


@pytest.mark.parametrize("look", ["trace", "plan"])
def test_a_failing_forward_changes_nothing(look: str) -> None:
    model, x = Busy(fails=True).train(), torch.randn(2, 3, 6, 6)
    before, around = bits(model), surroundings()
    with pytest.raises(
        secateur.CaptureError, match=r"forward of Busy failed at .*test_untouched.py:\d+: ValueError: on purpose"
    ):
        LOOKS[look](model, (x,))
    assert bits(model) == before
    assert surroundings() == around


def test_an_interrupt_changes_nothing() -> None:
    class Interrupted(Busy):
        def forward(self, x: Tensor) -> Any:
            super().forward(x)
            raise KeyboardInterrupt

    model, x = Interrupted().train(), torch.randn(2, 3, 6, 6)
    before, around = bits(model), surroundings()
    with pytest.raises(KeyboardInterrupt):
        secateur.plan(model, (x,))
    assert bits(model) == before
    assert surroundings() == around


def test_verification_leaves_no_trace_but_the_cuts() -> None:
    torch.manual_seed(1)

    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.norm, self.b = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 4, 1)
            self.register_buffer("count", torch.zeros((), dtype=torch.long))
            self.log: list[Tensor] = []

        def forward(self, x: Tensor) -> Tensor:
            self.count += 1
            self.log.append(x)
            self.last = self.b(self.norm(self.a(x)))
            return self.last

    model = Counting().train()
    plan = secateur.plan(model, (torch.randn(2, 3, 6, 6),))
    around = surroundings()
    secateur.thin(model, plan)
    assert surroundings() == around
    assert (int(model.count), model.log, hasattr(model, "last"), int(model.norm.num_batches_tracked)) == (
        0,
        [],
        False,
        0,
    )
    assert all(module.training for module in model.modules())


def test_masked_is_a_copy_with_zeros_where_the_plan_cuts(law: Any) -> None:
    model = law.randomised(nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 1)))
    plan = secateur.plan(model, (law.normal(2, 3, 5, 5),))
    twin = secateur.masked(model, plan)
    dense, zeroed = dict(model.state_dict()), dict(twin.state_dict())
    for name, tensor in dense.items():
        expected = tensor.clone()
        for axis, indices in plan.cuts.get(name, {}).items():
            expected.index_fill_(axis, torch.from_numpy(indices), 0)
        assert torch.equal(zeroed[name], expected)
        assert zeroed[name].data_ptr() != tensor.data_ptr()
    assert set(plan.cuts) == {"0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var", "3.weight"}


class Keeper:
    last: Any = None


class KeepsDeep(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.out = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 2, 1)
        self.cache: dict[str, list[Tensor]] = {"k": []}
        self.keeper = Keeper()

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv(x)
        self.cache["k"].append(h)
        self.keeper.last = h
        np.random.rand()
        return self.out(h)


def test_a_look_leaves_nothing_in_what_a_model_keeps() -> None:
    model, x = KeepsDeep(), torch.randn(2, 3, 6, 6)
    np.random.seed(0)
    expected = np.random.rand()
    np.random.seed(0)
    secateur.thin(model, secateur.plan(model, (x,)))
    assert (model.cache, model.keeper.last) == ({"k": []}, None)
    assert np.random.rand() == expected
