"""Regularizers: losses, gradients and thresholds by hand, and one clear message for what is wrong."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from secateur.errors import PlanError
from secateur.pruning.base import Decision, Moment
from secateur.pruning.regularizer import Regularizer
from secateur.testing.pruners import Shown
from secateur.thinning.planner import couple
from secateur_pruners.regularizers.bn_l1 import NormScaleRegularizer
from secateur_pruners.regularizers.group_lasso import GroupLassoRegularizer
from secateur_pruners.regularizers.group_norm import GroupNormRegularizer
from secateur_pruners.regularizers.group_variance import GroupVarianceRegularizer
from secateur_pruners.regularizers.growing import GrowingRegularizer
from secateur_pruners.regularizers.l1 import L1Regularizer
from secateur_pruners.regularizers.lookup import slice_norms

NOW = Moment(epoch=0, start=0, end=4)


class Chain(nn.Module):
    """Two convolutions with batch norm between, and a head: two dims, of 2 and 3 units."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.second = nn.Conv2d(1, 2, 2, bias=False), nn.BatchNorm2d(2), nn.Conv2d(2, 3, 1)
        self.head = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.second(F.relu(self.norm(self.first(x)))))
        made: Tensor = self.head(h.mean((2, 3)))
        return made


def chain(**values: Any) -> Shown:
    """The chain in float64, with some parameters given and all others one."""
    model = Chain().double().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            given = values.get(name.replace(".", "_"))
            parameter.copy_(
                torch.ones_like(parameter) if given is None else torch.tensor(given).reshape(parameter.shape)
            )
    return Shown(model, couple(model, (torch.zeros(1, 1, 3, 3, dtype=torch.float64),)))


def dim(network: Shown, name: str) -> int:
    return next(i for i, each in enumerate(network.dims) if each.name == name)


def factors(decision: Decision | None) -> dict[str, list[Any]]:
    assert decision is not None
    return {name: factor.reshape(-1).int().tolist() for name, factor in decision.factors.items()}


def units(decision: Decision | None) -> dict[int, list[int]]:
    assert decision is not None
    return {position: list(found) for position, found in decision.units.items()}


FIRST = [3.0, 0, 0, 4, 0, 0, 0, 0]  # the filters' norms are 5 and 0
SECOND = [6.0, 8, 0, 0, 5, 12]  # rows of W[3, 2]: norms 10, 0, 13; columns: sqrt(61), sqrt(208)

# -- L1 ------------------------------------------------------------------------------------------------------------


def test_l1_by_hand() -> None:
    network = chain(first_weight=[0.5, -1, 2, 0, 0, 0, 0, -3])
    regularizer = L1Regularizer(reg_regims={"first.weight": 0.1, "head.*": 0.01})
    assert regularizer.loss(network, NOW).item() == pytest.approx(0.1 * 6.5 + 0.01 * (6 + 2))
    assert regularizer.decide(network, NOW) is None


def test_l1_masks_what_is_at_most_its_strength() -> None:
    network = chain(first_weight=[0.5, -1, 2, 0, 0.25, -0.5, 0.75, -3])
    regularizer = L1Regularizer(reg_regims={"first.weight": 0.5}, threshold_criteria="max")
    assert factors(regularizer.decide(network, NOW)) == {"first.weight": [0, 1, 1, 0, 0, 0, 1, 1]}
    higher = L1Regularizer(reg_regims={"first.weight": 0.5}, threshold_criteria="max", threshold=1)
    assert factors(higher.decide(network, NOW)) == {"first.weight": [0, 0, 1, 0, 0, 0, 0, 1]}


def test_of_several_globs_the_last_one_counts() -> None:
    regularizer = L1Regularizer(reg_regims={"*.weight": 1.0, "head.weight": 0.0, "first.weight": 0.5})
    assert regularizer.loss(chain(), NOW).item() == pytest.approx(2 + 6 + 0.5 * 8)


def test_a_name_counts_more_than_a_glob_wherever_it_stands() -> None:
    regularizer = L1Regularizer(reg_regims={"first.weight": 0.5, "*.weight": 1.0, "head.weight": 0.0, "*": 9.0})
    biases = sum(each.abs().sum().item() for name, each in chain().parameters.items() if "bias" in name)
    assert regularizer.loss(chain(), NOW).item() == pytest.approx(2 + 6 + 0.5 * 8 + 9 * biases)


