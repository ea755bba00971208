"""A checkpoint holds all that trains a model: after loading, training goes on to the same bits."""

from __future__ import annotations

import copy
import json
import os
import random
import struct
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler as rates

import secateur
from secateur.checkpoint import checksum, inspect, read
from secateur.checkpoint.files import remove_leftovers
from secateur.checkpoint.random_states import set_random_states
from secateur.checkpoint.strict import parse
from secateur.checkpoint.tree import decode, encode
from secateur.errors import CheckpointError
from secateur.thinning.recipe import Recipe

INPUT = (torch.randn(8, 6, generator=torch.Generator().manual_seed(1)),)


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))


def step(model: nn.Module, optimizer: Any) -> None:
    def closure() -> Any:
        optimizer.zero_grad()
        loss = model(*INPUT).square().mean()
        loss.backward()
        return loss

    optimizer.step(closure)


def same(left: Any, right: Any) -> bool:
    return repr(encode(left, "x", a := {})) == repr(encode(right, "x", b := {})) and all(
        torch.equal(a[name], b[name]) for name in a
    )


# -- optimizers --------------------------------------------------------------------------------------------------------

OPTIMIZERS: dict[str, Any] = {
    "SGD": lambda p: torch.optim.SGD(p, lr=0.1),
    "SGD momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "Adam": lambda p: torch.optim.Adam(p, lr=0.01, amsgrad=True),
    "Adam without foreach": lambda p: torch.optim.Adam(p, lr=0.01, foreach=False),
    "Adam fused": lambda p: torch.optim.Adam(p, lr=0.01, fused=True),
    "Adam with a tensor as rate": lambda p: torch.optim.Adam(p, lr=torch.tensor(0.01)),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=0.01),
    "Adamax": lambda p: torch.optim.Adamax(p),
    "NAdam": lambda p: torch.optim.NAdam(p, decoupled_weight_decay=True),
    "RAdam": lambda p: torch.optim.RAdam(p),
    "RMSprop": lambda p: torch.optim.RMSprop(p, centered=True, momentum=0.5),
    "Rprop": lambda p: torch.optim.Rprop(p),
    "Adagrad": lambda p: torch.optim.Adagrad(p),
    "Adadelta": lambda p: torch.optim.Adadelta(p),
    "ASGD": lambda p: torch.optim.ASGD(p),
    "Adafactor": lambda p: torch.optim.Adafactor(p),
    "LBFGS": lambda p: torch.optim.LBFGS(list(p), history_size=3, line_search_fn="strong_wolfe"),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_goes_on_alike(name: str, tmp_path: Path) -> None:
    model, twin = network(), network(seed=5)
    secateur.thin(model, secateur.plan(model, INPUT))
    optimizer = OPTIMIZERS[name](model.parameters())
    for _ in range(3):
        step(model, optimizer)
    secateur.save(tmp_path / "x", model, optimizer)
    random_numbers = torch.get_rng_state()
    other = OPTIMIZERS[name](twin.parameters())
    secateur.load(tmp_path / "x", twin, other, rng=True)
    assert torch.equal(torch.get_rng_state(), random_numbers)
    assert same(other.state_dict(), optimizer.state_dict())
    for _ in range(3):
        step(model, optimizer)
    torch.set_rng_state(random_numbers)
    for _ in range(3):
        step(twin, other)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))


def test_state_of_another_dtype_than_its_parameter_is_kept(tmp_path: Path) -> None:
    model, twin = network().bfloat16(), network(seed=5).bfloat16()
    optimizer = torch.optim.NAdam(model.parameters())
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    held = optimizer.state[model[0].weight]
    held["mu_product"] = torch.tensor(0.123456789)
    secateur.save(tmp_path / "x", model, optimizer)
    other = torch.optim.NAdam(twin.parameters())
    secateur.load(tmp_path / "x", twin, other)
    assert torch.equal(other.state[twin[0].weight]["mu_product"], held["mu_product"])
    wide = network(seed=6)  # in another dtype, torch's rule holds
    secateur.load(tmp_path / "x", wide, third := torch.optim.NAdam(wide.parameters()))
    assert third.state[wide[0].weight]["exp_avg"].dtype == torch.float32


