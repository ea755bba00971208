"""Schedules: what the grammar refuses, and what the scheduler does in a training loop."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from secateur.config import loads
from secateur.errors import ConfigError
from secateur.plugins import current
from secateur.schedule.grammar import read_schedule
from secateur.schedule.scheduler import Scheduler

GOOD = """\
version: 1
pruners:
  filters: {class: agp, dims: "*", initial_sparsity: 0.1, final_sparsity: 0.5}
extensions:
  thinner: {class: thinner}
lr_schedulers:
  step: {class: StepLR, step_size: 1, gamma: 0.5}
policies:
  - pruner: {instance_name: filters}
    starting_epoch: 1
    ending_epoch: 4
  - extension: {instance_name: thinner}
    epochs: [4]
  - lr_scheduler: {instance_name: step}
    epochs: [0, 2]
"""


class Residual(nn.Module):
    """A stem, a residual block and a classifier, with batch norm; float64."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.bn0 = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.conv1, self.bn1 = nn.Conv2d(8, 12, 3, padding=1), nn.BatchNorm2d(12)
        self.conv2, self.bn2 = nn.Conv2d(12, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.fc = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.bn0(self.stem(x)).relu()
        x = (x + self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))).relu()
        return self.fc(x.mean((2, 3)))


EXAMPLE = (torch.zeros(2, 3, 8, 8, dtype=torch.float64),)


def network() -> Residual:
    torch.manual_seed(0)
    return Residual().double()


def data(count: int = 6) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [
        (
            torch.randn(4, 3, 8, 8, generator=generator, dtype=torch.float64),
            torch.randint(5, (4,), generator=generator),
        )
        for _ in range(count)
    ]


def follow(text: str, model: nn.Module, optimizer: torch.optim.Optimizer) -> Scheduler:
    return Scheduler.from_yaml(loads(text, "s.yaml"), model, optimizer, EXAMPLE)


def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: tuple[torch.Tensor, torch.Tensor]) -> float:
    loss = cross_entropy(model(batch[0]), batch[1])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return float(loss.detach())


def epoch(scheduler: Scheduler, number: int, batches: Any = None) -> list[float]:
    losses = []
    scheduler.on_epoch_begin(number)
    for index, batch in enumerate(batches or data(2)):
        scheduler.on_minibatch_begin(number, index, 2)
        losses.append(step(scheduler.model, scheduler.optimizer, batch))
        scheduler.on_minibatch_end(number, index, 2)
    scheduler.on_epoch_end(number, metrics={"loss": losses[-1]})
    return losses