def test_names_of_wrapped_models_are_found() -> None:
    regularizer = L1Regularizer(reg_regims={"module.first.weight": 1.0})
    assert regularizer.loss(chain(), NOW).item() == 8


# -- group lasso ---------------------------------------------------------------------------------------------------

GROUPS = [
    ("first.weight", "Filters", 5),
    ("first.weight", "3D", 5),
    ("first.weight", "Channels", 5),
    ("first.weight", "2D", 5),
    ("first.weight", "4D", 5),
    ("first.weight", "Channels+4D", 10),
    ("second.weight", "filters", 10 + 0 + 13),
    ("second.weight", "channels", math.sqrt(61) + math.sqrt(208)),
    ("second.weight", "kernels", 6 + 8 + 5 + 12),
    ("second.weight", "layer", math.sqrt(269)),
    ("second.weight", "channels+layer", math.sqrt(61) + math.sqrt(208) + math.sqrt(269)),
    ("head.weight", "Rows", 7 + 9),
    ("head.weight", "Cols", 3 + math.sqrt(72) + 7),
    ("head.weight", "Rows+Cols", 7 + 9 + 3 + math.sqrt(72) + 7),
    ("head.weight", "filters", 7 + 9),
    ("head.weight", "4D", math.sqrt(49 + 81)),
]
HEAD = [2.0, 6, 3, -math.sqrt(5), 6, 2 * math.sqrt(10)]  # rows of W[2, 3]: norms 7, 9; columns: 3, sqrt(72), 7


@pytest.mark.parametrize(("name", "group", "norms"), GROUPS)
def test_group_lasso_by_hand(name: str, group: str, norms: float) -> None:
    network = chain(first_weight=FIRST, second_weight=SECOND, head_weight=HEAD)
    loss = GroupLassoRegularizer(reg_regims={name: (0.5, group)}).loss(network, NOW)
    assert loss.item() == pytest.approx(0.5 * norms)


def test_the_gradient_of_a_zero_group_is_zero_and_not_nan() -> None:
    network = chain(first_weight=FIRST)
    GroupLassoRegularizer(reg_regims={"first.weight": (0.5, "Filters")}).loss(network, NOW).backward()
    gradient = network.parameters["first.weight"].grad
    assert gradient is not None
    assert gradient.reshape(-1).tolist() == pytest.approx([0.5 * 3 / 5, 0, 0, 0.5 * 4 / 5, 0, 0, 0, 0])


CRITERIA = [
    ("l1", 6.9, [0, 1]),
    ("mean_l1", 2.1, [0, 1]),
    ("l2", 4.9, [0, 1]),
    ("mean_l2", 1.5, [0, 1]),
    ("max", 3.5, [0, 1]),
    ("max", 2.9, [1, 1]),
]


@pytest.mark.parametrize(("criterion", "threshold", "kept"), CRITERIA)
def test_criteria_by_hand(criterion: Any, threshold: float, kept: list[int]) -> None:
    network = chain(head_weight=[1.0, -2, 3, 4, 0, -3])  # rows: l1 6, 7; means 2, 7/3; l2 sqrt(14), 5; max 3, 4
    regularizer = GroupLassoRegularizer(
        reg_regims={"head.weight": (0.1, "rows")}, threshold_criteria=criterion, threshold=threshold
    )
    assert factors(regularizer.decide(network, NOW)) == ({"head.weight": kept} if 0 in kept else {})


@pytest.mark.parametrize(
    ("name", "group", "threshold", "expected"),
    [
        ("second.weight", "2D", 6.0, [0, 1, 0, 0, 0, 1]),
        ("second.weight", "4D", 11.0, [1]),
        ("second.weight", "4D", 12.0, [0]),
        ("head.weight", "Rows", 6.0, [0, 1]),
        ("head.weight", "Cols", 3.0, [0, 1, 1]),
        ("head.weight", "Rows+Cols", 3.0, [0, 1, 1, 0, 1, 1]),
    ],
)
def test_patterns_within_a_tensor_are_factors(name: str, group: str, threshold: float, expected: list[int]) -> None:
    head = [2.0, 6, 3, -3, 6, 7]
    network = chain(second_weight=SECOND, head_weight=head)
    regularizer = GroupLassoRegularizer(reg_regims={name: (threshold, group)}, threshold_criteria="max")
    decision = regularizer.decide(network, NOW)
    assert units(decision) == {}
    assert factors(decision) == ({} if all(expected) else {name: expected})