def test_state_of_another_shape_than_its_parameter_is_refused(tmp_path: Path) -> None:
    model = network()
    optimizer = torch.optim.Adam(model.parameters())
    step(model, optimizer)
    optimizer.state[model[0].weight]["exp_avg"] = torch.zeros(3, 3)
    secateur.save(tmp_path / "x", model, optimizer)
    fresh = network()
    with pytest.raises(CheckpointError, match=r"keeps 'exp_avg' of shape \(3, 3\) for '0.weight' of shape \(8, 6\)"):
        secateur.load(tmp_path / "x", fresh, torch.optim.Adam(fresh.parameters()))


# -- learning-rate schedulers ------------------------------------------------------------------------------------------

RATES: dict[str, Any] = {
    "StepLR": lambda o: rates.StepLR(o, 2),
    "MultiStepLR": lambda o: rates.MultiStepLR(o, [2, 2, 4]),
    "LambdaLR": lambda o: rates.LambdaLR(o, lambda epoch: 0.9**epoch),
    "ExponentialLR": lambda o: rates.ExponentialLR(o, 0.9),
    "CosineAnnealingLR": lambda o: rates.CosineAnnealingLR(o, 10),
    "CosineAnnealingWarmRestarts": lambda o: rates.CosineAnnealingWarmRestarts(o, 3),
    "OneCycleLR": lambda o: rates.OneCycleLR(o, 0.5, total_steps=20),
    "CyclicLR": lambda o: rates.CyclicLR(o, 0.01, 0.1, step_size_up=3),
    "CyclicLR by a function": lambda o: rates.CyclicLR(o, 0.01, 0.1, 3, scale_fn=lambda x: 0.5 * x),
    "PolynomialLR": lambda o: rates.PolynomialLR(o, 9),
    "SequentialLR": lambda o: rates.SequentialLR(o, [rates.ConstantLR(o, 0.1, 2), rates.ExponentialLR(o, 0.9)], [2]),
    "ChainedScheduler": lambda o: rates.ChainedScheduler([rates.ConstantLR(o, 0.1, 4), rates.ExponentialLR(o, 0.9)]),
    "ReduceLROnPlateau": lambda o: rates.ReduceLROnPlateau(o, patience=1),
}


@pytest.mark.parametrize("name", RATES)
def test_every_learning_rate_scheduler_goes_on_alike(name: str, tmp_path: Path) -> None:
    def advance(model: nn.Module, optimizer: Any, schedule: Any, epochs: range) -> list[float]:
        found = []
        for epoch in epochs:
            step(model, optimizer)
            schedule.step(*([1.0 + epoch] if name == "ReduceLROnPlateau" else []))
            found.append(optimizer.param_groups[0]["lr"])
        return found

    def made(seed: int) -> tuple[Any, Any, Any]:
        model = network(seed)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.5)
        return model, optimizer, RATES[name](optimizer)

    one, two = made(0), made(1)
    advance(*one, range(3))
    secateur.save(tmp_path / "x", one[0], one[1], lr_schedulers=one[2])
    secateur.load(tmp_path / "x", two[0], two[1], lr_schedulers=two[2])
    assert advance(*two, range(3, 9)) == advance(*one, range(3, 9))


def test_other_learning_rate_schedulers_are_refused(tmp_path: Path) -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    secateur.save(tmp_path / "x", model, optimizer, lr_schedulers=[rates.StepLR(optimizer, 2)])
    other = rates.ExponentialLR(optimizer, 0.5)
    before = copy.deepcopy(other.state_dict())
    with pytest.raises(CheckpointError) as error:
        secateur.load(tmp_path / "x", model, lr_schedulers=other)
    assert "its learning-rate schedulers are StepLR, those given are ExponentialLR; give them as they" in str(
        error.value
    )
    assert other.state_dict() == before


# -- random states, generators, positions ------------------------------------------------------------------------------


def test_random_states_go_on(tmp_path: Path) -> None:
    def draw() -> list[float]:
        return [random.random(), random.gauss(0, 1), np.random.rand(), np.random.randn(), float(torch.rand(()))]

    draw()
    secateur.save(tmp_path / "x", network(seed=2), rng=True)
    expected = draw()
    torch.manual_seed(9)
    secateur.load(tmp_path / "x", model := network(seed=3))
    assert draw() != expected
    secateur.load(tmp_path / "x", model, rng=True)
    assert draw() == expected


