"""A plan says by which operations a unit hangs together, and by which an axis is made to stay."""

from __future__ import annotations

import json
import pickle
import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import secateur
from secateur.coupling.chains import Chains
from secateur.coupling.refusals import INDIRECT
from secateur.testing.networks import random_network
from secateur.thinning.explanation import MOST_REASONS
from secateur.thinning.plan import Plan
from secateur.thinning.planner import couple


def plan_of(model: nn.Module, *shape: int, **options: Any) -> Plan:
    torch.manual_seed(0)
    return secateur.plan(model.eval(), (torch.zeros(shape),), **options)


def shown(plan: Plan, name: str) -> list[str]:
    """The lines of an explanation, with the numbers of lines of this file left out."""
    return re.sub(r"\((?:\S*/)?test_explain\.py:\d+\)", "(here)", plan.explain(name)).splitlines()


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.body, self.last = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm(self.stem(x)))
        return self.last(F.relu(F.max_pool2d(y, 2) + F.max_pool2d(self.body(y), 2)))


def test_a_residual_dim_is_a_tree_of_operations() -> None:
    assert shown(plan_of(Residual(), 1, 3, 8, 8), "stem") == [
        "stem: 4 of 8 units stay; a unit consists of",
        "└── stem.weight axis 0 (writes it)",
        "    → conv2d at stem (here): stem.bias axis 0 (writes it)",
        "    → batch_norm at norm (here): norm.running_mean, .running_var, .weight, .bias axis 0 (write it)",
        "    → relu",
        "    ├── → max_pool2d → add at the model itself (here)",
        "    │   ├── ← max_pool2d ← conv2d at body (here): body.weight axis 0 (writes it)",
        "    │   └── → relu → conv2d at last (here): last.weight axis 1 (reads it)",
        "    └── → conv2d at body (here): body.weight axis 1 (reads it)",
        "stays: stem.weight axis 1 → conv2d at stem (here): it meets an input of the model or another axis that stays",
    ]


def test_the_last_line_of_every_run_names_the_source() -> None:
    text = plan_of(Residual(), 1, 3, 8, 8).explain("last")
    code = Residual.forward.__code__
    assert f"test_explain.py:{code.co_firstlineno + 2})" in text
    assert text.splitlines()[0].startswith("stays: last.weight axis 0 → conv2d at last (")
    assert "it is an output of the model" in text


