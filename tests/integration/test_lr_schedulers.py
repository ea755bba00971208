"""Learning-rate schedulers by name: every class of torch, Distiller's two, and what YAML cannot say."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from secateur.config import loads
from secateur.errors import ConfigError
from secateur.plugins import PluginManager
from secateur.schedule.grammar import read_schedule
from secateur.schedule.lr import REFUSED, LRPolicy, lr_arguments, lr_classes
from secateur.schedule.multigamma import MultiStepMultiGammaLR


def read(entry: str) -> LRPolicy:
    text = f"lr_schedulers:\n  s: {entry}\npolicies:\n- lr_scheduler: {{instance_name: s}}\n  epochs: [0]\n"
    policy = read_schedule(loads(text, "s.yaml"), PluginManager.bare()).policies[0].instance
    assert isinstance(policy, LRPolicy)
    return policy


def optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1, momentum=0.9)


def rates(entry: str, epochs: int) -> list[float]:
    policy, made = read(entry), optimizer()
    policy.check(made)
    scheduler = policy.make(made)
    found = []
    for _ in range(epochs):
        found.append(made.param_groups[0]["lr"])
        made.step()
        scheduler.step()
    return found


ENTRIES = {
    "StepLR": "step_size: 2, gamma: 0.5",
    "MultiStepLR": "milestones: [1, 2]",
    "MultiStepMultiGammaLR": "milestones: [1, 2], gammas: [0.5, 0.1]",
    "ConstantLR": "factor: 0.5, total_iters: 2",
    "LinearLR": "total_iters: 3",
    "ExponentialLR": "gamma: 0.9",
    "PolynomialLR": "total_iters: 4, power: 2",
    "CosineAnnealingLR": "T_max: 4, eta_min: 1e-4",
    "CosineAnnealingWarmRestarts": "T_0: 2",
    "ReduceLROnPlateau": "mode: min, patience: 2, min_lr: [0.01]",
    "CyclicLR": "base_lr: 0.01, max_lr: 0.1",
    "OneCycleLR": "max_lr: 0.1, total_steps: 10, anneal_strategy: linear",
}


def test_every_class_of_torch_can_be_named_or_says_why_not() -> None:
    import torch.optim.lr_scheduler as module

    there = {name for name in module.__all__ if name != "LRScheduler"}
    assert there <= set(lr_classes()) | set(REFUSED)
    assert set(ENTRIES) == set(lr_classes())


@pytest.mark.parametrize("name", ENTRIES)
def test_every_class_is_read_and_made(name: str) -> None:
    policy = read(f"{{class: {name}, {ENTRIES[name]}}}")
    policy.check(optimizer())
    assert type(policy.make(optimizer())).__name__ == name
    assert set(policy.arguments) <= set(lr_arguments(lr_classes()[name]))


def test_factors_at_milestones_multiply() -> None:
    found = rates("{class: MultiStepMultiGammaLR, milestones: [30, 60, 80], gammas: [0.1, 0.1, 0.2]}", 100)
    expected = [0.1] * 30 + [0.01] * 30 + [0.001] * 20 + [0.0002] * 20
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.filterwarnings("ignore:The epoch parameter")
def test_factors_at_milestones_can_be_asked_for_any_epoch() -> None:
    made = optimizer()
    scheduler = MultiStepMultiGammaLR(made, [30, 60], [0.1, 0.5])
    made.step()
    for epoch, rate in ((59, 0.01), (60, 0.005), (0, 0.1), (30, 0.01)):
        scheduler.step(epoch)
        assert made.param_groups[0]["lr"] == pytest.approx(rate, rel=1e-12)


def test_polynomial_takes_both_spellings() -> None:
    theirs = rates("{class: PolynomialLR, T_max: 4, power: 2}", 5)
    assert theirs == pytest.approx([0.1, 0.05625, 0.025, 0.00625, 0.0], abs=1e-12)  # 0.1 * (1 - t/4)^2
    assert theirs == rates("{class: PolynomialLR, total_iters: 4, power: 2}", 5)


BAD: dict[str, tuple[str, str]] = {
    "unknown": ("{class: StepRL}", "s.yaml:2: lr_schedulers.s.class: no learning-rate scheduler named 'StepRL'; did"),
    "base": ("{class: LRScheduler}", "s.yaml:2: lr_schedulers.s.class: no learning-rate scheduler named 'LRScheduler'"),
    "lambda": (
        "{class: LambdaLR, lr_lambda: 'lambda epoch: 0.9'}",
        "s.yaml:2: lr_schedulers.s.class: LambdaLR takes a Python function, which a schedule cannot say; write Multi",
    ),
    "sequence": (
        "{class: SequentialLR, schedulers: [a, b], milestones: [3]}",
        "s.yaml:2: lr_schedulers.s.class: SequentialLR takes other schedulers; give each an entry of its own under "
        "lr_schedulers; bind each to its epochs by a policy",
    ),
    "key": (
        "{class: StepLR, stepsize: 3}",
        "s.yaml:2: lr_schedulers.s: unknown key 'stepsize'; did you mean 'step_size'? (known: gamma, step_size)",
    ),
    "missing": ("{class: StepLR}", "s.yaml:2: lr_schedulers.s: required key missing: 'step_size'"),
    "type": (
        "{class: StepLR, step_size: soon}",
        "s.yaml:2: lr_schedulers.s.step_size: expected an integer, got 'soon'",
    ),
    "element": (
        "{class: MultiStepLR, milestones: [1, x]}",
        "s.yaml:2: lr_schedulers.s.milestones[1]: expected an integer, got 'x'",
    ),
    "choice": (
        "{class: ReduceLROnPlateau, mode: mni}",
        "s.yaml:2: lr_schedulers.s.mode: unknown value 'mni'; did you mean 'min'? (known: max, min)",
    ),
    "given": (
        "{class: StepLR, step_size: 3, last_epoch: 3}",
        "s.yaml:2: lr_schedulers.s: 'last_epoch' is given by Secateur; leave it out",
    ),
    "function": (
        "{class: CyclicLR, base_lr: 0.1, max_lr: 0.2, scale_fn: f}",
        "s.yaml:2: lr_schedulers.s: unknown key 'scale_fn'; did you mean 'scale_mode'?",
    ),
    "both spellings": (
        "{class: PolynomialLR, T_max: 3, total_iters: 3}",
        "s.yaml:2: lr_schedulers.s: T_max and total_iters say the same; keep one",
    ),
    "falling milestones": (
        "{class: MultiStepMultiGammaLR, milestones: [3, 2], gammas: [1, 1]}",
        "s.yaml:2: lr_schedulers.s: milestones must ascend, got 3, 2",
    ),
    "gammas": (
        "{class: MultiStepMultiGammaLR, milestones: [3], gammas: [1, 1]}",
        "s.yaml:2: lr_schedulers.s: milestones and gammas must be equally long, got 1 milestones and 2 gammas",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_mistake_is_one_error_at_its_key(name: str) -> None:
    entry, message = BAD[name]
    with pytest.raises(ConfigError) as caught:
        read(entry)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("arguments", "message"), [(([3, 2], [1.0, 1.0]), "must ascend"), (([3], [1.0, 1.0]), "equally long")]
)
def test_the_class_itself_refuses_lists_that_do_not_belong_together(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MultiStepMultiGammaLR(optimizer(), *arguments)