def test_generators_and_a_position(tmp_path: Path) -> None:
    loader, other = torch.Generator().manual_seed(4), torch.Generator()
    torch.randperm(10, generator=loader)
    place = {"epoch": 3, "step": 120, "best": {"loss": 0.1, 7: (1, 2)}, "seen": torch.arange(3)}
    secateur.save(tmp_path / "x", network(), generators={"loader": loader}, position=place, extra=["a", None, 1e300])
    secateur.load(tmp_path / "x", network(), generators={"loader": other})
    assert torch.equal(torch.rand(3, generator=loader), torch.rand(3, generator=other))
    checkpoint = read(tmp_path / "x")
    assert same(checkpoint.position, place)
    assert checkpoint.extra == ["a", None, 1e300]
    assert inspect(tmp_path / "x")["position"]["seen"] == {"tensor": "position/seen", "shape": [3], "dtype": "I64"}
    assert secateur.load(checkpoint, network(seed=5))[0].weight.equal(network()[0].weight)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"rng": True}, "it holds no random states; save it with rng=, or load it without"),
        ({"generators": {"a": torch.Generator()}}, "it holds no states of generators; save it with generators=, or"),
    ],
)
def test_what_was_not_saved_is_refused(asked: Any, message: str, tmp_path: Path) -> None:
    secateur.save(tmp_path / "x", network())
    model = network(seed=3)
    before = model[0].weight.clone()
    with pytest.raises(CheckpointError) as error:
        secateur.load(tmp_path / "x", model, **asked)
    assert message in str(error.value)
    assert torch.equal(model[0].weight, before)


# -- the schedule ------------------------------------------------------------------------------------------------------

SCHEDULE = """\
pruners:
  half: {class: magnitude, dims: ['0'], sparsity: 0.5}
extensions:
  thinner: {class: thinner}
lr_schedulers:
  falling: {class: ExponentialLR, gamma: 0.5}
policies:
  - pruner: {instance_name: half}
    epochs: [0]
  - extension: {instance_name: thinner}
    epochs: [1, 3]
  - lr_scheduler: {instance_name: falling}
    starting_epoch: 0
    ending_epoch: 6
    frequency: 1
"""


def scheduled(folder: Path, seed: int = 0) -> tuple[nn.Module, Any, secateur.Scheduler]:
    (folder / "s.yaml").write_text(SCHEDULE)
    model = network(seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    return model, optimizer, secateur.Scheduler.from_yaml(folder / "s.yaml", model, optimizer, INPUT)


def epoch(number: int, model: nn.Module, optimizer: Any, scheduler: secateur.Scheduler) -> None:
    scheduler.on_epoch_begin(number)
    for i in range(2):
        scheduler.on_minibatch_begin(number, i, 2)
        step(model, optimizer)
        scheduler.on_minibatch_end(number, i, 2)
    scheduler.on_epoch_end(number)


@pytest.mark.parametrize("stop", range(5))
def test_a_schedule_in_a_loop_of_the_users_own_goes_on(stop: int, tmp_path: Path) -> None:
    one = scheduled(tmp_path)
    for number in range(stop):
        epoch(number, *one)
    secateur.save(tmp_path / "x", one[0], one[1], scheduler=one[2])
    for number in range(stop, 5):
        epoch(number, *one)
    model, optimizer, scheduler = scheduled(tmp_path, seed=7)  # dense, and so the scheduler sees it
    secateur.load(tmp_path / "x", model, optimizer, scheduler=scheduler, rng=True)
    for number in range(stop, 5):
        epoch(number, model, optimizer, scheduler)
    for name, tensor in one[0].state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name]), name
    assert optimizer.param_groups[0]["lr"] == one[1].param_groups[0]["lr"]
    late = network(seed=8)  # or the scheduler is made afterwards, of its state
    checkpoint = read(tmp_path / "x")
    rest = torch.optim.SGD(secateur.load(checkpoint, late).parameters(), lr=0.1, momentum=0.9)
    secateur.Scheduler.from_yaml(tmp_path / "s.yaml", late, rest, INPUT, state=checkpoint.scheduler)


