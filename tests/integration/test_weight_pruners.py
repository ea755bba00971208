"""Pruners within weights: every mask by hand, curves and counts, ties, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from attrs import field, frozen
from torch import Tensor, nn

from secateur.errors import PlanError, SecateurError
from secateur.pruning.base import Decision, Moment, Pruner
from secateur.testing.pruners import Shown
from secateur.thinning.planner import couple
from secateur_pruners.baidu_rnn import BaiduRNNPruner
from secateur_pruners.level import LevelPruner
from secateur_pruners.n_m import NMPruner
from secateur_pruners.sensitivity import SensitivityPruner
from secateur_pruners.splicing import SplicingPruner
from secateur_pruners.threshold import ThresholdPruner

NOW = Moment(epoch=0, start=0, end=4)


class Two(nn.Module):
    """Two linear layers: a 4x3, b 2x4."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 4), nn.Linear(4, 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.relu(self.a(x)))


@frozen(eq=False)
class Masked(Shown):
    """A network of which some parameters were masked before."""

    before: dict[str, Tensor] = field(factory=dict)

    def factor(self, parameter: str) -> Any:
        return self.before.get(parameter)


def shown(model: nn.Module, *shape: int, **before: Tensor) -> Masked:
    return Masked(
        model, couple(model, (torch.zeros(shape),)), before={k.replace("__", "."): v for k, v in before.items()}
    )


def two(a: Sequence[Sequence[float]] | None = None, b: Sequence[Sequence[float]] | None = None) -> Masked:
    model = Two()
    with torch.no_grad():
        model.a.weight.copy_(
            torch.tensor(a if a is not None else [[float(3 * i + j) for j in range(3)] for i in range(4)])
        )
        model.b.weight.copy_(torch.tensor(b if b is not None else [[1.0, -2.0, 3.0, -4.0], [-5.0, 6.0, -7.0, 8.0]]))
        model.a.bias.copy_(torch.tensor([0.1, -0.2, 0.3, -0.4]))
    return shown(model, 1, 3)


def masked(decision: Decision) -> dict[str, int]:
    return {name: int((~factor).sum()) for name, factor in decision.factors.items()}


# -- threshold ------------------------------------------------------------------------------------------------


def test_a_threshold_masks_what_is_not_above_it() -> None:
    found = ThresholdPruner(thresholds={"b.weight": 4.0}).decide(two(), NOW)
    assert found.factors["b.weight"].tolist() == [[False, False, False, False], [True, True, True, True]]
    assert (found.whole, dict(found.units), list(found.factors)) == (True, {}, ["b.weight"])


def test_a_name_wins_over_a_glob_and_a_glob_over_the_star() -> None:
    pruner = ThresholdPruner(thresholds={"b.weight": 1.0, "*": 100.0, "?.weight": 2.0, "a.*": 3.0})
    assert pruner.targets(two()) == {"a.weight": 3.0, "a.bias": 3.0, "b.weight": 1.0}
    assert ThresholdPruner(thresholds={"a.weight": 1.0, "*": 9.0}).targets(two())["a.bias"] == 9.0


def test_a_lone_threshold_is_for_all_parameters() -> None:
    assert masked(ThresholdPruner(thresholds=0.25).decide(two(), NOW)) == {"a.weight": 1, "a.bias": 2, "b.weight": 0}


def test_names_of_wrapped_models_are_names() -> None:
    pruner = ThresholdPruner(thresholds={"*": 9.0, "module.b.weight": 1.0})
    assert pruner.targets(two())["b.weight"] == 1.0


# -- level ----------------------------------------------------------------------------------------------------


def test_a_level_masks_the_smallest_of_each_weight() -> None:
    found = LevelPruner(weights=["?.weight"], sparsity=0.5).decide(two(), NOW)
    assert found.factors["b.weight"].tolist() == [[False, False, False, False], [True, True, True, True]]
    assert found.factors["a.weight"].tolist() == [[False] * 3, [False] * 3, [True] * 3, [True] * 3]