def test_small_filters_are_units() -> None:
    network = chain(second_weight=SECOND)
    regularizer = GroupLassoRegularizer(reg_regims={"second.weight": (0.1, "Filters")}, threshold_criteria="max")
    decision = regularizer.decide(network, NOW)
    assert units(decision) == {dim(network, "second"): [1]}
    assert factors(decision) == {}


def test_small_channels_are_the_units_that_they_read() -> None:
    network = chain(second_weight=[1.0, 9, 1, 9, 1, 9])
    regularizer = GroupLassoRegularizer(reg_regims={"second.weight": (1.0, "Channels")}, threshold_criteria="mean_l1")
    decision = regularizer.decide(network, NOW)
    assert units(decision) == {dim(network, "first"): [0]}
    assert factors(decision) == {}


def test_units_leave_only_if_all_that_is_named_of_them_is_small() -> None:
    network = chain(first_weight=[9.0] * 4 + [1.0] * 4, second_weight=[1.0, 1, 1, 1, 1, 1])
    regims = {"first.weight": (1.0, "Filters"), "second.weight": (1.0, "Channels")}
    decision = GroupLassoRegularizer(reg_regims=regims, threshold_criteria="max").decide(network, NOW)
    assert units(decision) == {dim(network, "first"): [1]}
    assert factors(decision) == {"second.weight": [0, 1]}  # unit 0 stays, and its small channel is zero


def test_one_unit_stays_and_its_weights_are_zero() -> None:
    network = chain(second_weight=[0.1, 0.1, 0.2, 0.1, 0.1, 0])
    regularizer = GroupLassoRegularizer(reg_regims={"second.weight": (1.0, "Filters")}, threshold_criteria="l2")
    decision = regularizer.decide(network, NOW)
    assert units(decision) == {dim(network, "second"): [0, 2]}
    assert factors(decision) == {"second.weight": [1, 0, 1]}


def test_what_cannot_leave_is_a_factor() -> None:
    network = chain(head_weight=[2.0, 6, 3, 0, 0, 0])
    regularizer = GroupLassoRegularizer(reg_regims={"head.weight": (0.1, "Filters")}, threshold_criteria="max")
    decision = regularizer.decide(network, NOW)  # nothing prunes the outputs of the network
    assert units(decision) == {}
    assert factors(decision) == {"head.weight": [1, 0]}


def test_channels_and_the_layer_together() -> None:
    network = chain(second_weight=[1.0, 9, 1, 9, 1, 9])
    regims = {"second.weight": (1.0, "Channels+4D")}
    decision = GroupLassoRegularizer(reg_regims=regims, threshold_criteria="max").decide(network, NOW)
    assert (units(decision), factors(decision)) == ({dim(network, "first"): [0]}, {})
    higher = GroupLassoRegularizer(reg_regims=regims, threshold_criteria="max", threshold=9)
    decision = higher.decide(network, NOW)  # both channels are small, and the layer: one unit stays, with zeros
    assert (units(decision), factors(decision)) == ({dim(network, "first"): [0]}, {"second.weight": [0, 0]})


# -- group variance ------------------------------------------------------------------------------------------------


def test_group_variance_by_hand() -> None:
    network = chain(second_weight=SECOND)
    mean = 23 / 3
    variance = ((10 - mean) ** 2 + mean**2 + (13 - mean) ** 2) / 2
    loss = GroupVarianceRegularizer(reg_regims={"second.weight": (0.5, "Filters")}).loss(network, NOW)
    assert loss.item() == pytest.approx(0.5 / variance)


def test_equal_norms_have_a_finite_penalty() -> None:
    network = chain()
    loss = GroupVarianceRegularizer(reg_regims={"second.weight": (1e-6, "Channels")}).loss(network, NOW)
    loss.backward()
    assert loss.item() == pytest.approx(1e6)
    assert network.parameters["second.weight"].grad.isfinite().all()