def test_a_schedule_that_does_not_fit_changes_nothing(tmp_path: Path) -> None:
    one = scheduled(tmp_path)
    epoch(0, *one)
    epoch(1, *one)
    secateur.save(tmp_path / "x", one[0], one[1], scheduler=one[2])
    two = scheduled(tmp_path, seed=3)
    epoch(0, *two)
    other = secateur.Scheduler.from_yaml(_shorter(tmp_path), two[0], two[1], INPUT)
    for scheduler in (two[2], other):
        scheduler.network.weights_changed()
    before = (two[0][0].weight.clone(), copy.deepcopy(two[1].state_dict()), other.state_dict(), two[0][0].out_features)
    with pytest.raises(CheckpointError, match=r"could not be loaded .ConfigError: .*the state is of a schedule with"):
        secateur.load(tmp_path / "x", two[0], two[1], scheduler=other)
    after = (two[0][0].weight, two[1].state_dict(), other.state_dict(), two[0][0].out_features)
    assert same(before, after)
    for number in (1, 2):
        epoch(number, two[0], two[1], two[2])  # and goes on as if nothing had been tried
    assert two[0][0].out_features == 4


@pytest.mark.parametrize("done", [0, 1])
def test_a_load_that_fails_at_the_very_end_leaves_no_trace(
    done: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from secateur.checkpoint import parts

    donor = scheduled(tmp_path, seed=9)
    for number in range(2):
        epoch(number, *donor)
    secateur.save(tmp_path / "x", donor[0], donor[1], scheduler=donor[2])
    one, two = scheduled(tmp_path, seed=3), scheduled(tmp_path, seed=3)
    for trained in (one, two):
        torch.manual_seed(0)
        for number in range(done):
            epoch(number, *trained)
    failures = [RuntimeError("no")]

    def failing(states: Any) -> None:
        if failures:
            raise failures.pop()
        set_random_states(states)

    monkeypatch.setattr(parts, "set_random_states", failing)
    with pytest.raises(CheckpointError, match=r"could not be loaded .RuntimeError: no."):
        secateur.load(tmp_path / "x", two[0], two[1], scheduler=two[2], rng=True)
    assert not failures
    assert same(two[2].state_dict(), one[2].state_dict())
    assert same(two[1].state_dict(), one[1].state_dict())
    assert two[0][0].out_features == one[0][0].out_features
    for trained in (one, two):
        torch.manual_seed(1)
        for number in range(done, 5):
            epoch(number, *trained)
    assert all(torch.equal(a, b) for a, b in zip(one[0].parameters(), two[0].parameters(), strict=True))
    assert one[0][0].out_features == 4


def _shorter(folder: Path) -> Path:
    (folder / "t.yaml").write_text(
        SCHEDULE.replace("  - extension: {instance_name: thinner}\n    epochs: [1, 3]\n", "")
    )
    return folder / "t.yaml"


# -- several thinnings, old files, damage ------------------------------------------------------------------------------


def test_recipes_of_several_thinnings_are_composed_and_say_when(tmp_path: Path) -> None:
    model = network()
    for share in (0.25, 0.25, 0.5):
        secateur.thin(model, secateur.plan(model, INPUT, prune=share))
    secateur.save(tmp_path / "x", model)
    fresh = secateur.load(tmp_path / "x", network(seed=4))
    assert torch.equal(fresh.eval()(*INPUT), model.eval()(*INPUT))
    secateur.thin(fresh, secateur.plan(fresh, INPUT))
    secateur.save(tmp_path / "y", fresh)
    steps, first = inspect(tmp_path / "y")["steps"], inspect(tmp_path / "x")["steps"]
    assert len(steps) == 4
    assert steps[:3] == first  # with the times of then
    assert all(said["made"]["when"] for said in steps)
    again = secateur.load(tmp_path / "y", network(seed=5))
    assert again[0].out_features == fresh[0].out_features


def test_files_of_format_1_are_read(tmp_path: Path) -> None:
    model = network()
    secateur.thin(model, secateur.plan(model, INPUT))
    secateur.save(tmp_path / "x", model, extra={"note": [1, {"a": None}]})
    content = (tmp_path / "x").read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    said = json.loads(header["__metadata__"]["secateur"])
    del header["__metadata__"][checksum.KEY], said["parts"]
    for made in said["recipe"]["steps"]:
        del made["made"]
    header["__metadata__"]["secateur"] = json.dumps({**said, "format": 1, "extra": {"note": [1, {"a": None}]}})
    text = json.dumps(header).encode()
    (tmp_path / "x").write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])
    fresh = secateur.load(tmp_path / "x", network(seed=3))
    assert torch.equal(fresh[0].weight, model[0].weight)
    assert read(tmp_path / "x").extra == inspect(tmp_path / "x")["extra"] == {"note": [1, {"a": None}]}