def test_exactly_so_many_of_equal_elements_go_the_first_ones() -> None:
    network = two(a=[[1.0] * 3] * 4)
    found = LevelPruner(levels={"a.weight": 0.3}).decide(network, NOW).factors["a.weight"]
    assert found.reshape(-1).tolist() == [False] * 3 + [True] * 9  # int(3.6)


@pytest.mark.parametrize(("level", "count"), [(0.0, 0), (0.05, 0), (0.25, 2), (1.0, 8)])
def test_levels_from_nothing_to_everything(level: float, count: int) -> None:
    assert masked(LevelPruner(weights="b.weight", sparsity=level).decide(two(), NOW)) == {"b.weight": count}


def test_levels_by_name_glob_and_star() -> None:
    pruner = LevelPruner(levels={"*": 0.25, "b.*": 0.5, "a.bias": 0.0})
    assert masked(pruner.decide(two(), NOW)) == {"a.weight": 3, "a.bias": 0, "b.weight": 4}


def test_a_lone_level_is_for_the_weights_or_for_all() -> None:
    assert masked(LevelPruner(levels=0.5).decide(two(), NOW)) == {"a.weight": 6, "a.bias": 2, "b.weight": 4}
    assert masked(LevelPruner(levels=0.5, weights="a.weight").decide(two(), NOW)) == {"a.weight": 6}


def test_gradual_levels_follow_the_curve() -> None:
    model = nn.Sequential(nn.Linear(100, 100, bias=False))
    network = shown(model, 1, 100)
    pruner = LevelPruner(weights="0.weight", initial_sparsity=0.05, final_sparsity=0.70)
    counts = [masked(pruner.decide(network, Moment(epoch=e, start=2, end=20)))["0.weight"] for e in range(2, 20)]
    expected = [
        500,
        1580,
        2534,
        3369,
        4093,
        4713,
        5239,
        5676,
        6035,
        6322,
        6546,
        6714,
        6834,
        6915,
        6964,
        6989,
        6998,
        7000,
    ]
    assert counts == expected


def test_what_a_level_masks_it_masks_at_the_next_step_too() -> None:
    network = two(a=torch.randn(4, 3, generator=torch.Generator().manual_seed(1)).tolist())
    pruner = LevelPruner(weights="a.weight", initial_sparsity=0.2, final_sparsity=0.9)
    before = torch.ones(4, 3, dtype=torch.bool)
    for epoch in range(4):
        keep = pruner.decide(network, Moment(epoch=epoch, start=0, end=4)).factors["a.weight"]
        assert not (keep & ~before).any()
        with torch.no_grad():
            network.parameters["a.weight"].mul_(keep)
        before = keep


def test_a_gradual_level_needs_two_epochs_fixed_ones_do_not() -> None:
    lone = Moment(epoch=3, start=3, end=4)
    LevelPruner(levels={"*": 0.5}).check(lone)
    LevelPruner(weights="*", sparsity=0.5).check(lone)
    with pytest.raises(ValueError, match="level needs at least two epochs at which it prunes"):
        LevelPruner(weights="*", initial_sparsity=0.1, final_sparsity=0.5).check(lone)


# -- sensitivity ----------------------------------------------------------------------------------------------


def test_sensitivity_is_in_standard_deviations() -> None:
    network = two()  # b: squares 204, sum 0 over 8 elements: std = sqrt((204 - 0) / 7) = 5.398
    found = SensitivityPruner(sensitivities={"b.weight": 1.0}).decide(network, NOW).factors["b.weight"]
    assert found.tolist() == [[False, False, False, False], [False, True, True, True]]
    assert network.memory["std:b.weight"] == pytest.approx((204 / 7) ** 0.5)