# -- network slimming ----------------------------------------------------------------------------------------------


def test_norm_scales_by_hand() -> None:
    network = chain(norm_weight=[-2.0, 3])
    assert NormScaleRegularizer(strength=0.1).scales(network) == ["norm.weight"]
    assert NormScaleRegularizer(strength=0.1).loss(network, NOW).item() == pytest.approx(0.5)
    assert NormScaleRegularizer(strength=0.1, dims=["first"]).loss(network, NOW).item() == pytest.approx(0.5)
    named = NormScaleRegularizer(strength=0.1, weights="module.norm.weight")
    assert named.loss(network, NOW).item() == pytest.approx(0.5)


def test_a_slope_is_no_scale() -> None:
    model = nn.Sequential(nn.Linear(2, 4), nn.PReLU(4), nn.BatchNorm1d(4), nn.Linear(4, 1)).eval()
    network = Shown(model, couple(model, (torch.zeros(2, 2),)))
    assert NormScaleRegularizer(strength=1).scales(network) == ["2.weight"]


# -- units of dims -------------------------------------------------------------------------------------------------


def squares(network: Shown, name: str) -> list[float]:
    """The sum of squares over all coupled slices of each unit, with plain loops."""
    found = network.dims[dim(network, name)]
    totals = [0.0] * len(found)
    for (parameter, axis), indices in found.slices.items():
        if parameter in network.parameters:
            for unit, own in enumerate(indices):
                for index in own:
                    totals[unit] += float(network.parameters[parameter].detach().select(axis, index).square().sum())
    return totals


def test_unit_lasso_sums_the_norms_of_all_coupled_slices() -> None:
    network = chain(first_weight=FIRST, second_weight=SECOND)
    # unit 0 of first: 25 of its filter, 1 + 1 of its norm, 36 + 0 + 25 of what reads it; unit 1: 0 + 2 + 64 + 144
    assert squares(network, "first") == [25 + 2 + 61, 2 + 208]
    regularizer = GroupNormRegularizer(strength=0.5, dims="first", alpha=0, squared=False)
    assert regularizer.loss(network, NOW).item() == pytest.approx(0.5 * (math.sqrt(88) + math.sqrt(210)))


def test_group_norm_by_hand() -> None:
    network = chain(first_weight=FIRST, second_weight=SECOND)
    # second: filters and biases 100 + 1, 0 + 1, 169 + 1, and two weights of one in the head for each
    sizes = np.array(squares(network, "second"))
    assert sizes.tolist() == [103, 3, 172]
    gamma = 2 ** (4 * (172 - sizes) / (172 - 3))
    regularizer = GroupNormRegularizer(strength=0.5, dims="second")
    assert regularizer.loss(network, NOW).item() == pytest.approx(0.5 * (gamma * sizes).sum())
    assert gamma[1] == 16
    assert gamma[2] == 1


def test_gamma_is_made_once_an_epoch_and_kept_in_memory() -> None:
    network = chain(second_weight=SECOND)
    regularizer = GroupNormRegularizer(strength=1, dims="second")
    first = regularizer.loss(network, NOW).item()
    with torch.no_grad():
        network.parameters["second.weight"].mul_(0)
        network.parameters["second.bias"].copy_(torch.tensor([1.0, 2, 3]))
    kept = dict(network.memory)
    later = GroupNormRegularizer(strength=1, dims="second")  # a run that goes on has the memory alone
    weak = later.loss(network, Moment(epoch=0, start=0, end=4, step=3, steps=9)).item()
    gamma = 2 ** (4 * (172 - np.array([103, 3, 172])) / 169)
    assert weak == pytest.approx((gamma * np.array([3, 6, 11])).sum())
    assert weak < first
    assert network.memory == kept
    again = later.loss(network, Moment(epoch=1, start=0, end=4)).item()
    assert again == pytest.approx((2 ** (4 * (11 - np.array([3, 6, 11])) / 8) * np.array([3, 6, 11])).sum())


