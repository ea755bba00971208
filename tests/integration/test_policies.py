"""Policies with arguments: what is masked when, what is put back, and that a schedule can go on from its state."""

from __future__ import annotations

import copy
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from attrs import field, frozen
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from secateur.errors import ConfigError, PlanError
from secateur.pruning.base import Decision, Moment, Pruner
from secateur.pruning.naming import Names
from secateur.pruning.regularizer import Regularizer
from secateur.pruning.units import UnitPruner
from secateur.schedule.policy import Policy, PolicyArgs, Schedule, Window
from secateur.schedule.scheduler import Scheduler
from secateur.schedule.thinner import Thinner
from secateur_pruners.ranked import RankedPruner
from secateur_pruners.regularizers.growing import GrowingRegularizer

EXAMPLE = (torch.zeros(2, 3, 8, 8, dtype=torch.float64),)


class Net(nn.Module):
    """Two convolutions with batch norm, and a classifier; float64."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.fc = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu())).relu()
        return self.fc(x.mean((2, 3)))


def network() -> Net:
    torch.manual_seed(0)
    model = Net().double()
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model


def batch(seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(4, 3, 8, 8, generator=generator, dtype=torch.float64)
    return inputs, torch.randint(5, (4,), generator=generator)


@frozen(kw_only=True, eq=False)
class Elements(Pruner):
    """Masks the elements of some parameters that are above zero; notes when it was asked."""

    name: ClassVar[str] = "elements"
    weights: tuple[str, ...] = ("conv2.weight",)
    asked: list[Moment] = field(factory=list)

    def decide(self, network: Any, moment: Moment) -> Decision:
        self.asked.append(moment)
        network.memory["asked"] = network.memory.get("asked", 0) + 1
        return Decision(factors={name: network.parameters[name].detach() <= 0 for name in self.weights})


@frozen(kw_only=True)
class FirstUnits(Pruner):
    """Lets the first units of the first dim leave, whole or by weight only."""

    name: ClassVar[str] = "first"
    count: int = 2
    whole: bool = True

    def decide(self, network: Any, moment: Moment) -> Decision:
        factor = (torch.arange(8) >= self.count).reshape(8, 1, 1, 1)
        factors = {} if self.whole else {"conv1.weight": factor}
        return Decision(units={0: np.arange(self.count)}, factors=factors, whole=self.whole)


@frozen(kw_only=True)
class Ranked(UnitPruner):
    """The lowest units by their weights."""

    name: ClassVar[str] = "ranked_here"


@frozen(kw_only=True)
class RandomElements(Pruner):
    """Masks a random half of a parameter."""

    name: ClassVar[str] = "random_elements"

    def decide(self, network: Any, moment: Moment) -> Decision:
        shape = network.parameters["conv2.weight"].shape
        return Decision(factors={"conv2.weight": torch.rand(shape, generator=network.generator) < 0.5})


@frozen(kw_only=True)
class Small(Regularizer):
    """Adds the squares of a parameter, and masks what is small."""

    name: ClassVar[str] = "small"
    strength: float = 0.1
    threshold: float = 0.05

    def loss(self, network: Any, moment: Moment) -> Tensor:
        return self.strength * network.parameters["fc.weight"].square().sum()

    def decide(self, network: Any, moment: Moment) -> Decision:
        return Decision(factors={"fc.weight": network.parameters["fc.weight"].detach().abs() > self.threshold})


def policy(instance: Any, epochs: tuple[int, ...] = (0,), **args: Any) -> Policy:
    kind: Any = "extension" if isinstance(instance, Thinner) else "pruner"
    kind = "regularizer" if isinstance(instance, Regularizer) else kind
    name = instance.name
    return Policy(
        kind=kind, name=name, instance=instance, window=Window(epochs=epochs), where="s.yaml:1", args=PolicyArgs(**args)
    )


def follow(model: nn.Module, *policies: Policy, lr: float = 0.1, momentum: float = 0.9, **more: Any) -> Scheduler:
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum)
    return Scheduler(Schedule(source="s.yaml", policies=policies), model, optimizer, EXAMPLE, **more)


def minibatch(scheduler: Scheduler, epoch: int, step: int, steps: int = 2) -> float:
    scheduler.on_minibatch_begin(epoch, step, steps)
    inputs, targets = batch(epoch * steps + step)
    scheduler.optimizer.zero_grad()
    loss = scheduler.before_backward(cross_entropy(scheduler.model(inputs), targets))
    loss.backward()
    scheduler.optimizer.step()
    scheduler.on_minibatch_end(epoch, step, steps)
    return float(loss.detach())


def run(scheduler: Scheduler, epochs: range, steps: int = 2) -> list[float]:
    losses = []
    for epoch in epochs:
        scheduler.on_epoch_begin(epoch)
        losses += [minibatch(scheduler, epoch, step, steps) for step in range(steps)]
        scheduler.on_epoch_end(epoch, metrics={"loss": losses[-1]})
    return losses


def test_factors_hold_beside_masked_units() -> None:
    model = network()
    positive = model.conv2.weight.detach() > 0
    run(follow(model, policy(Elements()), policy(FirstUnits())), range(3))
    assert not model.conv2.weight.detach()[positive].any()
    assert not model.conv2.weight.detach()[:, :2].any()
    assert model.conv2.weight.detach()[:, 2:][~positive[:, 2:]].all()
    for tensor in (model.conv1.weight, model.conv1.bias, model.bn1.weight, model.bn1.bias, model.bn1.running_mean):
        assert not tensor.detach()[:2].any()
        assert tensor.detach()[2:].all()


def test_factors_are_cut_when_units_leave_and_training_goes_on_the_same() -> None:
    masked, thin = network(), network()
    pruners = policy(Elements()), policy(FirstUnits())
    first, second = follow(masked, *pruners), follow(thin, *pruners, policy(Thinner(), epochs=(1,)))
    expected, losses = run(first, range(4)), run(second, range(4))
    assert thin.conv2.weight.shape == (6, 6, 3, 3)
    assert losses == pytest.approx(expected, rel=1e-9)
    assert torch.allclose(thin.conv2.weight, masked.conv2.weight[:, 2:], rtol=1e-9, atol=1e-12)


def test_masks_for_the_forward_only_are_taken_back_before_the_step() -> None:
    model, plain = network(), network()
    scheduler = follow(
        model, policy(Elements(), mask_on_forward_only=True, use_double_copies=True), lr=0.1, momentum=0.0
    )
    scheduler.on_epoch_begin(0)
    minibatch(scheduler, 0, 0)
    before = plain.conv2.weight.detach().clone()
    inputs, targets = batch(0)
    plain.conv2.weight.data *= before <= 0
    cross_entropy(plain(inputs), targets).backward()
    assert torch.allclose(model.conv2.weight, before - 0.1 * plain.conv2.weight.grad, rtol=1e-12)
    with scheduler.masked():
        assert not model.conv2.weight.detach()[before > 0].any()
    assert model.conv2.weight.detach()[before > 0].all()


def test_without_copies_the_optimizer_moves_what_was_masked_from_zero_on() -> None:
    model, before = network(), network().conv2.weight.detach() > 0
    scheduler = follow(model, policy(Elements(), mask_on_forward_only=True), lr=0.1, momentum=0.0)
    scheduler.on_epoch_begin(0)
    minibatch(scheduler, 0, 0)
    assert model.conv2.weight.grad is not None
    assert torch.equal(model.conv2.weight.detach()[before], -0.1 * model.conv2.weight.grad[before])


def test_masked_gradients_leave_masked_weights_where_they_were() -> None:
    model, before = network(), network().conv2.weight.detach()
    args = {"mask_on_forward_only": True, "use_double_copies": True, "mask_gradients": True}
    scheduler = follow(model, policy(Elements(), **args), momentum=0.0)
    scheduler.on_epoch_begin(0)
    minibatch(scheduler, 0, 0)
    assert torch.equal(model.conv2.weight.detach()[before > 0], before[before > 0])
    assert (model.conv2.weight.detach()[before <= 0] != before[before <= 0]).all()


@pytest.mark.parametrize("keep", [True, False])
def test_masks_for_the_forward_only_outlive_their_window_if_they_are_to_be_kept(keep: bool) -> None:
    model, before = network(), network().conv2.weight.detach() > 0
    args = {"mask_on_forward_only": True, "use_double_copies": True, "keep_mask": keep}
    scheduler = follow(model, policy(Elements(), **args))
    run(scheduler, range(2))
    assert bool(model.conv2.weight.detach()[before].any()) != keep


def test_a_pruner_is_asked_again_within_an_epoch() -> None:
    pruner = Elements()
    run(follow(network(), policy(pruner, epochs=(1,), mini_batch_pruning_frequency=2)), range(3), steps=5)
    assert [(moment.epoch, moment.step) for moment in pruner.asked] == [(1, 0), (1, 1), (1, 3)]  # mini-batches 6 and 8


def test_the_first_mini_batch_may_be_left_alone() -> None:
    pruner = Elements()
    run(follow(network(), policy(pruner, epochs=(0, 1), skip_first_minibatch=True)), range(2))
    assert [(moment.epoch, moment.step) for moment in pruner.asked] == [(0, 1), (1, 1)]


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("keys", [{"criterion": "taylor"}, {"criterion": "apoz"}, {}])
def test_a_pruner_that_waits_decides_in_an_epoch_of_one_mini_batch_too(keys: dict[str, Any], steps: int) -> None:
    pruner = policy(RankedPruner(sparsity=0.5, **keys), epochs=(0,), skip_first_minibatch=not keys)
    thinner = Policy(kind="extension", name="t", instance=Thinner(), window=Window(epochs=(0,)), where="")
    scheduler = follow(network(), pruner, thinner)
    run(scheduler, range(2), steps)
    assert [len(dim) for dim in scheduler.dims] == [4, 3]
    assert len(scheduler.reports) == 1


def test_masks_may_be_forgotten_at_the_end_of_each_mini_batch() -> None:
    model = network()
    args = {"mask_on_forward_only": True, "use_double_copies": True, "discard_masks_at_minibatch_end": True}
    scheduler = follow(model, policy(FirstUnits(), **args), lr=0.0)
    scheduler.on_epoch_begin(0)
    minibatch(scheduler, 0, 0)
    assert [len(units) for units in scheduler.leaving] == [0, 0]
    assert torch.equal(model.conv1.weight, network().conv1.weight)


@pytest.mark.parametrize("keep", [True, False])
def test_regularizers_add_to_the_loss_and_mask_what_is_small(keep: bool) -> None:
    model = network()
    scheduler = follow(model, policy(Small(), keep_mask=keep))
    scheduler.on_epoch_begin(0)
    given = torch.tensor(1.0, dtype=torch.float64)
    added = scheduler.before_backward(given)
    assert float(given) == 1.0
    assert float(added.detach()) == pytest.approx(1 + 0.1 * float(model.fc.weight.detach().square().sum()))
    minibatch(scheduler, 0, 0)
    small = model.fc.weight.detach() == 0
    assert 0 < int(small.sum()) < small.numel()
    assert float(model.fc.weight.detach()[~small].abs().min()) > 0.05
    scheduler.on_epoch_end(0)
    assert scheduler.before_backward(given) is given
    minibatch(scheduler, 1, 0)
    assert not model.fc.weight.detach()[small].any() if keep else model.fc.weight.detach()[small].any()


def test_without_an_optimizer_nothing_can_be_followed() -> None:
    with pytest.raises(ConfigError, match=r"s\.yaml: expected a torch\.optim\.Optimizer, got NoneType"):
        Scheduler(Schedule(source="s.yaml", policies=()), network(), None, EXAMPLE)


def test_what_cannot_gather_refuses_a_criterion_of_mini_batches() -> None:
    with pytest.raises(
        ConfigError, match=r"s\.yaml:1: the criterion 'apoz' scores what mini-batches show, which growing"
    ):
        follow(network(), policy(GrowingRegularizer(sparsity=0.5, criterion="apoz")))


def test_averages_are_thinned_along() -> None:
    model = network()
    average = torch.optim.swa_utils.AveragedModel(model)
    scheduler = follow(model, policy(FirstUnits()), policy(Thinner(), epochs=(1,)), also=[average])
    run(scheduler, range(2))
    average.update_parameters(model)
    assert average.module.conv1.weight.shape == model.conv1.weight.shape == (6, 3, 3, 3)


def test_units_masked_by_weight_only_leave_all_the_same() -> None:
    model = network()
    scheduler = follow(model, policy(FirstUnits(whole=False)), policy(Thinner(), epochs=(1,)))
    scheduler.on_epoch_begin(0)
    assert not model.conv1.weight.detach()[:2].any()
    assert model.bn1.bias.detach()[:2].all()
    scheduler.on_epoch_begin(1)
    scheduler.on_minibatch_begin(1)
    assert model.conv1.weight.shape == (6, 3, 3, 3)
    assert scheduler.reports[0].difference is not None


def test_ranking_may_look_at_weights_with_their_batch_norm() -> None:
    model = network()
    model.conv1.weight.data[:] = torch.arange(1, 9).reshape(8, 1, 1, 1)
    model.bn1.weight.data[:] = torch.tensor([1, 1, 1, 1, 1, 1, 0.01, 0.01])
    ranked = Ranked(dims="conv1", sparsity=0.25)
    plain = follow(copy.deepcopy(model), policy(ranked))
    plain.on_epoch_begin(0)
    assert plain.leaving[0].tolist() == [0, 1]
    folded = follow(model, policy(ranked, fold_batchnorm=True))
    folded.on_epoch_begin(0)
    assert folded.leaving[0].tolist() == [6, 7]


def everything(**more: Any) -> tuple[Net, Scheduler]:
    model = network()
    policies = [
        policy(RandomElements(), epochs=(0, 1, 2, 3), mini_batch_pruning_frequency=2),
        policy(FirstUnits(), epochs=(1, 2)),
        policy(Elements(weights=("fc.weight",)), epochs=(2, 3), mask_on_forward_only=True, use_double_copies=True),
        policy(Small(threshold=0.01), epochs=(1, 3), keep_mask=True),
        policy(Thinner(), epochs=(2,)),
    ]
    return model, follow(model, *policies, **more)


@pytest.mark.parametrize("stop", range(1, 8))
def test_a_schedule_goes_on_from_its_state_as_if_it_had_not_stopped(stop: int) -> None:
    whole_model, whole = everything()
    for epoch in range(4):
        whole.on_epoch_begin(epoch)
        for step in range(2):
            minibatch(whole, epoch, step)
            if epoch * 2 + step + 1 == stop:
                state, weights = copy.deepcopy(whole.state_dict()), copy.deepcopy(whole_model)
                optimizer_state = copy.deepcopy(whole.optimizer.state_dict())
        whole.on_epoch_end(epoch)
    optimizer = torch.optim.SGD(weights.parameters(), lr=0.1, momentum=0.9)
    optimizer.load_state_dict(optimizer_state)
    later = Scheduler(whole.schedule, weights, optimizer, EXAMPLE, state=state)
    for epoch in range((stop - 1) // 2, 4):
        if epoch * 2 >= stop:
            later.on_epoch_begin(epoch)
        for step in range(2):
            if epoch * 2 + step >= stop:
                minibatch(later, epoch, step)
        later.on_epoch_end(epoch)
    assert weights.conv1.weight.shape == (6, 3, 3, 3)
    for name, tensor in whole_model.state_dict().items():
        assert torch.equal(tensor, weights.state_dict()[name]), name
    assert later.runs[0].view.memory == whole.runs[0].view.memory


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 9}, "expected the state of a scheduler, version 1, got 9"),
        ({"policies": []}, r"the state is of a schedule with the policies \[\], this one has"),
    ],
)
def test_a_state_that_does_not_fit_is_refused(change: dict[str, Any], message: str) -> None:
    _, scheduler = everything()
    state = scheduler.state_dict()
    with pytest.raises(ConfigError, match=message):
        scheduler.load_state_dict(state | change)


def test_a_state_of_another_network_is_refused() -> None:
    _, scheduler = everything()
    run(scheduler, range(2))
    state = scheduler.state_dict()
    _, thin = everything()
    run(thin, range(3))
    with pytest.raises(ConfigError, match=r"factor of shape \(6, 8, 3, 3\), it has \(6, 6, 3, 3\)"):
        thin.load_state_dict(state)


@frozen(kw_only=True)
class Failing(Pruner):
    """Cannot decide."""

    name: ClassVar[str] = "failing"

    def decide(self, network: Any, moment: Moment) -> Decision:
        raise PlanError("it cannot decide", where="here")


def test_a_pruner_that_fails_leaves_all_as_it_was() -> None:
    model = network()
    scheduler = follow(model, policy(FirstUnits()), policy(Failing()))
    with pytest.raises(ConfigError, match=r"s\.yaml:1: here: it cannot decide"):
        scheduler.on_epoch_begin(0)
    assert [len(units) for units in scheduler.leaving] == [0, 0]
    assert torch.equal(model.conv1.weight, network().conv1.weight)


FORWARD: dict[str, Any] = {"mask_on_forward_only": True, "use_double_copies": True}


def everywhere(scheduler: Scheduler, *callbacks: str) -> None:
    """Call some callbacks, each for the second of two epochs if it is called again."""
    called: list[str] = []
    for name in callbacks:
        epoch = called.count(name) if name.startswith("on_epoch") else called.count("on_epoch_begin") - 1
        step = called.count(name) if not name.startswith("on_epoch") else 0
        getattr(scheduler, name)(epoch, *(() if name.startswith("on_epoch") else (step, 4)))
        called.append(name)


@pytest.mark.parametrize(
    "callbacks",
    [
        ("on_epoch_begin", "on_minibatch_begin", "on_minibatch_end"),
        ("on_epoch_begin", "on_minibatch_begin", "on_minibatch_begin", "on_minibatch_end"),
        ("on_epoch_begin", "on_minibatch_begin", "on_epoch_begin", "on_minibatch_begin", "on_minibatch_end"),
        ("on_epoch_begin", "on_minibatch_begin", "on_epoch_end"),
    ],
)
def test_weights_come_back_where_the_loop_left_out_the_step_or_the_end(callbacks: tuple[str, ...]) -> None:
    model = network()
    first, second = FirstUnits(), Elements(weights=("conv1.weight",))
    each = {**FORWARD, "mini_batch_pruning_frequency": 1}
    scheduler = follow(model, policy(first, (0, 1), **each), policy(second, (0, 1), **each))
    everywhere(scheduler, *callbacks)
    for name, parameter in network().named_parameters():
        assert torch.equal(model.get_parameter(name), parameter), name


def test_weights_that_were_left_masked_come_back_before_units_leave() -> None:
    model = network()
    scheduler = follow(
        model,
        policy(Elements(weights=("fc.weight",)), (0, 1), **FORWARD),
        policy(FirstUnits(), (1,)),
        policy(Thinner(), (1,)),
    )
    everywhere(
        scheduler, "on_epoch_begin", "on_minibatch_begin", "on_epoch_begin", "on_minibatch_begin", "on_minibatch_end"
    )
    assert model.conv1.weight.shape[0] == 6
    assert torch.equal(model.fc.weight, network().fc.weight)


def test_evaluation_between_forward_and_step_leaves_the_masks_on() -> None:
    model = network()
    scheduler = follow(model, policy(Elements(), (0, 1), **FORWARD))
    everywhere(scheduler, "on_epoch_begin", "on_minibatch_begin")
    masked = model.conv2.weight.detach().clone()
    with scheduler.masked(), scheduler.masked():
        assert torch.equal(model.conv2.weight, masked)
    assert torch.equal(model.conv2.weight, masked)
    assert not torch.equal(masked, network().conv2.weight)
    scheduler.on_minibatch_end(0)
    assert torch.equal(model.conv2.weight, network().conv2.weight)


@frozen(kw_only=True)
class Late(Pruner):
    """Cannot decide but at the begin of an epoch."""

    name: ClassVar[str] = "late"

    def decide(self, network: Any, moment: Moment) -> Decision:
        if moment.step:
            raise PlanError("too late", where="here")
        return Decision()


def test_a_pruner_that_fails_within_an_epoch_leaves_all_as_it_was() -> None:
    model, elements = network(), Elements()
    each = {"mini_batch_pruning_frequency": 1}
    scheduler = follow(model, policy(elements, (0,), **each), policy(Late(), (0,), **each))
    everywhere(scheduler, "on_epoch_begin", "on_minibatch_begin")
    before = scheduler.runs[0].decision
    with pytest.raises(ConfigError, match="too late"):
        scheduler.on_minibatch_begin(0, 1, 4)
    assert len(elements.asked) == 2
    assert scheduler.runs[0].decision is before
    assert scheduler.runs[0].view.memory == {"asked": 1}


def test_names_of_wrapped_models_are_found_with_and_without_the_wrappers() -> None:
    names = Names(["module.a.weight", "b.module.weight", "b.bias"])
    assert names.resolve("a.weight") == ["module.a.weight"]
    assert names.resolve("module.b.weight") == ["b.module.weight"]
    assert names.resolve("*.weight") == ["module.a.weight", "b.module.weight"]
    assert names.resolve("module.b.*") == ["b.module.weight", "b.bias"]
    with pytest.raises(PlanError, match=r"^weights: 'module\.c' matches no parameter; "):
        names.resolve("module.c")


def test_what_is_masked_does_not_count_in_the_norm_of_gradients() -> None:
    model = network()
    scheduler = follow(model, policy(Elements()), policy(FirstUnits()))
    scheduler.on_epoch_begin(0)
    scheduler.on_minibatch_begin(0, 0, 2)
    inputs, targets = batch(0)
    cross_entropy(model(inputs), targets).backward()
    masked = {name: parameter.detach() == 0 for name, parameter in model.named_parameters()}
    before = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    assert any(before[name][zero].any() for name, zero in masked.items())  # single weights have gradients
    scheduler.mask_gradients()
    for name, parameter in model.named_parameters():
        assert not parameter.grad[masked[name]].any(), name
        assert torch.equal(parameter.grad[~masked[name]], before[name][~masked[name]]), name


def test_gradients_of_forward_masks_are_masked_only_if_the_policy_says_so() -> None:
    for said in (False, True):
        model = network()
        scheduler = follow(model, policy(Elements(), mask_on_forward_only=True, mask_gradients=said))
        scheduler.on_epoch_begin(0)
        scheduler.on_minibatch_begin(0, 0, 2)
        inputs, targets = batch(0)
        zero = model.conv2.weight.detach() == 0
        cross_entropy(model(inputs), targets).backward()
        scheduler.mask_gradients()
        assert bool(model.conv2.weight.grad[zero].any()) is not said