def test_the_deviation_is_that_of_the_first_time() -> None:
    network = two()
    pruner = SensitivityPruner(sensitivities={"b.weight": 0.5})  # 2.699
    first = pruner.decide(network, NOW).factors["b.weight"]
    with torch.no_grad():
        network.parameters["b.weight"].mul_(0.5)
    second = pruner.decide(network, NOW).factors["b.weight"]
    assert (int((~first).sum()), int((~second).sum())) == (2, 5)


def test_a_single_element_deviates_by_nothing() -> None:
    network = shown(nn.Sequential(nn.Linear(2, 1)), 1, 2)
    assert SensitivityPruner(sensitivities={"0.bias": 1.0}).decide(network, NOW).factors["0.bias"].tolist() == [True]


# -- splicing -------------------------------------------------------------------------------------------------


def test_splicing_has_three_regions() -> None:
    # b: mean |w| = 4.5, std |w| = sqrt(42 / 7) = 2.449490; scale 4.5 + 0.2 * 2.449490 = 4.989898
    # low 0.7 -> 3.492929, high 1.3 -> 6.486867: below 1 2 3, between 4 5 6, above 7 8
    pruner = SplicingPruner(sensitivities={"b.weight": 0.2}, low=0.7, high=1.3)
    assert pruner.decide(two(), NOW).factors["b.weight"].tolist() == [[False, False, False, True], [True] * 4]
    model = two().model
    before = torch.tensor([[1.0, 1.0, 1.0, 0.0], [1.0, 0.0, 0.0, 0.0]])
    network = shown(model, 1, 3, b__weight=before)
    found = pruner.decide(network, NOW).factors["b.weight"]
    assert found.tolist() == [[False, False, False, False], [True, False, True, True]]
    assert network.memory["mean:b.weight"] == 4.5
    assert network.memory["std:b.weight"] == pytest.approx(6**0.5)


def test_splicing_keeps_the_thresholds_of_the_first_time() -> None:
    network = two()
    pruner = SplicingPruner(sensitivities={"b.weight": 0.2}, low=0.7, high=1.3)
    pruner.decide(network, NOW)
    with torch.no_grad():
        network.parameters["b.weight"].add_(2.5)  # 3.5 .5 5.5 -1.5 / -2.5 8.5 -4.5 10.5
    found = pruner.decide(network, NOW).factors["b.weight"]
    assert found.tolist() == [[True, False, True, False], [False, True, True, True]]


def test_the_sensitivity_grows_with_the_epochs() -> None:
    # s = 0.5 (1 + 1 * 2) = 1.5: 4.5 + 1.5 * 2.449490 = 8.174 masks all 8, 0.5 (1 + 0) = 0.5: 5.725 masks 1 to 5
    pruner = SplicingPruner(sensitivities={"b.weight": 0.5}, low=1, high=1, sensitivity_multiplier=1)
    assert masked(pruner.decide(two(), Moment(epoch=3, start=3, end=9))) == {"b.weight": 5}
    assert masked(pruner.decide(two(), Moment(epoch=5, start=3, end=9))) == {"b.weight": 8}


# -- Baidu's ramp ---------------------------------------------------------------------------------------------


def test_the_thresholds_by_epoch() -> None:
    pruner = BaiduRNNPruner(q=0.17, ramp_epoch_offset=3, ramp_slope_mult=2, weights="*")
    found = [pruner.threshold(Moment(epoch=e, start=4, end=21, frequency=3)) for e in range(4, 21, 3)]
    assert found == pytest.approx([0.17 / 24, 0.0425, 0.085, 0.1275, 0.17, 0.2125])


def test_the_thresholds_by_step_are_the_papers() -> None:
    # 2 epochs of 5 steps: start 0, ramp 5, end 10; theta = 2 * 0.25 / (2 * 5 + 3 * 5) = 0.02, phi = 0.04
    pruner = BaiduRNNPruner(q=0.25, ramp_epoch_offset=1, ramp_slope_mult=2, weights="*", by="step")
    moments = [Moment(epoch=e, start=0, end=2, step=s, steps=5, frequency=1) for e in (0, 1) for s in range(5)]
    expected = [0.02, 0.04, 0.06, 0.08, 0.10, 0.16, 0.20, 0.24, 0.28, 0.32]
    assert [pruner.threshold(moment) for moment in moments] == pytest.approx(expected)


