"""Regularizers in schedules: Distiller's names, units that become small and leave, runs that go on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from secateur.errors import ConfigError
from secateur.schedule.scheduler import Scheduler

LASSO = """
version: 1
regularizers:
  small_channels:
    class: GroupLassoRegularizer
    reg_regims:
      module.2.weight: [0.1, Channels]
    threshold_criteria: Mean_Abs
extensions:
  thinner:
    class: ChannelRemover
    thinning_func_str: remove_channels
    arch: any
    dataset: cifar10
policies:
  - regularizer:
      instance_name: small_channels
      args:
        keep_mask: True
    starting_epoch: 0
    ending_epoch: 2
    frequency: 1
  - extension:
      instance_name: thinner
    epochs: [2]
"""

GROWING = """
regularizers:
  grow: {class: growing, sparsity: 0.5, dims: "0", delta: 0.5, every: 3, ceiling: 1.0}
extensions:
  thinner: {class: StructureRemover}
policies:
  - regularizer: {instance_name: grow, args: {keep_mask: true}}
    starting_epoch: 0
    ending_epoch: 3
  - extension: {instance_name: thinner}
    epochs: [3]
"""

SECTIONS = {
    "l1": "{class: L1Regularizer, reg_regims: {0.weight: 0.1}}",
    "l1 masks": "{class: l1, reg_regims: {0.weight: 0.1}, threshold_criteria: max}",
    "variance": "{class: GroupVarianceRegularizer, reg_regims: {2.weight: [0.000008, Channels]}}",
    "none": "{class: GroupLassoRegularizer, reg_regims: {2.weight: [0.1, 2D]}, threshold_criteria: None}",
    "both": "{class: GroupLassoRegularizer, reg_regims: {2.weight: [0.1, Channels+4D]}, threshold_criteria: Max}",
    "slimming": "{class: bn_l1, strength: 0.1, weights: 0.bias}",
    "units": "{class: unit_lasso, strength: 0.1}",
    "coupled": "{class: group_norm, strength: 0.1, dims: ['0', '2']}",
}


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 6, 3),
        nn.ReLU(),
        nn.Conv2d(6, 4, 1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 2),
    )


def scheduler(text: str, model: nn.Module, folder: Path) -> Scheduler:
    path = folder / "s.yaml"
    path.write_text(text)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    return Scheduler.from_yaml(path, model, optimizer, torch.zeros(1, 2, 5, 5))


def run(follows: Scheduler, epochs: range, steps: int = 2) -> list[float]:
    losses = []
    for epoch in epochs:
        follows.on_epoch_begin(epoch)
        for step in range(steps):
            follows.on_minibatch_begin(epoch, step, steps)
            generator = torch.Generator().manual_seed(10 * epoch + step)
            out: Tensor = follows.model(torch.randn(4, 2, 5, 5, generator=generator))
            loss = follows.before_backward(out.square().mean())
            losses.append(loss.item())
            follows.optimizer.zero_grad()
            loss.backward()
            follows.optimizer.step()
            follows.on_minibatch_end(epoch, step, steps)
        follows.on_epoch_end(epoch, metrics={"loss": 1.0})
    return losses


def test_channels_that_group_lasso_made_small_leave(tmp_path: Path) -> None:
    model = network()
    with torch.no_grad():
        model[2].weight.copy_(torch.ones(4, 6, 1, 1))
        model[2].weight[:, [1, 4]] = 0.05
    follows = scheduler(LASSO, model, tmp_path)
    run(follows, range(2))
    assert not model[2].weight[:, [1, 4]].any()
    assert not model[0].weight[[1, 4]].any()
    assert model[0].weight[[0, 2, 3, 5]].all()
    run(follows, range(2, 3))
    (report,) = follows.reports
    assert report is not None
    assert model[0].out_channels == model[2].in_channels == 4
    run(follows, range(3, 5))


def test_growing_ends_with_units_that_leave(tmp_path: Path) -> None:
    model = network()
    ranks = model[0].weight.detach().abs().sum((1, 2, 3)).argsort()
    follows = scheduler(GROWING, model, tmp_path)
    run(follows, range(1))
    assert model[0].weight.all()  # two of three steps
    run(follows, range(1, 3))
    assert not model[0].weight[ranks[:3]].any()
    run(follows, range(3, 4))
    assert model[0].out_channels == 3


@pytest.mark.parametrize(
    "kind", [GROWING, LASSO.replace("GroupLassoRegularizer", "group_lasso").replace("Mean_Abs", "max")]
)
def test_a_run_that_goes_on_is_the_run_that_did_not_stop(kind: str, tmp_path: Path) -> None:
    whole = network()
    losses = run(scheduler(kind, whole, tmp_path), range(4))
    first = network()
    follows = scheduler(kind, first, tmp_path)
    before = run(follows, range(1))
    second = network()
    second.load_state_dict(first.state_dict())
    goes_on = scheduler(kind, second, tmp_path)
    goes_on.optimizer.load_state_dict(follows.optimizer.state_dict())
    goes_on.load_state_dict(follows.state_dict())
    assert before + run(goes_on, range(1, 4)) == losses


@pytest.mark.parametrize("section", SECTIONS)
def test_every_regularizer_trains(section: str, tmp_path: Path) -> None:
    text = f"regularizers:\n  r: {SECTIONS[section]}\npolicies:\n"
    text += "  - regularizer: {instance_name: r}\n    starting_epoch: 0\n    ending_epoch: 2\n"
    plain = run(scheduler("version: 1\n", network(), tmp_path), range(1), steps=1)
    follows = scheduler(text, network(), tmp_path)
    losses = run(follows, range(3))
    assert losses[0] > plain[0]
    assert all(parameter.isfinite().all() for parameter in follows.model.parameters())


@pytest.mark.parametrize(
    ("section", "message"),
    [
        (
            "{class: GroupLassoRegularizer, reg_regims: {2.weight: [0.1, Channel]}}",
            "s.yaml:2: regularizers.r.reg_regims: of '2.weight': no group type named 'Channel'; did you mean",
        ),
        (
            "{class: L1Regularizer, reg_regims: {9.weight: 0.1}}",
            "s.yaml:4: policies[0]: reg_regims['9.weight']: '9.weight' matches no parameter; did you mean",
        ),
        (
            "{class: GroupLassoRegularizer, reg_regims: {0.bias: [0.1, Filters]}}",
            "s.yaml:4: policies[0]: 0.bias: it has 1 axis, and the groups 'filters' need at least 2; groups of",
        ),
        ("{class: group_laso, reg_regims: {0.weight: [0.1, rows]}}", "no regularizer named 'group_laso'"),
        (
            "{class: group_lasso, reg_regims: {0.weight: [0.1]}}",
            "s.yaml:2: regularizers.r.reg_regims['0.weight']: expected a list of a number and a string, got",
        ),
    ],
)
def test_mistakes_are_found_before_training(section: str, message: str, tmp_path: Path) -> None:
    text = f"regularizers:\n  r: {section}\npolicies:\n"
    text += "  - regularizer: {instance_name: r}\n    starting_epoch: 0\n    ending_epoch: 2\n"
    with pytest.raises(ConfigError) as caught:
        scheduler(text, network(), tmp_path)
    assert message in str(caught.value)