def mended(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


def test_a_pattern_that_matches_nothing_is_refused_before_training() -> None:
    model = network()
    with pytest.raises(ConfigError, match=r"s\.yaml:9: policies\[0\].*'layer9' matches no prunable dim"):
        follow(mended('"*"', "layer9"), model, torch.optim.SGD(model.parameters()))


def test_an_lr_scheduler_that_refuses_its_arguments_names_its_place() -> None:
    model = network()
    text = mended("class: StepLR, step_size: 1, gamma: 0.5", "class: OneCycleLR, max_lr: 0.1")
    with pytest.raises(ConfigError, match=r"s\.yaml:14: policies\[2\]: OneCycleLR refuses its arguments"):
        follow(text, model, torch.optim.SGD(model.parameters()))


def test_masks_hold_in_every_epoch_against_momentum_and_weight_decay() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    scheduler = follow(mended("epochs: [4]", "epochs: [9]"), model, optimizer)
    for number in range(7):  # no policy is due after epoch 3
        epoch(scheduler, number)
    plan = scheduler.plan()
    assert plan.cuts
    for name, axes in plan.cuts.items():
        tensor = dict(model.named_parameters()).get(name)
        for axis, indices in axes.items():
            if tensor is not None:
                assert not tensor.index_select(axis, torch.from_numpy(indices)).any()


def test_counts_follow_agp_and_residual_branches_share_one_decision() -> None:
    model = network()
    scheduler = follow(GOOD, model, torch.optim.SGD(model.parameters(), lr=0.01))
    expected = {0: 0, 1: 0, 2: 3, 3: 4}  # int(share * 8) of the stem with shares 0, .1, .45, .5
    for number, count in expected.items():
        scheduler.on_epoch_begin(number)
        leaving = scheduler.plan().dim("stem").leaving
        assert len(leaving) == count
        for weight in (model.stem.weight, model.conv2.weight):
            zero = [k for k in range(8) if not weight[k].any()]
            assert zero == list(leaving)


def test_thinning_waits_for_the_first_mini_batch() -> None:
    model = network()
    scheduler = follow(mended("epochs: [4]", "epochs: [3]"), model, torch.optim.SGD(model.parameters(), lr=0.01))
    for number in range(3):
        epoch(scheduler, number)
    scheduler.on_epoch_begin(3)  # the last masks of agp are made now
    assert model.stem.out_channels == 8
    scheduler.on_minibatch_begin(3, 0, 2)
    assert (model.stem.out_channels, model.conv1.out_channels) == (4, 6)
    scheduler.on_minibatch_begin(3, 1, 2)
    assert len(scheduler.reports) == 1
    assert scheduler.masked_share == pytest.approx(0.5)


@pytest.mark.parametrize("alias", ["FilterRemover", "ChannelRemover", "StructureRemover"])
def test_old_names_of_the_thinner_are_accepted(alias: str) -> None:
    text = mended("{class: thinner}", f"{{class: {alias}, thinning_func_str: remove_filters, arch: a, dataset: b}}")
    assert len(read_schedule(loads(text, "s.yaml"), current()).policies) == 3


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=1e-3, nesterov=True),
        lambda p: torch.optim.Adam(p, lr=1e-2, amsgrad=True),
        lambda p: torch.optim.AdamW(p, lr=1e-2),
    ],
    ids=["sgd", "adam", "adamw"],
)
def test_training_on_thin_gives_the_losses_of_training_on_masked(make: Any) -> None:
    """The thin network and its cut optimizer state follow the trajectory of the masked network."""
    model = network()
    optimizer = make(model.parameters())
    scheduler = follow(mended("epochs: [4]", "epochs: [4]"), model, optimizer)
    for number in range(4):
        epoch(scheduler, number)
    twin, twin_optimizer = copy.deepcopy((model, optimizer))
    pairs = {id(p): q for p, q in zip(model.parameters(), twin.parameters(), strict=True)}
    assert all(any(q is held for g in twin_optimizer.param_groups for held in g["params"]) for q in pairs.values())
    masked = follow(mended("epochs: [4]", "epochs: [99]"), twin, twin_optimizer)
    masked.on_epoch_begin(3)
    thin_losses = epoch(scheduler, 4, data(6))
    masked_losses = epoch(masked, 5, data(6))
    assert model.stem.out_channels == 4
    assert twin.stem.out_channels == 8
    assert thin_losses == pytest.approx(masked_losses, rel=1e-9)


def test_the_last_loss_may_be_alive_when_a_network_is_thinned() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    scheduler = follow(GOOD, model, optimizer)
    for number in range(4):
        epoch(scheduler, number)
    held = model(data(1)[0][0]).sum()  # a graph over the old shapes stays alive
    epoch(scheduler, 4)
    assert model.fc.weight.shape == (5, 4)
    assert held.isfinite()


def test_agp_goes_on_after_thinning_in_shares_of_the_original_size() -> None:
    text = mended("ending_epoch: 4", "ending_epoch: 8").replace("epochs: [4]", "epochs: [3, 8]")
    model = network()
    scheduler = follow(text, model, torch.optim.SGD(model.parameters(), lr=0.01))
    widths = []
    for number in range(9):
        epoch(scheduler, number)
        widths.append((model.stem.out_channels, model.conv1.out_channels))
    assert widths[2] == (8, 12)
    assert widths[3] == widths[7]
    assert widths[8] == (4, 6)
    assert len(scheduler.reports) == 2
    assert scheduler.masked_share == pytest.approx(0.5)


@pytest.mark.parametrize(("origin", "expected"), [("start", [0.4, 0.4, 0.1, 0.1]), ("window", [0.4, 0.4, 0.2, 0.2])])
def test_learning_rates_step_in_their_epochs_only(origin: str, expected: list[float]) -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.8)
    text = mended("{instance_name: step}", f"{{instance_name: step, args: {{count_from: {origin}}}}}")
    scheduler = follow(text, model, optimizer)
    rates = []
    for number in range(4):
        epoch(scheduler, number)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == expected


