"""Criteria by hand on tiny tensors, and what collectors see; masked equals thinned for plans by each criterion."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import secateur
from secateur.errors import PlanError
from secateur.pruning.collecting import Collector
from secateur.pruning.members import Member, members_of
from secateur.pruning.selection import select_counts
from secateur.testing.examples import Residual
from secateur.testing.values import randomised, unchanged
from secateur.thinning.planner import couple
from secateur.thinning.state import named_parameters
from secateur_pruners.apoz import ActivationShare
from secateur_pruners.fisher import SecondOrder
from secateur_pruners.geometric_median import geometric_median
from secateur_pruners.lamp import lamp
from secateur_pruners.mean_activation import MeanActivation
from secateur_pruners.norm_scale import norm_scale
from secateur_pruners.random_order import random_order
from secateur_pruners.taylor import FirstOrder

GATHERED = ["apoz", "mean_activation", "taylor", "fisher"]
WEIGHED = ["l1", "l2", "geometric_median", "lamp", "random"]


def members(size: int, /, **tensors: Tensor) -> list[Member]:
    """Members that write `size` units along axis 0 (readers: names ending in `_in`, along axis 1)."""
    index = np.arange(size)[:, None]
    slices = {(name.replace("__", "."), int(name.endswith("_in"))): index for name in tensors}
    readers = frozenset(key for key in slices if key[1])
    return members_of(slices, readers, {name.replace("__", "."): tensor for name, tensor in tensors.items()})


def test_geometric_median_sums_distances_over_coupled_filters() -> None:
    a, b = torch.tensor([[1.0, 0.0], [4.0, 0.0], [1.0, 0.0]]), torch.tensor([[0.0], [4.0], [1.0]])
    found = geometric_median(members(3, a=a, b=b, other_in=torch.full((2, 3), 9.0), bias=torch.full((3,), 9.0)))
    far = (9 + 9) ** 0.5  # units 1 and 2: (4, 0 | 4) and (1, 0 | 1)
    np.testing.assert_allclose(found, [5 + 1, 5 + far, 1 + far], atol=1e-12)


def test_filters_of_zeros_are_the_lowest_and_no_neighbours() -> None:
    a = torch.tensor([[1.0, 1.0], [0.0, 0.0], [1.0, 2.0], [0.0, 0.0], [1.0, 4.0]])
    np.testing.assert_allclose(geometric_median(members(5, a=a)), [1 + 3, 0, 1 + 2, 0, 3 + 2], atol=1e-12)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_lamp_gives_no_number_for_weights_that_are_none(wrong: float) -> None:
    a = torch.tensor([[1.0], [wrong], [2.0]])
    assert np.isnan(lamp(members(3, a=a))).any()


def test_infinite_scores_do_not_compete() -> None:
    scores = [np.array([1.0, np.inf]), np.array([1.0, 2.0])]
    with pytest.raises(PlanError, match=r"criterion: the criterion gave infinite scores; are the weights finite\?"):
        select_counts([2, 2], [1, 1], lambda i: scores[i], "global")


def test_equal_filters_are_at_no_distance() -> None:
    np.testing.assert_array_equal(geometric_median(members(3, a=torch.full((3, 4), 0.1))), [0, 0, 0])


def test_lamp_is_the_share_in_what_is_at_least_as_large() -> None:
    found = lamp(members(4, a=torch.tensor([[2.0], [1.0], [3.0], [-1.0]])))
    np.testing.assert_allclose(found, [4 / 13, 1 / 15, 1, 1 / 14])
    np.testing.assert_array_equal(lamp(members(2, a=torch.zeros(2, 3))), [0, 0])


def test_norm_scale_adds_up_norms_and_takes_no_slope_for_one() -> None:
    filters = torch.full((2, 1), 9.0)
    both = {"bn__weight": torch.tensor([-0.5, 0.25]), "bn__bias": torch.zeros(2), "act__weight": torch.tensor([7.0, 7])}
    np.testing.assert_allclose(norm_scale(members(2, conv__weight=filters, **both)), [0.5, 0.25])
    np.testing.assert_allclose(norm_scale(members(2, rms__weight=torch.tensor([2.0, -3.0]))), [2, 3])
    with pytest.raises(secateur.PlanError, match=r"^conv\.weight: no norm with a weight scales these units; name the"):
        norm_scale(members(2, conv__weight=filters, conv__bias=torch.ones(2)))


def test_random_scores_differ_by_name_and_are_the_same_each_time() -> None:
    one, two = members(8, a=torch.ones(8, 2)), members(8, b=torch.ones(8, 2))
    np.testing.assert_array_equal(random_order(one), random_order(one))
    assert (random_order(one) != random_order(two)).all()
    assert ((random_order(one) >= 0) & (random_order(one) < 1)).all()


class Small(nn.Module):
    """Two units that are read after ReLU: identity weights, so that activations are the inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(2, 2, bias=False), nn.Linear(2, 1, bias=False)
        with torch.no_grad():
            self.first.weight.copy_(torch.eye(2))
            self.last.weight.copy_(torch.tensor([[2.0, -1.0]]))

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.last(F.relu(self.first(x)))
        return made


