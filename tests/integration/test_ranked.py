"""Pruners of units: what they aim at, how many leave, drop filter and random levels; Distiller's published counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from attrs import evolve
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import secateur
from secateur.config import loads
from secateur.measure.counts import macs
from secateur.plugins import current
from secateur.pruning.base import Decision, Moment
from secateur.pruning.isomorphic import isomorphic_groups
from secateur.pruning.selection import select_counts
from secateur.testing.examples import Residual
from secateur.testing.pruners import Shown
from secateur.testing.values import randomised
from secateur.thinning.planner import couple, make_plan
from secateur_pruners.bernoulli import BernoulliPruner
from secateur_pruners.random_level import RandomLevelPruner
from secateur_pruners.ranked import RankedPruner

NOW = Moment(epoch=0, start=0, end=1)
STEM, LEFT = 0, 1


@pytest.fixture(scope="module")
def network() -> Shown:
    """The stem and the right branch are coupled (8 units), the left branch is alone (12)."""
    model = randomised(Residual())
    found = Shown(model, couple(model, (torch.ones(2, 3, 5, 5, dtype=torch.float64),)))
    assert [(dim.name, len(dim)) for dim in found.dims] == [("stem", 8), ("left", 12)]
    return found


def ranked(network: Any, **keys: Any) -> Decision:
    return RankedPruner(**{"sparsity": 0.5, **keys}).decide(network, NOW)


def lowest(count: int, *weights: Tensor, axis: int = 0) -> list[int]:
    norms = sum(w.detach().movedim(axis, 0).flatten(1).abs().sum(1) for w in weights)
    return sorted(norms.argsort()[:count].tolist())  # type: ignore[union-attr]


# -- what is pruned -----------------------------------------------------------------------------------------------


def test_coupled_weights_share_one_decision_over_the_listed_places(network: Shown) -> None:
    stem, right = network.parameters["stem.weight"], network.parameters["right.weight"]
    both = ranked(network, weights=["right.weight", "stem.weight"])
    assert {dim: list(units) for dim, units in both.units.items()} == {STEM: lowest(4, stem, right)}
    assert list(ranked(network, weights="stem.weight").units[STEM]) == lowest(4, stem)
    assert lowest(4, stem) != lowest(4, stem, right)
    assert both.whole
    assert not both.factors


def test_the_leader_is_the_first_listed(network: Shown) -> None:
    for first, second in (("stem.weight", "right.weight"), ("right.weight", "stem.weight")):
        made = ranked(network, weights=[first, second], group_dependency="Leader")
        assert list(made.units[STEM]) == lowest(4, network.parameters[first])


def test_channels_are_axis_one(network: Shown) -> None:
    made = ranked(network, weights="right.weight", structure="channels")
    assert {dim: list(units) for dim, units in made.units.items()} == {
        LEFT: lowest(6, network.parameters["right.weight"], axis=1)
    }


def test_weights_in_different_dims_are_ranked_each_by_itself(network: Shown) -> None:
    made = ranked(network, weights=["left.weight", "module.stem.weight"], sparsity=0.3)
    assert [len(made.units[dim]) for dim in (STEM, LEFT)] == [int(0.3 * 8), int(0.3 * 12)]


def test_a_dim_answers_to_globs_and_no_name_means_all(network: Shown) -> None:
    assert list(ranked(network, dims="left*").units) == [LEFT]
    assert list(ranked(network).units) == [STEM, LEFT]


class Joined(nn.Module):
    """A convolution whose channels lie in two dims and whose filters are the outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 6, 1), nn.Conv2d(10, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.head(torch.cat([self.a(x), self.b(x)], 1))
        return made


def test_an_axis_may_lie_in_several_dims() -> None:
    model = randomised(Joined())
    made = ranked(
        Shown(model, couple(model, (torch.ones(1, 3, 2, 2, dtype=torch.float64),))),
        weights="head.weight",
        structure="channels",
        mask="weight",
    )
    head = model.head.weight
    first, second = lowest(2, head[:, :4], axis=1), lowest(3, head[:, 4:], axis=1)
    assert [list(units) for units in made.units.values()] == [first, second]
    gone = (~made.factors["head.weight"]).nonzero()[:, 1].tolist()
    assert gone == first + [4 + unit for unit in second]
    assert made.factors["head.weight"].shape == (1, 10, 1, 1)
    assert not made.whole


# -- how many leave -----------------------------------------------------------------------------------------------


class Thinned(Shown):
    """A network of which a third of the left branch has left."""

    @property
    def original(self) -> Any:
        return {"stem": 8, "left": 18}

    @property
    def thinned(self) -> bool:
        return True


def test_one_shot_is_of_the_present_size_and_gradual_of_the_original(network: Shown) -> None:
    thin = Thinned(network.model, network.coupling)
    assert len(ranked(thin, dims="left").units[LEFT]) == 6
    rising = RankedPruner(dims="left", initial_sparsity=0.0, final_sparsity=0.5)
    last = Moment(epoch=4, start=0, end=5)
    assert len(rising.decide(thin, last).units[LEFT]) == int(0.5 * 18) - 6
    assert len(rising.decide(thin, evolve(last, epoch=0)).units[LEFT]) == 0


@pytest.mark.parametrize(
    ("keys", "leaves"),
    [
        ({"sparsity": 1.0}, 11),
        ({"sparsity": 0.0}, 0),
        ({"sparsity": 0.6}, 7),
        ({"sparsity": 0.6, "group_size": 4}, 4),
        ({"sparsity": 0.6, "round_to": 4}, 4),
        ({"sparsity": 0.6, "group_size": 2}, 6),
        ({"sparsity": 0.9, "minimum": 5}, 7),
        ({"sparsity": 0.9, "minimum": 20}, 0),
    ],
)
def test_so_many_leave(network: Shown, keys: dict[str, Any], leaves: int) -> None:
    assert len(ranked(network, dims="left", **keys).units[LEFT]) == leaves


def test_dims_that_are_built_alike_compete_as_they_are() -> None:
    scores = [np.array([1.0, 2, 3, 4]), np.array([10.0, 20, 30, 40]), np.array([0.1, 0.2])]
    counts = select_counts([4, 4, 2], [2, 2, 1], lambda i: scores[i], "isomorphic", groups=[0, 0, 1])
    assert [list(gone) for gone in counts] == [[0, 1, 2], [0], [0]]


def test_what_is_built_alike() -> None:
    class Stack(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(*[nn.Conv2d(4, 4, k, padding=k // 2) for k in (3, 3, 3, 1)], nn.Conv2d(4, 2, 3))

        def forward(self, x: Tensor) -> Tensor:
            made: Tensor = self.layers(x)
            return made

    model = Stack()
    dims = couple(model, (torch.ones(1, 4, 5, 5),)).dims
    assert isomorphic_groups(dims, dict(model.named_parameters())) == [0, 0, 1, 2]


def test_random_units_are_drawn_once_in_a_run(network: Shown) -> None:
    first = ranked(network, criterion="random", dims="left").units[LEFT]
    kept = Shown(network.model, network.coupling, {"seed": 5.0})
    second = ranked(kept, criterion="random", dims="left").units[LEFT]
    assert list(first) != list(second)
    np.testing.assert_array_equal(ranked(kept, criterion="random", dims="left").units[LEFT], second)
    more = ranked(kept, criterion="random", dims="left", sparsity=0.75).units[LEFT]
    assert set(second) < set(more)


# -- messages -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"weights": "head.weight"},
            r"weights 'head\.weight': 'head\.weight' cannot be pruned: it is an output of the model, in linear at ",
        ),
        (
            {"weights": "stem.weight", "structure": "channels"},
            r"weights 'stem\.weight': the channels of 'stem\.weight' \(its axis 1\) lie in no dim that can be pruned; ",
        ),
        (
            {"weights": "left.bias", "structure": "channels"},
            r"weights 'left\.bias': 'left\.bias' has no channels: its shape is \(12,\)$",
        ),
        ({"weights": "lft.weight"}, r"weights: 'lft\.weight' matches no parameter; did you mean 'left\.weight'\?"),
        ({"dims": "lft"}, r"dims 'lft': 'lft' matches no prunable dim or parameter; did you mean 'left'\?"),
    ],
)
def test_what_cannot_be_pruned_is_refused_before_training(network: Shown, keys: dict[str, Any], message: str) -> None:
    with pytest.raises(secateur.PlanError, match=f"^{message}"):
        RankedPruner(sparsity=0.5, **keys).check_names(network)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"dims": "a", "weights": "b"}, "give either dims or weights, not both"),
        ({"mask": "weight"}, "mask 'weight' says something of weights: give weights instead of dims"),
        ({"structure": "channels"}, "structure 'channels' says something of weights: give weights instead of dims"),
        ({"group_dependency": "Leader"}, "group_dependency 'Leader' says something of weights"),
        ({"initial_sparsity": 0.1}, "give either sparsity, or initial_sparsity and final_sparsity"),
        ({"minimum": 0}, "must be positive, got 0"),
        ({"weights": []}, "weights must not be empty: name what is pruned, or leave the key out for all dims"),
        ({"dims": []}, "dims must not be empty: name what is pruned, or leave the key out for all dims"),
    ],
)
def test_keys_that_do_not_go_together(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        RankedPruner(**{"sparsity": 0.5, **keys})


# -- by chance ----------------------------------------------------------------------------------------------------


class Running(Shown):
    """A network whose random numbers go on."""

    @property
    def generator(self) -> Any:
        return self.memory.setdefault("generator", torch.Generator().manual_seed(1))  # type: ignore[arg-type]


def test_dropped_filters_keep_the_expectation(network: Shown) -> None:
    running = Running(network.model, network.coupling)
    pruner = BernoulliPruner(weights=["stem.weight", "left.weight"], sparsity=0.25)
    drawn = [pruner.decide(running, NOW) for _ in range(400)]
    assert not any(decision.units for decision in drawn)
    factors = torch.stack([decision.factors["left.weight"] for decision in drawn])
    assert factors.shape == (400, 12, 1, 1, 1)
    assert factors.dtype == torch.float64
    assert factors.unique().tolist() == pytest.approx([0, 4 / 3])
    assert float(factors.mean()) == pytest.approx(1, abs=0.03)
    assert len({tuple(decision.factors["stem.weight"].reshape(-1).tolist()) for decision in drawn}) > 50


@pytest.mark.parametrize(("share", "factor"), [(0.0, 1.0), (1.0, 0.0)])
def test_all_or_none_dropped(network: Shown, share: float, factor: float) -> None:
    made = BernoulliPruner(weights="left.weight", sparsity=share).decide(network, NOW)
    assert bool((made.factors["left.weight"] == factor).all())


def test_a_bias_has_no_filters_to_drop(network: Shown) -> None:
    with pytest.raises(secateur.PlanError, match=r"'left\.bias' cannot be pruned so: its shape \(12,\) has no filters"):
        BernoulliPruner(weights="left.bias", sparsity=0.5).check_names(network)


def test_random_levels_lie_in_the_range(network: Shown) -> None:
    running = Running(network.model, network.coupling)
    pruner = RandomLevelPruner(weights="left.weight", sparsity_range=(0.2, 0.6))
    counts = {len(pruner.decide(running, NOW).units[LEFT]) for _ in range(60)}
    assert counts == {2, 3, 4, 5, 6, 7}
    some = pruner.decide(running, NOW).units[LEFT]
    assert list(some) == lowest(len(some), network.parameters["left.weight"])
    with pytest.raises(ValueError, match=r"^must be two shares in \[0, 1\], the lower one first, got \[0\.6, 0\.2\]$"):
        RandomLevelPruner(weights="left.weight", sparsity_range=(0.6, 0.2))


# -- Distiller's names and numbers --------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["", "_AGP"])
@pytest.mark.parametrize(
    ("name", "criterion"),
    [
        ("L1RankedStructureParameterPruner", "l1"),
        ("L2RankedStructureParameterPruner", "l2"),
        ("ActivationAPoZRankedFilterPruner", "apoz"),
        ("ActivationMeanRankedFilterPruner", "mean_activation"),
        ("GradientRankedFilterPruner", "taylor"),
        ("RandomRankedFilterPruner", "random"),
    ],
)
def test_distillers_names_lead_here(name: str, criterion: str, ending: str) -> None:
    assert RankedPruner in current().pruners.candidates(name + ending)
    (spelling,) = [each for each in RankedPruner.spellings if each.name == name + ending]
    assert spelling.presets == {"criterion": criterion}
    assert criterion in current().criteria
    assert "Filters" in spelling.when["group_type"]


def test_other_names_of_distillers() -> None:
    found = current().pruners
    assert found["BernoulliFilterPruner_AGP"] is found["BernoulliFilterPruner"] is BernoulliPruner
    assert found["RandomLevelStructureParameterPruner"] is RandomLevelPruner


def resnet20() -> tuple[nn.Module, Tensor, Shown]:
    model = randomised(current().models["resnet20_cifar"].build())
    example = torch.ones(1, 3, 32, 32, dtype=torch.float64)
    return model, example, Shown(model, couple(model, (example,)))


def thinned(model: nn.Module, example: Tensor, network: Shown, decision: Decision) -> nn.Module:
    nothing = np.empty(0, np.int64)
    leaving = [decision.units.get(i, nothing) for i in range(len(network.dims))]
    secateur.thin(model, make_plan(model, network.coupling, leaving, (example,)))
    return model


def test_half_the_filters_of_a_stage_of_resnet20_leave_what_distiller_counts() -> None:
    model, example, network = resnet20()
    assert macs(model, (example,)) == 40_813_184
    decision = ranked(network, weights=["module.layer2.*.conv?.weight", "module.layer2.0.downsample.0.weight"])
    assert sorted(len(units) for units in decision.units.values()) == [16] * 4
    thinned(model, example, network, decision)
    assert macs(model, (example,)) == 30_655_104
    assert sum(p.numel() for p in model.parameters() if p.dim() in (2, 4)) == 223_536


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_one_layer_of_resnet20(share: float) -> None:
    model, example, network = resnet20()
    decision = ranked(network, weights="layer1.0.conv1.weight", sparsity=share)
    found: Any = thinned(model, example, network, decision)
    stays = 16 - int(share * 16)
    assert found.layer1[0].conv1.out_channels == found.layer1[0].conv2.in_channels == stays


def test_channels_of_resnet20_take_the_stem_along() -> None:
    model, example, network = resnet20()
    decision = ranked(network, weights="layer1.0.conv1.weight", structure="channels", sparsity=0.1)
    found: Any = thinned(model, example, network, decision)
    assert found.conv1.out_channels == found.layer1[0].conv1.in_channels == 15


SCHEDULE = """
version: 1
pruners:
  theirs:
    class: {name}RankedFilterPruner_AGP
    initial_sparsity: 0.1
    final_sparsity: 0.5
    group_type: Filters
    weights: [module.left.weight, module.right.weight, module.stem.weight]
extensions:
  remover: {{class: FilterRemover, thinning_func_str: remove_filters, arch: any, dataset: any}}
policies:
  - pruner: {{instance_name: theirs}}
    starting_epoch: 0
    ending_epoch: 4
    frequency: 1
  - extension: {{instance_name: remover}}
    epochs: [4]
"""


@pytest.mark.parametrize("name", ["ActivationAPoZ", "ActivationMean", "Gradient", "Random"])
def test_schedules_gather_what_criteria_need_while_training(name: str) -> None:
    model, generator = randomised(Residual()).train(), torch.Generator().manual_seed(2)
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)
    example = torch.randn(4, 3, 5, 5, dtype=torch.float64, generator=generator)
    scheduler = secateur.Scheduler.from_yaml(loads(SCHEDULE.format(name=name)), model, optimizer, (example,))
    for epoch in range(5):
        scheduler.on_epoch_begin(epoch)
        for step in range(2):
            scheduler.on_minibatch_begin(epoch, step, 2)
            inputs = torch.randn(4, 3, 5, 5, dtype=torch.float64, generator=generator)
            scheduler.before_backward(cross_entropy(model(inputs), torch.arange(4))).backward()
            optimizer.step()
            optimizer.zero_grad()
            scheduler.on_minibatch_end(epoch, step, 2)
        scheduler.on_epoch_end(epoch)
    assert {dim.name: len(dim) for dim in scheduler.dims} == {"stem": 4, "left": 6}
    assert len(scheduler.reports) == 1
    assert not any(parameter._backward_hooks for parameter in model.parameters())