def test_every_single_bit_counts(tmp_path: Path) -> None:
    secateur.save(tmp_path / "x", nn.Linear(2, 2), extra={"note": "x"})
    content = (tmp_path / "x").read_bytes()
    for place in range(len(content)):
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 8
        (tmp_path / "x").write_bytes(flipped)
        with pytest.raises(CheckpointError):
            read(tmp_path / "x")


def test_a_recipe_cannot_ask_for_all_memory() -> None:
    huge = {"shape": [10**12, 4], "kept": {"0": [[0, 4]]}}
    saved = {"format": 1, "steps": [{"tensors": {"0.weight": huge}, "attributes": []}]}
    with pytest.raises(CheckpointError, match="axes of 1,000,000,000,000 entries together"):
        Recipe.from_dict(saved)


# -- trees -------------------------------------------------------------------------------------------------------------


def test_trees_come_back_as_they_were() -> None:
    tree = {
        "a": [1, 2.5, None, True, "x", float("inf")],
        3: (1, (2, [])),
        None: Counter({2: 1}),
        "t": torch.arange(3),
        "n": np.float64(0.5),
        "array": np.arange(3, dtype=np.uint8),
    }
    tensors: dict[str, torch.Tensor] = {}
    made = decode(json.loads(json.dumps(encode(tree, "x", tensors))), tensors.__getitem__)
    assert list(made) == list(tree)
    assert made["a"] == tree["a"]
    assert made[3] == tree[3]
    assert made[None][9] == 0  # still a counter
    assert torch.equal(made["t"], tree["t"])
    assert made["array"].tolist() == [0, 1, 2]
    assert made["n"] == 0.5


@pytest.mark.parametrize("text", ['{"a": "\\ud800"}', '{"\\uDC00": 1}', '{"a": 1, "a": 1}', '{"a":' * 9999])
def test_json_that_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"surrogates|twice|nested"):
        parse(text)


def test_a_pair_of_surrogates_is_a_letter() -> None:
    assert parse('{"a": "\\ud83d\\ude00"}') == {"a": "\U0001f600"}


def test_a_tree_that_holds_itself() -> None:
    tree: list[Any] = []
    tree.append(tree)
    with pytest.raises(ValueError, match="has more than 100 levels, or holds itself"):
        encode(tree, "x", {})


@pytest.mark.parametrize(
    "value", [{"odd": 1}, {}, [1], {"list": 1}, {"dict": [[[], 1]]}, {"dict": [["a", 1], ["a", 2]]}]
)
def test_what_is_no_tree(value: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        decode(value, lambda name: name)


# -- what killed processes leave ---------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot tell whether a process lives")
def test_only_what_the_dead_left_is_removed(tmp_path: Path) -> None:
    from secateur.checkpoint.files import _machine

    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)
    dead, alive, other = (
        tmp_path / name for name in (f".x.{_machine()}-{pid}-a", f".x.{_machine()}-{os.getpid()}-a", ".x.elsewhere-1-a")
    )
    for folder in (dead, alive, other):
        folder.mkdir()
        (folder / "new").write_text("half")
    secateur.save(tmp_path / "x", network())
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([alive.name, other.name, "x"])
    remove_leftovers(tmp_path / "x")
    assert alive.is_dir()


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.SGD])
def test_what_is_loaded_in_inference_mode_can_be_trained(kind: type[torch.optim.Optimizer], tmp_path: Path) -> None:
    def made() -> tuple[nn.Module, torch.optim.Optimizer]:
        model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        more = {"momentum": 0.9} if kind is torch.optim.SGD else {}
        return model, kind(model.parameters(), lr=0.01, **more)  # type: ignore[call-arg]

    def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        model(torch.ones(3, 4)).square().mean().backward()
        optimizer.step()

    model, optimizer = made()
    step(model, optimizer)
    secateur.thin(model, secateur.plan(model, (torch.ones(3, 4),)), optimizer)
    secateur.save(tmp_path / "file", model, optimizer)
    fresh, anew = made()
    with torch.inference_mode():
        checkpoint = read(tmp_path / "file")
        secateur.load(checkpoint, fresh, anew, rng=True)
    step(model, optimizer)
    step(fresh, anew)
    for ours, theirs in zip(model.parameters(), fresh.parameters(), strict=True):
        assert torch.equal(ours, theirs)