def test_a_unit_of_several_slices_is_one_group() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.Flatten(), nn.Linear(4, 1, bias=False)).double().eval()
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([1.0, 2]).reshape(2, 1, 1, 1))
        model[2].weight.copy_(torch.tensor([[1.0, 2, 3, 4]]))
    network = Shown(model, couple(model, (torch.zeros(1, 1, 1, 2, dtype=torch.float64),)))
    loss = GroupNormRegularizer(strength=1, alpha=0, squared=False).loss(network, NOW)
    assert loss.item() == pytest.approx(math.sqrt(1 + 1 + 4) + math.sqrt(4 + 9 + 16))


# -- growing -------------------------------------------------------------------------------------------------------


def test_growing_by_hand() -> None:
    network = chain(second_weight=[1.0, 1, 3, 3, 2, 2])
    regularizer = GrowingRegularizer(sparsity=0.7, dims="second", delta=0.1, every=2, ceiling=0.25)
    seen, decided = [], []
    for _ in range(6):
        seen.append(regularizer.loss(network, NOW).item())  # filters 0 and 2: 1 + 1 + 4 + 4
        decided.append(regularizer.decide(network, NOW))
    assert seen == pytest.approx([0.5, 0.5, 1.0, 1.0, 1.25, 1.25])
    assert decided[:3] == [None] * 3
    assert units(decided[3]) == units(decided[5]) == {dim(network, "second"): [0, 2]}


def test_growing_chooses_once_and_goes_on_from_memory() -> None:
    network = chain(second_weight=[1.0, 1, 3, 3, 2, 2])
    GrowingRegularizer(sparsity=0.5, dims="second").loss(network, NOW)
    with torch.no_grad():
        network.parameters["second.weight"][0] = 9
    later = GrowingRegularizer(sparsity=0.5, dims="second", delta=0.1)
    loss = later.loss(network, NOW)
    assert loss.item() == pytest.approx(0.5 * 0.1 * 2 * 81)
    loss.backward()
    gradient = network.parameters["second.weight"].grad
    assert gradient.reshape(3, 2).tolist() == pytest.approx(np.array([[0.9, 0.9], [0, 0], [0, 0]]))


def test_growing_leaves_a_dim_alone_that_was_thinned() -> None:
    network = chain(second_weight=[1.0, 1, 3, 3, 2, 2])
    regularizer = GrowingRegularizer(sparsity=0.5, dims="second")
    assert regularizer.loss(network, NOW).item() > 0
    network.memory["size of second"] = 5.0
    assert regularizer.loss(network, NOW).item() == 0


def test_growing_need_not_mask() -> None:
    network = chain()
    regularizer = GrowingRegularizer(sparsity=0.5, dims="second", delta=1, mask=False)
    assert regularizer.decide(network, NOW) is None


def test_a_network_that_changes_is_looked_at_anew() -> None:
    regularizer = GroupNormRegularizer(strength=1, alpha=0)
    network = chain()
    before = regularizer.loss(network, NOW).item()
    other = nn.Sequential(nn.Linear(1, 2, bias=False), nn.Linear(2, 1, bias=False)).double()
    shown = Shown(other, couple(other, (torch.zeros(1, 1, dtype=torch.float64),)))
    expected = sum(float(p.detach().square().sum()) for p in other.parameters())
    assert regularizer.loss(shown, NOW).item() == pytest.approx(expected)
    assert regularizer.loss(network, NOW).item() == before


# -- what is wrong -------------------------------------------------------------------------------------------------

GROUP_NAMES = (
    "(known: 2D, 3D, 4D, Channels, Channels+4D, Cols, Filters, Rows, Rows+Cols, channels, channels+layer, columns, "
    "filters, kernels, layer, rows, rows+columns)"
)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: L1Regularizer(reg_regims={"first.weight": -0.1}),
            "of 'first.weight': must not be negative, nor infinite, got -0.1",
        ),
        (lambda: L1Regularizer(reg_regims={}), "must not be empty"),
        (lambda: L1Regularizer(reg_regims={"w": "much"}), "of 'w': expected a number, got 'much'"),
        (
            lambda: GroupLassoRegularizer(reg_regims={"w": (0.1, "Filter")}),
            f"of 'w': no group type named 'Filter'; did you mean 'Filters'? {GROUP_NAMES}",
        ),
        (
            lambda: GroupLassoRegularizer(reg_regims={"w": (-1.0, "Rows")}),
            "must not be negative, nor infinite, got -1.0",
        ),
        (lambda: GroupLassoRegularizer(reg_regims={"w": 0.1}), "of 'w': expected [strength, group type], got 0.1"),
        (
            lambda: GroupVarianceRegularizer(reg_regims={"w": (0.1, "2D")}),
            "of 'w': the variance is of 'channels' or 'filters', got '2D'",
        ),
        (lambda: NormScaleRegularizer(strength=-1), "must not be negative, got -1"),
        (lambda: GroupNormRegularizer(strength=-1), "must not be negative, got -1"),
        (lambda: GrowingRegularizer(sparsity=1.0), "must be in [0, 1), got 1.0"),
        (lambda: GrowingRegularizer(sparsity=0.5, every=0), "must be positive, got 0"),
    ],
)
def test_bad_values_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"{re.escape(message)}$"):
        make()