def test_the_ramp_masks_what_is_not_above_its_threshold() -> None:
    pruner = BaiduRNNPruner(q=24.0, ramp_epoch_offset=3, ramp_slope_mult=2, weights=["b.weight"])
    found = pruner.decide(two(), Moment(epoch=7, start=4, end=21, frequency=3))  # threshold 6
    assert found.factors["b.weight"].tolist() == [[False] * 4, [False, False, True, True]]


def test_a_ramp_after_the_window_is_refused() -> None:
    pruner = BaiduRNNPruner(q=0.1, ramp_epoch_offset=4, ramp_slope_mult=2, weights="*")
    message = "baidu_rnn would ramp from epoch 6 on, but its window ends before epoch 6: lower ramp_epoch_offset"
    with pytest.raises(ValueError, match=f"^{message}$"):
        pruner.check(Moment(epoch=2, start=2, end=6))


# -- N:M ------------------------------------------------------------------------------------------------------


def test_two_of_four_inputs_stay() -> None:
    network = two(b=[[1.0, -2.0, 3.0, -4.0], [8.0, 1.0, -9.0, 2.0]])
    found = NMPruner(weights="b.weight").decide(network, NOW).factors["b.weight"]
    assert found.tolist() == [[False, False, True, True], [True, False, True, False]]


def test_of_equal_inputs_the_first_go() -> None:
    found = NMPruner(weights="b.weight", n=3).decide(two(b=[[1.0] * 4, [0.0, 0.0, 1.0, 0.0]]), NOW).factors["b.weight"]
    assert found.tolist() == [[False, True, True, True], [False, True, True, True]]


def test_groups_of_a_convolution_run_along_its_inputs() -> None:
    model = nn.Sequential(nn.Conv2d(8, 2, 3))
    network = shown(model, 1, 8, 5, 5)
    found = NMPruner(weights="0.weight").decide(network, NOW).factors["0.weight"]
    groups = found.reshape(2, 2, 4, 3, 3)
    assert (groups.sum(2) == 2).all()
    weight = model[0].weight.detach().abs().reshape(2, 2, 4, 3, 3)
    assert torch.equal(groups, weight >= weight.topk(2, dim=2).values.min(2, keepdim=True).values)


def test_a_glob_passes_over_what_has_no_such_groups() -> None:
    assert list(NMPruner(weights="*").targets(two())) == ["b.weight"]


# -- what is refused ------------------------------------------------------------------------------------------