def watched(collector: Collector, model: nn.Module, example: Tensor) -> list[Member]:
    (dim,) = couple(model, (example,)).dims
    found = members_of(dim.slices, dim.readers, named_parameters(model))
    collector.attach(model, {0: found})
    return found


def test_activations_are_seen_where_they_are_read() -> None:
    model, share, mean = Small(), ActivationShare(), MeanActivation()
    found = watched(share, model, torch.ones(1, 2))
    mean.attach(model, {0: found})
    model(torch.tensor([[1.0, -1.0], [2.0, 0.0]]))
    model(torch.tensor([[-3.0, 6.0], [5.0, -1.0]]))
    share.detach()
    mean.detach()
    model(torch.ones(9, 2))  # nobody looks any more
    assert share.seen == mean.seen == 2
    np.testing.assert_allclose(share.scores(0, found), [3 / 4, 1 / 4])  # APoZ is 1/4 and 3/4: the second leaves first
    np.testing.assert_allclose(mean.scores(0, found), [8 / 4, 6 / 4])
    np.testing.assert_allclose(mean.scores(0, found[:1]), [2, 1.5])  # a writer stands for the dim


def test_a_convolution_sees_channels_and_a_flattened_unit_is_several_features() -> None:
    conv, head = nn.Conv2d(1, 2, 1), nn.Linear(8, 3)
    after = nn.Sequential(conv, nn.Flatten(), head)
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([1.0, 2.0]).reshape(2, 1, 1, 1))
        conv.bias.zero_()
    mean = MeanActivation()
    example = torch.tensor([1.0, 0.0, -3.0, 0.0]).reshape(1, 1, 2, 2)
    found = watched(mean, after, example)
    after(example)
    np.testing.assert_allclose(mean.scores(0, found), [1, 2])


def gradients_by_hand(model: Small) -> None:
    """Two backwards: dL/dfirst is 2x in the first row, -x in the second, where the units are positive; L is the sum."""
    model(torch.tensor([[1.0, 3.0]])).sum().backward()
    model(torch.tensor([[2.0, 1.0]])).sum().backward()


def test_first_order_squares_the_sum_over_coupled_weights_by_backward() -> None:
    model, first = Small(), FirstOrder()
    found = watched(first, model, torch.ones(1, 2))
    gradients_by_hand(model)
    writer, reader = [m for m in found if not m.reads], [m for m in found if m.reads]
    # unit 0: w * g is 1 * 2x_0; unit 1: 1 * -x_1; the gradients add up in .grad, and count by backward
    np.testing.assert_allclose(first.scores(0, writer), [(2**2 + 4**2) / 2, (3**2 + 1**2) / 2])
    np.testing.assert_allclose(first.scores(0, reader), [(2**2 + 4**2) / 2, (3**2 + 1**2) / 2])
    np.testing.assert_allclose(first.scores(0, found), first.scores(0, writer))
    assert first.seen == 2


def test_first_order_looks_at_the_magnitude() -> None:
    model, first = nn.Sequential(nn.Linear(1, 2, bias=False), nn.Linear(2, 1, bias=False)), FirstOrder()
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[-5.0], [0.1]]))
        model[1].weight.copy_(torch.tensor([[2.0, 1.0]]))
    found = watched(first, model, torch.ones(1, 1))
    model(torch.ones(1, 1)).sum().backward()  # w * g: -10 and 0.1
    np.testing.assert_allclose(first.scores(0, found), [100, 0.01], rtol=1e-6)


def test_second_order_is_half_the_sum_of_squares() -> None:
    model, second = Small(), SecondOrder()
    with torch.no_grad():
        model.first.weight.copy_(torch.tensor([[1.0, 2.0], [0.0, 1.0]]))
    found = watched(second, model, torch.ones(1, 2))
    model(torch.tensor([[1.0, 3.0]])).sum().backward()
    # unit 0: gradients 2 and 6, products 2 and 12; unit 1: gradients -1 and -3, products 0 and -3
    np.testing.assert_allclose(second.scores(0, found), [(4 + 144) / 2, 9 / 2])


@pytest.mark.parametrize("kind", [ActivationShare, MeanActivation, FirstOrder, SecondOrder])
def test_hooks_are_taken_out(kind: type[Collector]) -> None:
    model = Small()
    collector = kind()
    watched(collector, model, torch.ones(1, 2))
    collector.detach()
    collector.detach()
    assert not any(module._forward_pre_hooks for module in model.modules())
    assert not any(parameter._backward_hooks for parameter in model.parameters())


# -- plans ------------------------------------------------------------------------------------------------------


def batches(number: int = 3) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(3)
    return [
        (torch.randn(4, 3, 5, 5, generator=generator, dtype=torch.float64), torch.tensor([0, 1, 2, 3]))
        for _ in range(number)
    ]