@pytest.mark.parametrize(
    ("regularizer", "message"),
    [
        (
            L1Regularizer(reg_regims={"frist.weight": 0.1}),
            "reg_regims['frist.weight']: 'frist.weight' matches no parameter; did you mean 'first.weight'? "
            "(known: first.weight, head.bias, head.weight, norm.bias, norm.weight, second.bias, second.weight)",
        ),
        (
            GroupLassoRegularizer(reg_regims={"second.bias": (0.1, "Filters")}),
            "second.bias: it has 1 axis, and the groups 'filters' need at least 2; groups of such a tensor are: layer",
        ),
        (
            GroupLassoRegularizer(reg_regims={"first.weight": (0.1, "Rows+Cols")}),
            "first.weight: it has 4 axes, and the groups 'rows+columns' need 2; groups of such a tensor are: filters, "
            "channels, kernels, layer, channels+layer",
        ),
        (
            GroupVarianceRegularizer(reg_regims={"first.weight": (0.1, "Channels")}),
            "first.weight: one group of 'Channels' has no variance; leave it out",
        ),
        (
            NormScaleRegularizer(strength=0.1, dims="second"),
            "dims 'second': no norm writes any of these dims; name the scales as weights",
        ),
        (
            NormScaleRegularizer(strength=0.1, weights="head.weight"),
            "head.weight: a scale has one axis, and this has the shape (2, 3); name the norm's weight",
        ),
        (
            GroupNormRegularizer(strength=0.1, dims="frist"),
            "dims 'frist': 'frist' matches no prunable dim or parameter; did you mean 'first'? (known: first, second)",
        ),
        (
            GrowingRegularizer(sparsity=0.1, dims="frist"),
            "dims 'frist': 'frist' matches no prunable dim or parameter; did you mean 'first'? (known: first, second)",
        ),
    ],
)
def test_names_that_do_not_fit_are_refused(regularizer: Regularizer, message: str) -> None:
    with pytest.raises(PlanError) as caught:
        regularizer.check_names(chain())
    assert str(caught.value) == message


@pytest.mark.parametrize("shape", [(1025, 1024), (1025, 32, 32), (130, 130, 9, 7)])
@pytest.mark.parametrize("axis", [0, 1])
def test_norms_of_slices_of_large_tensors_are_those_of_torch(shape: tuple[int, ...], axis: int) -> None:
    others = [other for other in range(len(shape)) if other != axis]
    values = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    values.select(axis, 3).zero_()
    found, expected = (values.clone().requires_grad_() for _ in range(2))
    weights = torch.arange(1.0, shape[axis] + 1, dtype=torch.float64)
    ours, torchs = slice_norms(found, axis), torch.linalg.vector_norm(expected, dim=others)
    assert ours.grad_fn is not None
    assert "SliceNorms" in ours.grad_fn.name()  # they are large enough for it
    (ours * weights).sum().backward()
    (torchs * weights).sum().backward()
    assert torch.allclose(ours, torchs, rtol=1e-13, atol=0)
    assert torch.allclose(found.grad, expected.grad, rtol=1e-12, atol=1e-14)
    assert not found.grad.select(axis, 3).any()


def test_norms_of_slices_of_halves_do_not_overflow() -> None:
    tensor = torch.full((1025, 1024), 300.0, dtype=torch.float16)
    assert torch.allclose(slice_norms(tensor, 1).double(), torch.full((1024,), 300 * 1025**0.5).double(), rtol=1e-3)