class Tables(nn.Module):
    """A linear layer, and a parameter of integers."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 4)
        self.codes = nn.Parameter(torch.arange(4), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x)


@pytest.mark.parametrize(
    ("pruner", "message"),
    [
        (
            LevelPruner(weights=["fc.wieght"], sparsity=0.5),
            "weights['fc.wieght']: 'fc.wieght' matches no parameter; did you mean 'fc.weight'? "
            "(known: codes, fc.bias, fc.weight)",
        ),
        (
            LevelPruner(levels={"conv*": 0.5}),
            "levels['conv*']: 'conv*' matches no parameter; (known: codes, fc.bias, fc.weight)",
        ),
        (
            ThresholdPruner(thresholds={"codes": 1.0}),
            "thresholds['codes']: 'codes' cannot be pruned so: its elements are int64",
        ),
        (
            SensitivityPruner(sensitivities={"c*": 1.0}),
            "sensitivities['c*']: 'codes' cannot be pruned so: its elements are int64",
        ),
        (
            NMPruner(weights=["fc.weight"]),
            "weights['fc.weight']: 'fc.weight' cannot be pruned so: its input axis of 3 is not divisible by m = 4",
        ),
        (
            NMPruner(weights=["fc.bias"]),
            "weights['fc.bias']: 'fc.bias' cannot be pruned so: it has no input axis, its shape is (4,)",
        ),
    ],
)
def test_what_is_named_wrongly(pruner: Pruner, message: str) -> None:
    network = shown(Tables(), 1, 3)
    for ask in (lambda: pruner.check_names(network), lambda: pruner.decide(network, NOW)):
        with pytest.raises(SecateurError) as caught:
            ask()
        assert str(caught.value) == message


def test_a_star_passes_over_integers() -> None:
    assert list(ThresholdPruner(thresholds=0.5).targets(shown(Tables(), 1, 3))) == ["fc.weight", "fc.bias"]


@pytest.mark.parametrize(
    ("cls", "arguments", "message"),
    [
        (ThresholdPruner, {"thresholds": -1.0}, "must not be negative, got -1.0"),
        (ThresholdPruner, {"thresholds": {"a": -1.0}}, "'a' must not be negative, got -1.0"),
        (ThresholdPruner, {"thresholds": {}}, "must not be empty"),
        (LevelPruner, {"levels": {"a": 1.5}}, "'a' must be in [0, 1], got 1.5"),
        (LevelPruner, {"weights": "a"}, "give either sparsity, or initial_sparsity and final_sparsity"),
        (LevelPruner, {"sparsity": 0.5}, "weights must name what is pruned: a list of names or globs"),
        (
            LevelPruner,
            {"levels": 0.5, "sparsity": 0.5},
            "levels say the shares: leave out sparsity, initial_sparsity and final_sparsity",
        ),
        (LevelPruner, {"levels": {"a": 0.5}, "weights": "a"}, "levels say which parameters: leave out weights"),
        (SplicingPruner, {"sensitivities": 1.0, "low": 2.0, "high": 1.0}, "low 2.0 is greater than high 1.0"),
        (
            BaiduRNNPruner,
            {"q": 0, "ramp_epoch_offset": 1, "ramp_slope_mult": 1, "weights": "*"},
            "must be positive, got 0",
        ),
        (NMPruner, {"weights": "*", "n": 5}, "n 5 is greater than m 4: n of m elements stay"),
    ],
)
def test_what_cannot_be_made(cls: type[Pruner], arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        cls(**arguments)


@pytest.mark.parametrize(
    "pruner",
    [
        ThresholdPruner(thresholds={"b.weight": 1.0}),
        LevelPruner(levels={"b.weight": 0.5}),
        NMPruner(weights="b.weight"),
        BaiduRNNPruner(q=1.0, ramp_epoch_offset=1, ramp_slope_mult=2, weights="b.weight"),
    ],
    ids=lambda pruner: pruner.name,
)
def test_weights_that_are_no_numbers(pruner: Pruner) -> None:
    network = two(b=[[torch.nan] * 4] * 2)
    with pytest.raises(PlanError) as caught:
        pruner.decide(network, NOW)
    assert str(caught.value) == "b.weight: some weights are not numbers (NaN); has training diverged?"


def test_weights_without_data_are_refused_before_training() -> None:
    with torch.device("meta"):
        model = nn.Linear(4, 2)
    message = r"thresholds\['weight'\]: 'weight' cannot be pruned so: it has no data \(it is on the meta device\)"
    with pytest.raises(PlanError, match=message):
        ThresholdPruner(thresholds={"weight": 0.5}).check_names(
            Shown(model, couple(nn.Linear(4, 2), (torch.zeros(1, 4),)))
        )


@pytest.mark.parametrize("cls", [SensitivityPruner, SplicingPruner])
def test_nothing_is_measured_of_what_is_not_finite(cls: Any) -> None:
    network = two(b=[[torch.inf] * 4] * 2)
    with pytest.raises(PlanError, match=r"^b\.weight: some weights are not finite; has training diverged\?$"):
        cls(sensitivities={"b.weight": 1.0}).decide(network, NOW)
    assert network.memory == {}