EXAMPLE = (torch.ones(2, 3, 5, 5, dtype=torch.float64),)


def same(left: Any, right: Any) -> None:
    torch.testing.assert_close(left, right, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("scope", ["local", "global", "isomorphic"])
@pytest.mark.parametrize("criterion", [*WEIGHED, *GATHERED])
def test_masked_equals_thinned(criterion: str, scope: Any) -> None:
    model, inputs = randomised(Residual()), batches()[0][0]
    calibrate = secateur.calibration(batches(), F.cross_entropy)
    plan = secateur.plan(model, EXAMPLE, 0.5, criterion, scope=scope, calibrate=calibrate)
    assert sum(dim.size - len(dim.kept) for dim in plan.dims) == 4 + 6
    expected = secateur.masked(model, plan)(inputs)
    secateur.thin(model, plan)
    same(model(inputs), expected)


def test_norms_lead_where_there_are_some() -> None:
    model = randomised(Residual())
    plan = secateur.plan(model, EXAMPLE, {"stem": 0.5}, "norm_scale")
    gamma = model.norm.weight.detach().abs()
    assert list(plan.dims[0].kept) == sorted(gamma.argsort(descending=True)[:4].tolist())
    with pytest.raises(secateur.PlanError, match=r"^left\.weight: no norm with a weight"):
        secateur.plan(model, EXAMPLE, 0.5, "norm_scale")


@pytest.mark.parametrize("criterion", GATHERED)
def test_calibrating_leaves_no_trace(criterion: str) -> None:
    model = randomised(Residual()).train()
    model.norm.eval()
    model.head.weight.grad = mark = torch.ones_like(model.head.weight)

    def calibrate(shown: nn.Module) -> None:
        shown.train()  # batch norm moves its statistics
        for inputs, targets in batches(2):
            F.cross_entropy(shown(inputs), targets).backward()

    flags = [module.training for module in model.modules()]
    with unchanged(model, criterion):
        secateur.plan(model, EXAMPLE, 0.5, criterion, calibrate=calibrate)
    assert [module.training for module in model.modules()] == flags
    assert model.head.weight.grad is mark
    assert bool((mark == 1).all())
    assert all(p.grad is None for p in model.parameters() if p is not model.head.weight)
    assert not any(parameter._backward_hooks for parameter in model.parameters())


def test_calibration_runs_so_many_mini_batches_in_eval_mode() -> None:
    model, seen = randomised(Residual()).train(), []
    model.register_forward_pre_hook(lambda module, args: seen.append((module.training, torch.is_grad_enabled())))
    secateur.calibration(batches(), batches=2)(model)
    assert seen == [(False, False)] * 2
    assert model.training
    secateur.calibration([inputs for inputs, _ in batches()])(model)
    secateur.calibration([{"x": inputs} for inputs, _ in batches()], lambda out, batch: out.sum())(model)
    assert seen[2:] == [(False, False)] * 3 + [(False, True)] * 3
    assert all(parameter.grad is None for parameter in model.parameters())


def blind(model: nn.Module) -> None:
    """Runs nothing."""


class Unread(nn.Module):
    """Units that only a grouped convolution and a product read."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.mix = nn.Conv2d(3, 8, 1), nn.Parameter(torch.ones(8, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.first(x).mean((2, 3)) @ self.mix


MESSAGES: dict[str, tuple[Any, dict[str, Any], str]] = {
    "none": (
        Residual,
        {"criterion": "apoz"},
        "criterion: the criterion 'apoz' scores what mini-batches show, and none",
    ),
    "nothing ran": (Residual, {"criterion": "taylor", "calibrate": blind}, "calibrate: it ran no mini-batch that the"),
    "no backward": (
        Residual,
        {"criterion": "taylor", "calibrate": secateur.calibration(batches())},
        "calibrate: it ran no mini-batch that the criterion could see; call the model it is given; gradients need a",
    ),
    "unread": (
        Unread,
        {"criterion": "apoz", "calibrate": secateur.calibration(batches())},
        "first.weight: no convolution of one group and no linear layer reads its units, so their activations cannot",
    ),
    "frozen": (
        lambda: Residual().requires_grad_(False),
        {"criterion": "fisher", "calibrate": secateur.calibration(batches(), F.cross_entropy)},
        "stem.weight: no gradients of it are computed (requires_grad is False); prune it by a criterion of weights",
    ),
}


@pytest.mark.parametrize("case", MESSAGES)
def test_what_cannot_be_scored_is_said(case: str) -> None:
    make, options, message = MESSAGES[case]
    model = randomised(make())
    with unchanged(model, case), pytest.raises(secateur.PlanError) as caught:
        secateur.plan(model, EXAMPLE, 0.5, **options)
    assert str(caught.value).startswith(message)


def test_a_bad_number_of_batches_is_refused() -> None:
    with pytest.raises(secateur.PlanError, match=r"^batches: expected a positive integer, got 0$"):
        secateur.calibration([], batches=0)