class Flat(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 6, 3), nn.Linear(96, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.c(F.relu(self.b(F.relu(self.a(x)))).view(-1, 96))


def test_a_literal_is_reached_through_the_operations_before_it() -> None:
    plan = plan_of(Flat(), 2, 1, 8, 8)
    assert shown(plan, "b.weight") == [
        "stays: b.weight axis 0 → conv2d at b (here) → relu → view at the model itself (here): a size of this reshape "
        "is written as the number 96 (take it from the tensor's shape or from an attribute of the module itself, "
        "or use -1)"
    ]
    assert any(line.endswith("conv2d at b (here): b.weight axis 1 (reads it)") for line in shown(plan, "a"))


class Wide(nn.Module):
    """One channel becomes sixteen columns; long runs; and a dim that is concatenated with others."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(1, 4, 1), nn.Conv2d(1, 4, 1), nn.Linear(128, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        for _ in range(4):
            y = F.relu(torch.tanh(y))
        return self.c(torch.cat([y, self.b(x)], 1).flatten(1))


def test_long_runs_are_shortened_and_slices_counted() -> None:
    lines = shown(plan_of(Wide(), 1, 1, 4, 4), "a")
    assert lines[3:] == [
        "    → tanh → relu → … 5 more … → relu → cat at the model itself (here) → flatten → linear at c (here): "
        "16 slices of c.weight axis 1 (read it)"
    ]
    assert not any("b.weight" in line for line in lines)


def test_a_chain_follows_one_unit_and_not_its_neighbours_on_an_axis() -> None:
    class Net(nn.Module):
        """The two parts meet in the concatenation, but what ties them is the sum behind it."""

        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Linear(4, 6), nn.Linear(4, 6), nn.Linear(6, 2)

        def forward(self, x: Tensor) -> Tensor:
            both = torch.cat([self.a(x), self.b(x)], 1)
            left, right = both.chunk(2, 1)
            return self.c(left * right)

    chains = {c.end: [s.op.kind for s in c.steps] for c in Chains(couple(Net(), (torch.zeros(1, 4),))).of_dim("a")}
    assert chains["b.weight", 0][:2] == ["linear", "cat"]
    assert chains["b.weight", 0][-2:] == ["cat", "linear"]
    assert {"chunk", "mul"} & set(chains["b.weight", 0])
    assert chains["a.weight", 0] == []
    assert chains["c.weight", 1] == ["linear", "cat", "chunk", "mul", "linear"]


class Products(nn.Module):
    """Rows and columns of one axis are both outputs: each entry stays because both of its sides do."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = 2
        self.a = nn.Linear(3, 8)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        table = self.a(x).view(x.shape[0], self.rows, -1)
        return table.amax(1), table.amax(2)


def test_an_axis_that_stays_through_a_product_leads_to_what_fixes_a_side() -> None:
    plan = plan_of(Products(), 2, 3)
    (refusal,) = [r for r in plan.refusals if (r.parameter, r.axis) == ("a.weight", 0)]
    assert "through a reshape" in refusal.reasons[0]
    (line,) = [line for line in shown(plan, "a.weight") if "axis 0" in line]
    assert line.startswith("stays: a.weight axis 0 → linear at a (here) → view at the model itself (here) → amax at ")
    assert line.endswith("it is an output of the model")


class Noise(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.rand_like(x)


class Unruly(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.idle = nn.Linear(3, 8), nn.Linear(8, 2), nn.Linear(2, 2)
        self.noises = nn.Sequential(*(Noise() for _ in range(6)))

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.noises(self.a(x)))


def test_many_reasons_are_counted_and_the_nearest_come_first() -> None:
    plan = plan_of(Unruly(), 2, 3)
    assert plan.chains is not None
    lengths = [len(chain.steps) for chain in plan.chains.of_refusal("a.bias", 0)]
    assert lengths == sorted(lengths)
    assert len(lengths) > MOST_REASONS
    text = plan.explain("a.bias")
    assert text.count("random numbers of its shape") + text.count("it meets an input") == MOST_REASONS
    assert f"… and {len(lengths) - MOST_REASONS} more reasons" in text
    assert "stays: idle.weight axis 0: it took no part in the recorded run" in plan.explain("idle")


def test_a_saved_plan_lists_what_it_knows() -> None:
    plan = plan_of(Residual(), 1, 3, 8, 8)
    saved = Plan.from_dict(json.loads(json.dumps(plan.to_dict())))
    assert saved.chains is None
    assert saved.explain("stem").splitlines()[:4] == [
        "stem: 4 of 8 units stay; a unit consists of",
        "└── stem.weight, .bias axis 0 (write it)",
        "    norm.running_mean, .running_var, .weight, .bias axis 0 (write it)",
        "    body.weight axis 0 (writes it)",
    ]
    assert "is not saved with a plan; plan the model again to see it" in saved.explain("stem")
    assert saved.explain("last.bias") == f"stays: {next(r for r in saved.refusals if r.parameter == 'last.bias')}"
    with pytest.raises(secateur.PlanError, match=r"plan: nothing is named 'stme'; did you mean 'stem'\?"):
        saved.explain("stme")


def test_a_plan_with_its_chains_can_be_pickled() -> None:
    plan = plan_of(Residual(), 1, 3, 8, 8)
    assert pickle.loads(pickle.dumps(plan)).explain("stem") == plan.explain("stem")


class Normed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm, self.b = nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.norm(torch.relu(self.a(x))))


@pytest.mark.parametrize("renormalise", [False, True])
def test_an_operation_that_reads_a_size_is_named_with_the_way_to_it(renormalise: bool) -> None:
    lines = shown(plan_of(Normed(), 2, 4, renormalise=renormalise), "a")
    way = "→ linear at a (here) → relu → layer_norm at norm (here): "
    assert lines[0] == f"a: {4 if renormalise else 8} of 8 units stay; a unit consists of"
    if renormalise:
        assert any(line.startswith(f"changes the scale of what stays {way}") for line in lines)
    else:
        (line,) = [line for line in lines if line.startswith(f"stays: a.weight axis 0 {way}")]
        assert line.endswith("(renormalise=True prunes it all the same)")


def test_every_slice_of_random_networks_is_reached() -> None:
    for seed in range(24):
        program = random_network(seed, steps=12, inputs="map")
        chains = Chains(couple(program.build(), program.example_inputs()))
        for dim in chains.coupling.dims:
            for chain in chains.of_dim(dim.name):
                assert bool(chain.steps) == (chain.end != chain.start), (seed, dim.name, chain.end)
        for refusal in chains.coupling.refusals:
            if refusal.reasons != (INDIRECT,):  # which has no operation that a chain could end at
                assert chains.of_refusal(refusal.parameter, refusal.axis), (seed, str(refusal))


def test_planning_computes_no_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any) -> None:
        raise AssertionError("a chain was looked for")

    for name in ("of_dim", "of_refusal", "of_renormalisations"):
        monkeypatch.setattr(Chains, name, never)
    plan = plan_of(Residual(), 1, 3, 8, 8)
    assert "stem" in str(plan)
    with pytest.raises(AssertionError, match="a chain was looked for"):
        plan.explain("stem")
