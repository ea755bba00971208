"""Pruners of structures within tensors: rows, columns, kernels, blocks and thresholds, by hand."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from secateur.config import loads, structure
from secateur.errors import ConfigError, PlanError
from secateur.pruning.base import Decision, Moment
from secateur.testing.pruners import Shown
from secateur.thinning.planner import couple
from secateur_pruners.baidu_rnn import BaiduRNNPruner
from secateur_pruners.level import LevelPruner
from secateur_pruners.pattern import PatternPruner
from secateur_pruners.structure_threshold import StructureThresholdPruner

NOW = Moment(epoch=0, start=0, end=4)


def linear(weight: Sequence[Sequence[float]]) -> Shown:
    values = torch.tensor(weight)
    model = nn.Sequential(nn.Linear(values.shape[1], values.shape[0], bias=False))
    return given(model, {"0.weight": values}, 1, values.shape[1])


def given(model: nn.Module, values: dict[str, Tensor], *shape: int) -> Shown:
    with torch.no_grad():
        for name, value in values.items():
            model.get_parameter(name).copy_(value)
    return Shown(model, couple(model, (torch.zeros(shape),)))


def conv(weight: Tensor) -> Shown:
    out, inputs, height, width = weight.shape
    model = nn.Sequential(nn.Conv2d(inputs, out, (height, width), bias=False))
    return given(model, {"0.weight": weight}, 1, inputs, 6, 6)


def pattern(network: Shown, kind: str, sparsity: float = 0.5, **options: Any) -> Tensor:
    pruner = PatternPruner(weights="0.weight", structure=kind, sparsity=sparsity, **options)
    return pruner.decide(network, NOW).factors["0.weight"]


# -- ranked structures ----------------------------------------------------------------------------------------


def test_rows_are_ranked_by_their_norm() -> None:
    network = linear([[1.0, -1.0], [0.0, 3.0], [0.5, 0.5], [4.0, 4.0]])
    assert pattern(network, "rows").tolist() == [[False], [True], [False], [True]]


def test_l1_and_l2_differ() -> None:
    network = linear([[2.0, -2.0], [0.0, 3.0]])  # l1: 4 and 3; l2: 2.83 and 3
    assert pattern(network, "rows").tolist() == [[True], [False]]
    assert pattern(network, "rows", criterion="l2").tolist() == [[False], [True]]


def test_half_of_three_columns_is_one_the_first() -> None:
    assert pattern(linear([[1.0, 2, 3], [4, 5, 6], [7, 8, 9]]), "columns").tolist() == [[False, True, True]]


def test_rows_of_a_convolution_are_its_filters() -> None:
    weight = torch.tensor([3.0, 1.0, 2.0])[:, None, None, None].expand(3, 2, 3, 3)
    found = pattern(conv(weight), "rows", 0.4)
    assert (found.shape, found.reshape(-1).tolist()) == ((3, 1, 1, 1), [True, False, True])


def test_kernels() -> None:
    norms = torch.tensor([[1.0, 6.0], [-2.0, 0.5], [3.0, -4.0]])
    found = pattern(conv(norms[:, :, None, None].expand(3, 2, 3, 3)), "kernels")
    assert found.shape == (3, 2, 1, 1)
    assert found.reshape(3, 2).tolist() == [[False, True], [False, False], [True, True]]


def test_blocks_of_two_channels_at_one_place() -> None:
    # filter 0: channels 0 1 | 2 3 at places x, y: (1 1) (5 -5) | (4 0) (-1 9); filter 1: (2 2) (3 3) | (9 9) (0 1)
    weight = torch.tensor([[[1.0, 5], [1, -5], [4, -1], [0, 9]], [[2.0, 3], [2, 3], [9, 0], [9, 1]]])[:, :, None, :]
    found = pattern(conv(weight), "blocks", block_shape=(1, 2, 1, 1))  # norms 1 5 | 2 5; 2 3 | 9 .5
    expected = [
        [[False, True], [False, True], [False, True], [False, True]],
        [[False, True], [False, True], [True, False], [True, False]],
    ]
    assert found[:, :, 0, :].tolist() == expected


def test_blocks_that_repeat_over_filters() -> None:
    weight = torch.ones(4, 4, 1, 1)
    weight[0, 2] = 2  # in the block of filters 0 1 and channels 2 3
    weight[3, 3] = 3
    found = pattern(conv(weight), "blocks", block_shape=(2, 2, 1, 1))[:, :, 0, 0]
    assert found.tolist() == [[False, False, True, True]] * 2 + [[False, False, True, True]] * 2
    assert int((~pattern(conv(weight), "blocks", 0.3, block_shape=(2, 2, 1, 1))).sum()) == 4


def test_blocks_of_a_matrix_are_counted_exactly_among_equal_ones() -> None:
    found = pattern(linear([[1.0] * 24] * 10), "blocks", 0.7, block_shape=(1, 8))
    assert int((~found).sum()) == int(0.7 * 30) * 8
    assert not found[:7].any()
    assert found[7:].all()


@pytest.mark.parametrize(
    ("share", "group", "number"),
    [(0.5, 1, 5), (0.59, 1, 5), (0.59, 2, 4), (0.59, 4, 4), (0.3, 4, 0), (1.0, 1, 10)],
)
def test_groups_round_the_number_down(share: float, group: int, number: int) -> None:
    pruner = PatternPruner(weights="*", structure="rows", sparsity=share, group_size=group)
    assert pruner.number(share, 10) == number


@pytest.mark.parametrize("kind", ["rows", "columns"])
def test_no_share_and_a_tiny_weight_mask_nothing(kind: str) -> None:
    assert pattern(linear([[1.0]]), kind).all()
    assert pattern(linear([[1.0, 2.0], [3.0, 4.0]]), kind, 0.0).all()


def test_shares_follow_the_curve() -> None:
    network = linear([[float(i)] for i in range(100)])
    pruner = PatternPruner(weights="0.weight", structure="rows", initial_sparsity=0.05, final_sparsity=0.7)
    found = [
        int((~pruner.decide(network, Moment(epoch=e, start=2, end=20)).factors["0.weight"]).sum()) for e in (2, 3, 19)
    ]
    assert found == [5, 15, 70]


def chain() -> Shown:
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False), nn.Linear(2, 3, bias=False))
    values = {"0.weight": torch.eye(2) * torch.tensor([1.0, 2.0]), "1.weight": torch.eye(2) * torch.tensor([2.0, 1.0])}
    return given(model, values, 1, 2)


def test_all_have_the_mask_of_the_leader_which_is_listed_first() -> None:
    def masks(*weights: str, **options: Any) -> list[Any]:
        pruner = PatternPruner(weights=list(weights), structure="rows", sparsity=0.5, **options)
        pruner.check_names(chain())
        factors = pruner.decide(chain(), NOW).factors
        return [factors["0.weight"].reshape(-1).tolist(), factors["1.weight"].reshape(-1).tolist()]

    assert masks("0.weight", "1.weight") == [[False, True], [True, False]]
    assert masks("0.weight", "1.weight", group_dependency="Leader") == [[False, True]] * 2
    assert masks("1.weight", "0.weight", group_dependency="Leader") == [[True, False]] * 2


def test_a_leader_must_be_alike() -> None:
    pruner = PatternPruner(weights=["0.weight", "2.weight"], structure="rows", sparsity=0.5, group_dependency="Leader")
    with pytest.raises(PlanError) as caught:
        pruner.check_names(chain())
    assert str(caught.value) == (
        "group_dependency: '2.weight' has 3 rows, its leader '0.weight' has 2; "
        "only weights with as many structures can share one mask"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"structure": "kernels"},
            "weights['0.weight']: '0.weight' cannot be pruned so: its shape (2, 2) has no kernels",
        ),
        (
            {"structure": "blocks", "block_shape": (1, 8, 1, 1)},
            "weights['0.weight']: '0.weight' cannot be pruned so: "
            "its shape (2, 2) and block_shape (1, 8, 1, 1) differ in length",
        ),
        (
            {"structure": "blocks", "block_shape": (1, 8)},
            "weights['0.weight']: '0.weight' cannot be pruned so: "
            "its shape (2, 2) is not divisible by block_shape (1, 8)",
        ),
    ],
)
def test_weights_without_such_structures(options: dict[str, Any], message: str) -> None:
    with pytest.raises(PlanError, match=f"^{re.escape(message)}$"):
        PatternPruner(weights=["0.weight"], sparsity=0.5, **options).check_names(chain())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"structure": "blocks"}, "block_shape belongs to structure blocks, which needs it"),
        (
            {"structure": "rows", "block_shape": (1, 2)},
            "block_shape belongs to structure blocks, which needs it",
        ),
        (
            {"structure": "blocks", "block_shape": (1, 0)},
            "must be positive numbers, one by axis, got [1, 0]",
        ),
    ],
)
def test_patterns_that_cannot_be_made(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        PatternPruner(weights="*", sparsity=0.5, **options)


def test_distillers_rows_are_columns() -> None:
    spelled = {spelling.name: spelling for spelling in PatternPruner.spellings}
    assert sorted(spelled) == [f"L{p}RankedStructureParameterPruner{end}" for p in "12" for end in ("", "_AGP")]
    for name, spelling in spelled.items():
        assert spelling.presets == {"criterion": name[:2].lower()}
        assert spelling.values["structure"]["Rows"] == "columns"
        assert spelling.when == {"group_type": {"Rows", "Blocks"}}


# -- thresholds -----------------------------------------------------------------------------------------------


def threshold(network: Shown, limit: float, group: str, criterion: Any) -> Decision:
    return StructureThresholdPruner(reg_regims={"0.weight": (limit, group)}, threshold_criteria=criterion).decide(
        network, NOW
    )


def twelve() -> Shown:
    return linear([[1.0, 2, 3], [4, 5, 6], [7, 8, 9], [10, 11, 12]])


@pytest.mark.parametrize(
    ("group", "criterion", "limit", "kept"),
    [
        ("Rows", "max", 7, [[False], [False], [True], [True]]),
        ("rows", "l1", 15, [[False], [False], [True], [True]]),
        ("Cols", "max", 11, [[False, False, True]]),
        ("columns", "mean_l1", 6, [[False, True, True]]),
        ("columns", "l2", 14.0, [[False, True, True]]),  # 12.88 14.63 16.43
        ("columns", "mean_l2", 4.0, [[False, False, True]]),  # a quarter: 3.22 3.66 4.11
    ],
)
def test_groups_of_a_matrix(group: str, criterion: str, limit: float, kept: list[list[bool]]) -> None:
    assert threshold(twelve(), limit, group, criterion).factors["0.weight"].tolist() == kept


@pytest.mark.parametrize(
    ("group", "shape", "kept"),
    [
        ("2D", (2, 3, 1, 1), [False, True, False, True, True, True]),
        ("Filters", (2, 1, 1, 1), [False, True]),
        ("3D", (2, 1, 1, 1), [False, True]),
        ("Channels", (1, 3, 1, 1), [False, True, True]),
    ],
)
def test_groups_of_a_convolution(group: str, shape: tuple[int, ...], kept: list[bool]) -> None:
    means = torch.tensor([[1.0, 4.0, 2.0], [3.0, 4.0, 5.0]])  # filters 2.33 4, channels 2 4 3.5
    found = threshold(conv(means[:, :, None, None].expand(2, 3, 3, 3)), 2.5, group, "mean_l1")
    assert found.factors["0.weight"].shape == shape
    assert found.factors["0.weight"].reshape(-1).tolist() == kept
    assert not found.whole


def hidden(a: Sequence[float], b: Sequence[float]) -> Shown:
    """Linear 2 -> 3 -> 2: each unit writes with elements a, and is read with elements b."""
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
    values = {"0.weight": torch.tensor(a)[:, None].expand(3, 2), "2.weight": torch.tensor(b)[None].expand(2, 3)}
    return given(model, values, 1, 2)


def test_units_leave_if_all_their_listed_slices_are_masked() -> None:
    network = hidden([0.1, 0.1, 2.0], [0.1, 3.0, 0.1])
    both = {"0.weight": (1.0, "filters"), "2.weight": (1.0, "channels")}
    found = StructureThresholdPruner(reg_regims=both, threshold_criteria="max").decide(network, NOW)
    assert {position: list(units) for position, units in found.units.items()} == {0: [0]}
    assert found.factors["0.weight"].reshape(-1).tolist() == [False, False, True]
    assert found.factors["2.weight"].reshape(-1).tolist() == [False, True, False]
    lone = StructureThresholdPruner(reg_regims={"0.weight": (1.0, "filters")}, threshold_criteria="max")
    np.testing.assert_array_equal(lone.decide(network, NOW).units[0], [0, 1])


def test_one_unit_stays_the_largest_though_all_are_masked() -> None:
    found = threshold(hidden([0.1, 0.3, 0.2], [1.0] * 3), 1.0, "filters", "max")
    np.testing.assert_array_equal(found.units[0], [0, 2])
    assert not found.factors["0.weight"].any()


def test_kernels_and_rows_take_no_unit_along() -> None:
    assert threshold(twelve(), 100, "Rows", "max").units == {}


@pytest.mark.parametrize(
    ("regims", "message"),
    [
        ({}, "must not be empty"),
        ({"a": (-1.0, "Rows")}, "of 'a': the threshold must not be negative, got -1.0"),
        ({"a": (1.0, "Filter")}, "of 'a': no group type named 'Filter'; did you mean 'Filters'?"),
    ],
)
def test_regims_that_cannot_be(regims: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        StructureThresholdPruner(reg_regims=regims, threshold_criteria="max")


def test_a_matrix_has_no_kernels() -> None:
    pruner = StructureThresholdPruner(reg_regims={"0.weight": (1.0, "2D")}, threshold_criteria="max")
    with pytest.raises(
        PlanError, match=r"^0\.weight: it has 2 axes, and the groups 'kernels' need at least 3; groups of"
    ):
        pruner.check_names(twelve())


# -- as a schedule writes them --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("{levels: {fc.weight: 0.3, '*': 0}}", LevelPruner(levels={"fc.weight": 0.3, "*": 0.0})),
        (
            "{weights: fc.weight, initial_sparsity: 0.05, final_sparsity: 0.7}",
            LevelPruner(weights="fc.weight", initial_sparsity=0.05, final_sparsity=0.7),
        ),
        (
            "{weights: [a], structure: blocks, block_shape: [1, 8, 1, 1], sparsity: 0.5, group_dependency: Leader}",
            PatternPruner(
                weights=["a"], structure="blocks", block_shape=(1, 8, 1, 1), sparsity=0.5, group_dependency="Leader"
            ),
        ),
        (
            "{reg_regims: {a: [0.1, 3D]}, threshold_criteria: max}",
            StructureThresholdPruner(reg_regims={"a": (0.1, "3D")}, threshold_criteria="max"),
        ),
        (
            "{q: 0.17, ramp_epoch_offset: 3, ramp_slope_mult: 2, weights: [rnn.weight_ih_l0], by: step}",
            BaiduRNNPruner(q=0.17, ramp_epoch_offset=3, ramp_slope_mult=2, weights=["rnn.weight_ih_l0"], by="step"),
        ),
    ],
)
def test_they_are_read_from_yaml(text: str, made: Any) -> None:
    assert structure(loads(text), type(made)) == made


def test_a_mistake_in_yaml_is_told_at_its_key() -> None:
    with pytest.raises(ConfigError, match=r"^<string>:2: levels: 'a' must be in \[0, 1\], got 2\.0$"):
        structure(loads("\nlevels:  {a: 2}\n"), LevelPruner)
