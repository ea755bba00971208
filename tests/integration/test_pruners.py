"""Criteria and pruners: values by hand, exact counts, ties, scopes and rounding."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from secateur.errors import PlanError
from secateur.pruning.base import Moment
from secateur.pruning.members import members_of
from secateur.pruning.selection import matching, ratios_of, select
from secateur_pruners.agp import AutomatedGradualPruner
from secateur_pruners.magnitude import MagnitudePruner, l1, l2


def curve(initial: float, final: float, start: int, end: int, frequency: int) -> list[float]:
    pruner = AutomatedGradualPruner(initial_sparsity=initial, final_sparsity=final)
    epochs = range(start, end, frequency)
    return [pruner.share(Moment(epoch=e, start=start, end=end, frequency=frequency)) for e in epochs]


def test_agp_follows_the_papers_curve_and_ends_exactly() -> None:
    found = curve(0.05, 0.70, 2, 20, 1)
    expected = [0.05, 0.158091, 0.253481, 0.336963, 0.409332, 0.471382, 0.523906, 0.567698, 0.603552]
    expected += [0.632261, 0.65462, 0.671423, 0.683462, 0.691533, 0.696428, 0.698942, 0.699868, 0.70]
    np.testing.assert_allclose(found, expected, atol=5e-7)
    assert found[-1] == 0.70


def test_agp_with_a_frequency_reaches_the_end_at_its_last_epoch() -> None:
    expected = [0.05, 0.34621, 0.558455, 0.700729, 0.787026, 0.831341, 0.847668, 0.85]
    np.testing.assert_allclose(curve(0.05, 0.85, 1, 25, 3), expected, atol=5e-7)


def test_agp_refuses_a_window_of_one_step() -> None:
    pruner = AutomatedGradualPruner(initial_sparsity=0.1, final_sparsity=0.5)
    with pytest.raises(ValueError, match="at least two epochs"):
        pruner.check(Moment(epoch=3, start=3, end=5, frequency=2))


def test_agp_refuses_to_grow() -> None:
    with pytest.raises(ValueError, match=r"final_sparsity 0\.1 is less than initial_sparsity 0\.5"):
        AutomatedGradualPruner(initial_sparsity=0.5, final_sparsity=0.1)


def test_magnitude_is_the_same_at_every_moment() -> None:
    pruner = MagnitudePruner(sparsity=0.3)
    assert {pruner.share(Moment(epoch=e, start=0, end=9)) for e in range(9)} == {0.3}


def test_norms_by_hand_over_coupled_filters() -> None:
    a = torch.tensor([[1.0, -2.0], [0.0, 3.0]])
    b = torch.tensor([[4.0], [-1.0]])
    slices = {
        ("a", 0): np.array([[0], [1]]),
        ("b", 0): np.array([[0], [1]]),
        ("reader", 1): np.array([[0], [1]]),
        ("bias", 0): np.array([[0], [1]]),
    }
    parameters = {"a": a, "b": b, "reader": torch.full((5, 2), 100.0), "bias": torch.full((2,), 100.0)}
    members = members_of(slices, frozenset({("reader", 1)}), parameters)
    np.testing.assert_allclose(l1(members), [1 + 2 + 4, 3 + 1])
    np.testing.assert_allclose(l2(members), [np.sqrt(1 + 4 + 16), np.sqrt(9 + 1)])


def test_units_of_several_slices_add_up() -> None:
    weight = torch.arange(8.0).reshape(4, 2)
    members = members_of({("w", 0): np.array([[0, 2], [1, 3]])}, frozenset(), {"w": weight})
    np.testing.assert_allclose(l1(members), [0 + 1 + 4 + 5, 2 + 3 + 6 + 7])
    assert members[0].matrix().tolist() == [[0, 1, 4, 5], [2, 3, 6, 7]]


@pytest.mark.parametrize(("ratio", "size", "leaves"), [(0.5, 7, 3), (0.3, 10, 3), (0.99, 10, 9), (0.05, 10, 0)])
def test_exactly_the_asked_number_leaves_even_among_ties(ratio: float, size: int, leaves: int) -> None:
    (chosen,) = select([size], np.array([ratio]), lambda i: np.ones(size))
    assert len(chosen) == leaves


def test_one_unit_always_stays() -> None:
    (chosen,) = select([1], np.array([0.9]), lambda i: np.ones(1))
    assert len(chosen) == 0


def test_global_scope_takes_the_same_total_and_leaves_one_of_each() -> None:
    scores = [np.array([1.0, 1, 1, 1]), np.array([1.0, 2, 30, 40])]
    chosen = select([4, 4], np.array([0.5, 0.5]), lambda i: scores[i], scope="global")
    assert sum(map(len, chosen)) == 4
    assert len(chosen[0]) < 4
    assert list(chosen[1][:2]) == [0, 1]


def test_rounding_keeps_a_multiple() -> None:
    (chosen,) = select([64], np.array([0.45]), lambda i: np.arange(64.0), round_to=8)
    assert (64 - len(chosen)) % 8 == 0
    assert list(chosen) == list(range(len(chosen)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scope": "sideways"}, "scope: unknown scope 'sideways'; it is 'local', 'global' or 'isomorphic'"),
        ({"round_to": 0}, "round_to: expected a positive integer, got 0"),
    ],
)
def test_bad_options_are_named(options: dict, message: str) -> None:
    with pytest.raises(PlanError) as caught:
        select([4], np.array([0.5]), lambda i: np.ones(4), **options)
    assert str(caught.value) == message


def test_scores_that_are_not_numbers_are_refused() -> None:
    with pytest.raises(PlanError, match="are the weights finite"):
        select([2], np.array([0.5]), lambda i: np.array([np.nan, 1.0]))


class FakeDim:
    def __init__(self, name: str, parameter: str, size: int = 4) -> None:
        self.name = name
        self.slices = {(parameter, 0): np.arange(size)[:, None], ("reader.weight", 1): np.arange(size)[:, None]}
        self.readers = frozenset({("reader.weight", 1)})

    def __len__(self) -> int:
        return 4


DIMS = [FakeDim("layer1.conv", "layer1.conv.weight"), FakeDim("layer2.conv", "layer2.conv.weight")]


def test_the_last_glob_that_matches_counts_and_keep_wins() -> None:
    ratios = ratios_of(DIMS, {"*": 0.5, "layer1*": 0.25}, keep=())
    assert list(ratios) == [0.25, 0.5]
    assert list(ratios_of(DIMS, 0.5, keep="layer2.conv")) == [0.5, 0]


def test_a_plain_name_is_never_a_substring() -> None:
    with pytest.raises(PlanError, match=r"'conv' matches no prunable dim or parameter; did you mean"):
        matching("conv", DIMS, "prune")


def test_a_dim_answers_to_parameters_that_write_it_and_not_to_those_that_read_it() -> None:
    assert matching("layer1.conv.weight", DIMS, "prune") == [0]
    with pytest.raises(PlanError, match=r"reader\.weight"):
        matching("reader.weight", DIMS, "prune")


def test_the_name_of_a_dim_that_stays_does_not_mean_its_namesakes() -> None:
    weights = {("q.weight", 0): np.arange(4)[:, None]}
    namesake = SimpleNamespace(name="q:2", slices=weights, readers=frozenset())
    with pytest.raises(PlanError, match="'q' cannot be pruned: its size is read"):
        matching("q", [namesake], "prune", {"q": "its size is read"})
    assert matching("q*", [namesake], "prune", {"q": "its size is read"}) == [0]