def test_a_scheduler_that_follows_a_metric_says_so() -> None:
    model = network()
    text = mended("class: StepLR, step_size: 1, gamma: 0.5", "class: ReduceLROnPlateau, patience: 0")
    scheduler = follow(text, model, torch.optim.SGD(model.parameters()))
    scheduler.on_epoch_begin(0)
    with pytest.raises(ConfigError, match=r"s\.yaml:14: policies\[2\]: it follows a metric"):
        scheduler.on_epoch_end(0)


def test_missing_files_are_named(tmp_path: Path) -> None:
    model = network()
    with pytest.raises(ConfigError, match=r"nothing\.yaml"):
        Scheduler.from_yaml(tmp_path / "nothing.yaml", model, torch.optim.SGD(model.parameters()), EXAMPLE)


def test_a_learning_rate_scheduler_begins_with_its_window() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.8)
    text = mended("class: StepLR, step_size: 1, gamma: 0.5", "class: LinearLR, start_factor: 0.5, total_iters: 2")
    text = text.replace("{instance_name: step}", "{instance_name: step, args: {count_from: window}}")
    scheduler = follow(text.replace("epochs: [0, 2]", "starting_epoch: 2\n    ending_epoch: 4"), model, optimizer)
    rates = []
    for number in range(5):
        scheduler.on_epoch_begin(number)
        rates.append(optimizer.param_groups[0]["lr"])
        epoch(scheduler, number)
    assert rates == pytest.approx([0.8, 0.8, 0.4, 0.6, 0.8])


def test_a_dim_may_come_down_to_its_last_unit_while_pruning_goes_on() -> None:
    text = mended("final_sparsity: 0.5", "final_sparsity: 0.95").replace("ending_epoch: 4", "ending_epoch: 9")
    model = network()
    scheduler = follow(text.replace("epochs: [4]", "epochs: [6]"), model, torch.optim.SGD(model.parameters(), lr=0.01))
    for number in range(9):
        epoch(scheduler, number)
    assert (model.stem.out_channels, model.conv1.out_channels) == (1, 1)
    assert scheduler.masked_share == pytest.approx(1 - 2 / 20)


def test_global_pruning_reaches_the_same_total_with_thinning_in_the_middle() -> None:
    text = mended('dims: "*"', 'dims: "*", scope: global').replace("ending_epoch: 4", "ending_epoch: 8")
    totals = []
    for thinning in ("[9]", "[3]"):
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        scheduler = follow(text.replace("epochs: [4]", f"epochs: {thinning}"), model, optimizer)
        for number in range(8):
            epoch(scheduler, number)
        totals.append(round(20 * scheduler.masked_share))
    assert totals == [10, 10]


def test_what_several_pruners_decided_for_a_dim_joins() -> None:
    text = mended("extensions:", "  more: {class: magnitude, dims: stem, sparsity: 0.25}\nextensions:")
    text += "  - pruner: {instance_name: more}\n    epochs: [3]\n"
    model = network()
    scheduler = follow(text, model, torch.optim.SGD(model.parameters(), lr=0.01))
    for number in range(4):
        scheduler.on_epoch_begin(number)
    assert len(scheduler.plan().dim("stem").leaving) == 4  # agp's half, not the quarter of the one that came last


def test_an_optimizer_that_cannot_be_cut_is_refused_before_training() -> None:
    model = network()
    with pytest.raises(ConfigError, match=r"s\.yaml:12: policies\[1\]: the network cannot be thinned while it trains"):
        follow(GOOD, model, torch.optim.LBFGS(model.parameters()))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("version: 1", "version: 2", "s.yaml:1: version: expected version 1, got 2"),
        ("epochs: [4]", "epochs: [4]\n    frequency: 2", "s.yaml:12: policies[1]: frequency belongs to starting_epoch"),
    ],
)
def test_versions_and_frequencies_are_checked(old: str, new: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_schedule(loads(mended(old, new), "s.yaml"), current())
    assert str(caught.value).startswith(message)


def test_a_scheduler_says_where_it_stands() -> None:
    model = network()
    scheduler = follow(GOOD, model, torch.optim.SGD(model.parameters(), lr=0.01))
    for number in range(5):
        epoch(scheduler, number)
    assert repr(scheduler) == "<Scheduler s.yaml: 50.0% of the units masked or gone, 1 thinnings>"
    assert repr(scheduler.reports[0]).startswith("<Report: ")
    assert len(repr(scheduler.reports[0].plan)) < 100