@pytest.mark.parametrize("criterion", ["geometric_median", "mean_activation", "fisher", "l1"])
@pytest.mark.parametrize("target", ['dims: "*"', 'weights: ["0.weight", "2.weight"]'])
def test_what_is_masked_leaves_before_anything_else_does(criterion: str, target: str) -> None:
    """A zero filter lies far from filters that are alike, and is active behind a sigmoid."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 20), nn.Sigmoid(), nn.Linear(20, 16), nn.Sigmoid(), nn.Linear(16, 4)).double()
    for layer in (model[0], model[2]):
        nn.init.normal_(layer.weight, 0.5, 0.1)
    text = (
        f"pruners:\n  p: {{class: ranked, {target}, criterion: {criterion},\n"
        "      initial_sparsity: 0.2, final_sparsity: 0.6}\n"
        "policies:\n  - pruner: {instance_name: p}\n    starting_epoch: 1\n    ending_epoch: 5\n"
    )
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    inputs = torch.randn(8, 6, dtype=torch.float64)
    scheduler = secateur.Scheduler.from_yaml(loads(text), model, optimizer, (inputs,))
    before = [np.empty(0, np.int64)] * 2
    for epoch in range(5):
        scheduler.on_epoch_begin(epoch)
        assert all(np.isin(old, new).all() for old, new in zip(before, scheduler.leaving, strict=True))
        before = scheduler.leaving
        for step in range(2):
            scheduler.on_minibatch_begin(epoch, step, 2)
            optimizer.zero_grad()
            cross_entropy(model(inputs), torch.arange(8) % 4).backward()
            optimizer.step()
            scheduler.on_minibatch_end(epoch, step, 2)
        scheduler.on_epoch_end(epoch)
    assert [len(units) for units in before] == [12, 9]
