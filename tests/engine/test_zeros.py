"""Thinning from zeros: what zeroed weights have silenced leaves, and the network computes what it did."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import prune

import secateur
from secateur.plugins import current
from secateur.testing.networks import random_network
from secateur.thinning.masking import results_held
from secateur.thinning.planner import couple
from secateur.thinning.verify import outputs
from secateur.zeros.tables import MOVING, POINTWISE, POOLING, REDUCING
from secateur.zeros.unknowns import NotFollowedError, Unknowns
from secateur_models.torchvision_import import import_torchvision

TOLERANCE = 1e-11
NAN = float("nan")


@pytest.fixture(scope="module")
def normal(law: Any) -> Callable[..., Tensor]:
    return law.normal


def sizes(plan: secateur.Plan) -> dict[str, list[int]]:
    """The units that leave, of the dims of which any do."""
    return {dim.name: dim.leaving.tolist() for dim in plan.dims if len(dim.leaving)}


def thinned(model: nn.Module, inputs: Any, tolerance: float = TOLERANCE, **options: Any) -> tuple[Any, secateur.Plan]:
    """A thin copy that computes what the model does, on the example inputs and on others; and the plan."""
    inputs = (inputs,) if isinstance(inputs, Tensor) else inputs
    plan = secateur.plan_zeros(model, inputs, **options)
    thin = copy.deepcopy(model, results_held(model))
    report = secateur.thin(thin, plan)
    assert report.difference is not None
    others = tuple(3 * torch.randn_like(x) if x.is_floating_point() else x.flip(0) for x in inputs)
    for given in (inputs, others):
        for left, right in zip(outputs(model, given), outputs(thin, given), strict=True):
            assert float((left - right).abs().max()) <= tolerance * float(left.abs().max().clamp_min(1e-300))
    return thin, plan


# -- chains of linear layers ---------------------------------------------------------------------------------------


def chain(*widths: int) -> nn.Sequential:
    layers = [layer for a, b in pairwise(widths) for layer in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def zero(tensor: Tensor, *index: Any) -> None:
    with torch.no_grad():
        tensor[index] = 0


def test_what_nothing_reads_leaves(law: Any, normal: Any) -> None:
    model = law.randomised(chain(4, 6, 3))
    zero(model[2].weight, slice(None), [1, 4])
    thin, plan = thinned(model, normal(5, 4))
    assert sizes(plan) == {"0": [1, 4]}
    assert not plan.folds
    assert thin[0].weight.shape == (4, 4)


def test_what_emits_a_constant_is_folded(law: Any, normal: Any) -> None:
    model = law.randomised(chain(4, 6, 3))
    zero(model[0].weight, [0, 5])
    with torch.no_grad():
        model[0].bias[0], model[0].bias[5] = 2.0, -1.0  # the second is silent after the rectifier
    expected = model[2].bias + 2 * model[2].weight[:, 0]
    thin, plan = thinned(model, normal(5, 4))
    assert sizes(plan) == {"0": [0, 5]}
    assert list(plan.folds) == ["2.bias"]
    assert torch.allclose(thin[2].bias, expected, rtol=1e-13)


def test_death_cascades_backwards(law: Any, normal: Any) -> None:
    model = law.randomised(chain(4, 6, 6, 6, 3))
    zero(model[6].weight, slice(None), slice(0, 3))  # nothing reads units 0..2 of the third layer
    zero(model[4].weight, slice(3, 6), [0, 1])  # only those read units 0 and 1 of the second
    zero(model[2].weight, slice(2, 6), [3])  # and only those read unit 3 of the first
    _, plan = thinned(model, normal(5, 4))
    assert sizes(plan) == {"0": [3], "2": [0, 1], "4": [0, 1, 2]}


def test_constants_cascade_forwards(law: Any, normal: Any) -> None:
    model = law.randomised(chain(4, 6, 6, 3))
    zero(model[0].weight, [0, 1])
    zero(model[2].weight, [4], slice(2, 6))  # reads constants only
    with torch.no_grad():
        model[2].bias[4] = 20
    thin, plan = thinned(model, normal(5, 4))
    assert sizes(plan) == {"0": [0, 1], "2": [4]}
    assert set(plan.folds) == {"2.bias", "4.bias"}
    assert thin[4].weight.shape == (3, 5)


def test_nothing_is_silent_nothing_leaves(law: Any, normal: Any) -> None:
    _, plan = thinned(law.randomised(chain(4, 6, 3)), normal(5, 4))
    assert not plan.cuts
    assert plan.silenced.remnants == ()


def test_something_of_every_axis_stays(law: Any, normal: Any) -> None:
    model = law.randomised(chain(4, 6, 3))
    zero(model[0].weight)
    thin, plan = thinned(model, normal(5, 4))
    assert thin[0].weight.shape == (1, 4)
    assert len(plan.dim("0").leaving) == 5


def test_keep_and_its_names(law: Any, normal: Any) -> None:
    model = law.randomised(chain(4, 6, 6, 3))
    zero(model[0].weight, [0])
    zero(model[2].weight, [0])
    _, plan = thinned(model, normal(5, 4), keep="2")
    assert sizes(plan) == {"0": [0]}
    with pytest.raises(secateur.PlanError, match="'nothing' matches no prunable dim"):
        secateur.plan_zeros(model, (normal(5, 4),), keep="nothing")


@pytest.mark.parametrize("accept", [-1.0, NAN, float("inf"), "much", True])
def test_a_bad_number_to_accept(law: Any, normal: Any, accept: Any) -> None:
    with pytest.raises(secateur.PlanError, match=r"accept: expected a number of at least 0, got"):
        secateur.plan_zeros(chain(4, 3, 2), (normal(5, 4),), accept=accept)


def test_the_model_is_as_it_was(law: Any, normal: Any) -> None:
    model = law.randomised(chain(4, 6, 3)).train()
    zero(model[0].weight, [0])
    before = copy.deepcopy(model.state_dict())
    state = torch.get_rng_state()
    secateur.plan_zeros(model, (normal(5, 4),))
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    assert model.training


def test_gradients_and_momentum_of_a_folded_bias_stay(law: Any, normal: Any) -> None:
    model = law.randomised(chain(4, 6, 3))
    zero(model[0].weight, [0])
    model[0].bias.data[0] = 1
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0, momentum=0.9)
    model(normal(5, 4)).sum().backward()
    optimizer.step()
    gradient = model[2].bias.grad.clone()
    secateur.thin(model, secateur.plan_zeros(model, (normal(5, 4),)), optimizer)
    assert torch.equal(model[2].bias.grad, gradient)
    assert optimizer.state[model[2].weight]["momentum_buffer"].shape == (3, 5)


# -- convolutions and batch norms ----------------------------------------------------------------------------------


def convolutions(law: Any, padding: int, bias: bool = True, mode: str = "zeros") -> nn.Sequential:
    """The first three of six filters are zero; their batch norms emit 1, 0 (after the rectifier) and 0.5."""
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Conv2d(6, 5, 3, padding=padding, padding_mode=mode, bias=bias),
        nn.ReLU(),
        nn.Conv2d(5, 2, 1),
    )
    law.randomised(model)
    with torch.no_grad():
        model[0].weight[:3] = 0
        model[1].running_mean[:3] = 0
        model[1].bias[:3] = torch.tensor([1.0, -1.0, 0.5])
    return model


@pytest.mark.parametrize("mode", ["zeros", "circular", "reflect", "replicate"])
def test_without_zero_padding_constants_are_folded_exactly(law: Any, normal: Any, mode: str) -> None:
    model = convolutions(law, 0 if mode == "zeros" else 1, mode=mode)
    expected = model[3].bias + (model[3].weight[:, :3].sum((2, 3)) * torch.tensor([1.0, 0.0, 0.5])).sum(1)
    thin, plan = thinned(model, normal(2, 3, 8, 8))
    assert sizes(plan) == {"0": [0, 1, 2]}
    assert torch.allclose(thin[3].bias, expected, rtol=1e-12)


def test_zero_padding_is_refused_with_the_size_of_the_effect(law: Any, normal: Any) -> None:
    model, x = convolutions(law, 1), normal(2, 3, 8, 8)
    _, plan = thinned(model, x)
    assert sizes(plan) == {"0": [1]}
    (left,) = plan.silenced.remnants
    assert (left.dim, left.units.tolist(), left.accepted) == ("0", [0, 2], False)
    assert left.reason == "the constant it emits meets the zero padding of 3, where it differs from the rest"
    folded = copy.deepcopy(model)
    with torch.no_grad():
        folded[3].bias += model[3].weight[:, 0].sum((1, 2)) + 0.5 * model[3].weight[:, 2].sum((1, 2))
        folded[3].weight[:, :3] = 0
        change = float((folded(x) - model(x)).abs().max() / model(x).abs().max())
    assert left.effect == pytest.approx(change, rel=1e-9)
    assert change > 1e-3


def test_the_effect_can_be_accepted(law: Any, normal: Any) -> None:
    model, x = convolutions(law, 1), normal(2, 3, 8, 8)
    (left,) = secateur.plan_zeros(model, (x,)).silenced.remnants
    just_below = secateur.plan_zeros(model, (x,), accept=0.99 * left.effect)
    assert sizes(just_below) == {"0": [1]}
    plan = secateur.plan_zeros(model, (x,), accept=1.01 * left.effect)
    assert sizes(plan) == {"0": [0, 1, 2]}
    assert plan.silenced.remnants[0].accepted
    assert plan.silenced.effect == pytest.approx(left.effect)
    reference = outputs(model, (x,))
    report = secateur.thin(model, plan)
    assert report.difference.relative == pytest.approx(left.effect, rel=1e-9)
    law_broken = float((outputs(model, (x,))[0] - reference[0]).abs().max() / reference[0].abs().max())
    assert law_broken == pytest.approx(left.effect, rel=1e-9)


def test_no_effect_on_the_examples_is_no_proof(law: Any, normal: Any) -> None:
    model, x = convolutions(law, 1), normal(2, 3, 8, 8)
    with torch.no_grad():
        model[3].bias.fill_(-1e3)  # nothing passes the rectifier, on these inputs
    plan = secateur.plan_zeros(model, (x,))
    assert sizes(plan) == {"0": [1]}
    assert [(left.effect, left.accepted) for left in plan.silenced.remnants] == [(0.0, False)]
    assert sizes(secateur.plan_zeros(model, (x,), accept=1e-12)) == {"0": [0, 1, 2]}


def test_what_was_accepted_is_measured_again_by_thin(law: Any, normal: Any) -> None:
    model, x = convolutions(law, 1), normal(2, 3, 8, 8)
    saved = secateur.plan_zeros(model, (x,), accept=10).to_dict()
    assert saved["silenced"]["effect"] > 1e-3
    saved["silenced"]["effect"] = 0.0
    plan = secateur.Plan.from_dict(saved)
    with pytest.raises(secateur.VerificationError, match="original and thinned outputs differ by"):
        secateur.thin(model, plan, example_inputs=(x,))
    assert model[0].weight.shape[0] == 6


def test_a_small_input_does_not_hide_the_border(law: Any, normal: Any) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 1))
    law.randomised(model)
    with torch.no_grad():
        model[0].weight[0], model[0].bias[0] = 0, 1
        model[2].weight[1, 1:] = 0  # a constant of this size of input, not of a larger one
        model[2].bias[1] = 5
    plan = secateur.plan_zeros(model, (normal(2, 3, 1, 1),))
    assert sizes(plan) == {}
    x = normal(2, 3, 6, 6)
    secateur.thin(model, plan)
    thinned(model, x)


def test_without_a_bias_the_running_mean_takes_the_constant(law: Any, normal: Any) -> None:
    model = convolutions(law, 0, bias=False)
    model[4] = nn.Sequential(law.randomised(nn.BatchNorm2d(5), 3), nn.ReLU())
    thin, plan = thinned(model, normal(2, 3, 8, 8))
    assert sizes(plan) == {"0": [0, 1, 2]}
    assert list(plan.folds) == ["4.0.running_mean"]
    lost = (model[3].weight[:, :3].sum((2, 3)) * torch.tensor([1.0, 0.0, 0.5])).sum(1)
    assert torch.allclose(thin[4][0].running_mean, model[4][0].running_mean - lost, rtol=1e-12)


class Fork(nn.Module):
    """A convolution without bias whose result is read by more than its batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 6, 1), nn.Conv2d(6, 5, 1, bias=False)
        self.norm = nn.BatchNorm2d(5)
        self.end = nn.Conv2d(5, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.b(self.a(x))
        return self.end(self.norm(y) + y)


def test_without_anything_to_take_it_the_constant_is_refused(law: Any, normal: Any) -> None:
    model = law.randomised(Fork())
    zero(model.a.weight, [2])
    _, plan = thinned(model, normal(2, 3, 4, 4))
    assert sizes(plan) == {}
    (left,) = plan.silenced.remnants
    assert left.reason == "the constant it emits would have to go into a bias, and b has none of its own"
    assert left.effect > 0


def test_network_slimming(law: Any, normal: Any) -> None:
    model = convolutions(law, 1)
    law.randomised(model, 1)
    with torch.no_grad():
        model[1].weight[[1, 3]] = 0
        model[1].bias[[1, 3]] = torch.tensor([-0.5, 0.0], dtype=torch.float64)
    _, plan = thinned(model, normal(2, 3, 8, 8))
    assert sizes(plan) == {"0": [1, 3]}


def test_grouped_and_transposed(law: Any, normal: Any) -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 1),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, groups=8),
        nn.ReLU(),
        nn.ConvTranspose2d(8, 6, 2, stride=2),
        nn.ReLU(),
        nn.Conv2d(6, 2, 1),
    )
    law.randomised(model)
    with torch.no_grad():
        model[0].weight[:2] = 0
        model[2].bias[:2] = torch.tensor([-50.0, 50.0])  # silent, and a constant for the transposed convolution
        model[6].weight[:, 4] = 0
    _, plan = thinned(model, normal(2, 3, 6, 6))
    assert sizes(plan) == {"0": [0], "4": [4]}
    (left,) = plan.silenced.remnants
    assert left.units.tolist() == [1]


# -- branches ------------------------------------------------------------------------------------------------------


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.body = nn.Conv2d(3, 6, 1), nn.Conv2d(6, 6, 1)
        self.end = nn.Conv2d(6, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.end(torch.relu(x + self.body(x)))


def test_a_unit_of_a_residual_stream_is_dead_if_all_its_writers_are(law: Any, normal: Any) -> None:
    model = law.randomised(Residual())
    zero(model.stem.weight, [0, 1, 2])
    zero(model.body.weight, [1, 2, 3])
    thin, plan = thinned(model, normal(2, 3, 4, 4))
    assert sizes(plan) == {"stem": [1, 2]}
    assert set(plan.folds) <= {"body.bias", "end.bias"}
    assert thin.end.weight.shape[1] == 4


def test_a_unit_of_a_residual_stream_is_dead_if_nothing_reads_it(law: Any, normal: Any) -> None:
    model = law.randomised(Residual())
    zero(model.end.weight, slice(None), [0, 1])
    zero(model.body.weight, [1, 2, 3, 4, 5], [0])  # unit 0 is read only by itself
    _, plan = thinned(model, normal(2, 3, 4, 4))
    assert sizes(plan) == {"stem": [0]}


class Summed(nn.Module):
    """What `a` writes is read by a sum too, which no weight can silence."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.a(x))
        return self.b(x) + x.sum(1, keepdim=True)


def test_what_is_read_by_more_than_weights_stays(law: Any, normal: Any) -> None:
    model = law.randomised(Summed())
    zero(model.b.weight, slice(None), [0])  # the sum still reads it
    zero(model.a.weight, [1, 2])
    with torch.no_grad():
        model.a.bias[1:3] = torch.tensor([-1.0, 1.0])  # silent for the sum, and not
    _, plan = thinned(model, normal(5, 4))
    assert sizes(plan) == {"a": [1]}


class Attention(nn.Module):
    def __init__(self, fused: bool) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(6, 8) for _ in range(4))
        self.o = nn.Linear(8, 6)
        self.fused = fused

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.q(x), self.k(x), self.v(x)
        if self.fused:
            return self.o(F.scaled_dot_product_attention(q, k, v, scale=0.3))
        return self.o((q @ k.transpose(-2, -1) * 0.3).softmax(-1) @ v)


@pytest.mark.parametrize("fused", [False, True])
def test_products_of_activations_need_silence(law: Any, normal: Any, fused: bool) -> None:
    model = law.randomised(Attention(fused))
    zero(model.q.weight, [0, 1])
    zero(model.q.bias, [0])  # the scores lose nothing without unit 0; unit 1 is a constant
    zero(model.v.weight, [2])
    zero(model.v.bias, [2])
    zero(model.o.weight, slice(None), [5])
    _, plan = thinned(model, normal(2, 5, 6))
    assert sizes(plan)["q"] == [0]
    assert sizes(plan)["v"] == [2, 5]


class Words(nn.Module):
    def __init__(self, padding: bool) -> None:
        super().__init__()
        self.table, self.end, self.padding = nn.Embedding(10, 6), nn.Linear(6, 3), padding

    def forward(self, ids: Tensor) -> Tensor:
        words = self.table(ids)
        return self.end(words.masked_fill((ids == 0).unsqueeze(-1), 0) if self.padding else words)


@pytest.mark.parametrize("padding", [False, True])
def test_a_table_of_which_nobody_knows_the_rows(law: Any, padding: bool) -> None:
    model = law.randomised(Words(padding))
    zero(model.table.weight, slice(None), [1])
    zero(model.end.weight, slice(None), [2])
    with torch.no_grad():
        model.table.weight[:, 4] = 2  # a constant, unless some of it is masked
    _, plan = thinned(model, (torch.arange(8).reshape(2, 4),))
    assert sizes(plan) == {"table": [2] if padding else [1, 2, 4]}


class Deciding(nn.Module):
    def __init__(self, how: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.a, self.b, self.how = nn.Linear(4, 6), nn.Linear(6, 3), how

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.how(self.a(x)))


HIDING: dict[str, Callable[[Tensor], Tensor]] = {
    "comparison": lambda x: (x > 0).to(x.dtype),
    "cleaning": torch.nan_to_num,
    "sign": torch.sign,
    "fmax": lambda x: torch.fmax(x, torch.zeros_like(x)),
    "sort": lambda x: x.sort(1).values,
    "index": lambda x: x.argmax(1, keepdim=True).to(x.dtype) + torch.zeros_like(x),
    "where": lambda x: torch.where(x > 0, 1.0, 2.0).to(x.dtype),
    "noise": lambda x: x * 0 + torch.rand_like(x),
    "integers": lambda x: (x * 4).int().to(x.dtype),
}


@pytest.mark.parametrize("how", HIDING)
def test_operations_that_hide_what_they_read_are_no_constants(law: Any, normal: Any, how: str) -> None:
    model = law.randomised(Deciding(HIDING[how]))
    plan = secateur.plan_zeros(model, (normal(5, 4),))
    assert sizes(plan) == {}
    assert not plan.folds


def test_a_branch_on_values_is_refused(normal: Any) -> None:
    model = Deciding(lambda x: x if x.sum() > 0 else -x).double()
    with pytest.raises(secateur.PlanError, match=r"it cannot be told which units zeros have silenced: .*bool") as error:
        secateur.plan_zeros(model, (normal(5, 4),))
    assert "plan by name instead" in str(error.value)


# -- torch.nn.utils.prune ------------------------------------------------------------------------------------------


def test_masks_of_torch_are_cut_with_the_weights(law: Any, normal: Any) -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(96, 3))
    law.randomised(model)
    prune.ln_structured(model[0], "weight", 0.5, 2, 0)
    prune.ln_structured(model[2], "weight", 0.5, 2, 0)
    prune.random_unstructured(model[5], "weight", 0.5)
    x = normal(2, 3, 8, 8)
    model(x)
    thin, plan = thinned(model, x)
    assert [len(units) for units in sizes(plan).values()] == [4, 3]
    assert thin[0].weight_orig.shape == thin[0].weight_mask.shape == (4, 3, 3, 3)
    assert thin[2].weight_orig.shape == thin[2].weight_mask.shape == (3, 4, 3, 3)
    assert thin[5].weight_mask.shape == (3, 48)
    assert thin[2].in_channels == 4
    loss = thin(x).sum()
    loss.backward()
    assert thin[0].weight_orig.grad.shape == (4, 3, 3, 3)
    for layer in (0, 2, 5):
        prune.remove(thin[layer], "weight")
    assert float((thin(x) - model(x)).detach().abs().max()) < 1e-10


def test_weights_pruned_at_random_silence_some(law: Any, normal: Any) -> None:
    model = law.randomised(chain(6, 12, 12, 3))
    torch.manual_seed(0)
    for layer in (0, 2, 4):
        prune.random_unstructured(model[layer], "weight", 0.85)
    _, plan = thinned(model, normal(4, 6))
    assert sum(map(len, sizes(plan).values())) >= 4


# -- plans and checkpoints -----------------------------------------------------------------------------------------


def test_a_saved_plan_folds_too(law: Any, normal: Any) -> None:
    model, x = convolutions(law, 0), normal(2, 3, 8, 8)
    plan = secateur.plan_zeros(model, (x,))
    loaded = secateur.Plan.from_dict(plan.to_dict())
    assert loaded.to_dict() == plan.to_dict()
    reference = outputs(model, (x,))[0]
    assert law.relative([reference], outputs(secateur.masked(model, loaded), (x,))) < TOLERANCE
    secateur.thin(model, loaded, example_inputs=(x,))
    assert law.relative([reference], outputs(model, (x,))) < TOLERANCE


def test_remnants_are_saved(law: Any, normal: Any) -> None:
    plan = secateur.plan_zeros(convolutions(law, 1), (normal(2, 3, 8, 8),))
    assert plan.silenced.remnants
    assert secateur.Plan.from_dict(plan.to_dict()).to_dict() == plan.to_dict()


def test_a_plan_for_another_bias_is_refused(law: Any, normal: Any) -> None:
    model, x = convolutions(law, 0), normal(2, 3, 8, 8)
    saved = secateur.plan_zeros(model, (x,)).to_dict()
    saved["silenced"]["folds"] = {"3.bias": [1.0, 2.0]}
    with pytest.raises(secateur.ThinError, match=r"3.bias: the plan adds numbers of shape \(2,\) to it"):
        secateur.thin(model, secateur.Plan.from_dict(saved), example_inputs=(x,))


def test_checkpoints_rebuild_it(law: Any, normal: Any, tmp_path: Any) -> None:
    model, x = convolutions(law, 0), normal(2, 3, 8, 8)
    reference = outputs(model, (x,))
    secateur.thin(model, secateur.plan_zeros(model, (x,)))
    secateur.save(tmp_path / "thin.safetensors", model)
    fresh = convolutions(law, 0)
    secateur.load(tmp_path / "thin.safetensors", fresh)
    assert law.relative(reference, outputs(fresh, (x,))) < TOLERANCE


# -- networks ------------------------------------------------------------------------------------------------------


def silence_filters(model: nn.Module, share: float, seed: int) -> None:
    """Zero whole filters with the batch norms that follow them."""
    generator = torch.Generator().manual_seed(seed)
    modules = list(model.modules())
    convs = [module for module in modules if isinstance(module, nn.Conv2d)]
    norms = [module for module in modules if isinstance(module, nn.BatchNorm2d)]
    with torch.no_grad():
        for conv, norm in zip(convs, norms, strict=True):
            dead = torch.rand(conv.out_channels, generator=generator) < share
            conv.weight[dead] = 0
            norm.bias[dead] = 0
            norm.running_mean[dead] = 0


def test_resnet20(law: Any, normal: Any) -> None:
    model = law.randomised(current().models["resnet20_cifar"].build())
    silence_filters(model, 0.4, 0)
    thin, plan = thinned(model, normal(2, 3, 16, 16))
    inner = [dim for dim in plan.dims if dim.name.endswith("conv1") and dim.name.startswith("layer")]
    for dim in inner:
        weight = model.get_submodule(dim.name).weight
        assert dim.leaving.tolist() == torch.nonzero((weight == 0).flatten(1).all(1)).flatten().tolist()
    assert sum(len(dim.leaving) for dim in inner) > 80
    assert sum(p.numel() for p in thin.parameters()) < 0.75 * sum(p.numel() for p in model.parameters())


def test_mobilenet(law: Any, normal: Any) -> None:
    model = law.randomised(import_torchvision().models.mobilenet_v2(num_classes=10, width_mult=0.35))
    silence_filters(model, 0.3, 0)
    thin, plan = thinned(model, normal(1, 3, 32, 32), tolerance=1e-10)
    assert sum(len(dim.leaving) for dim in plan.dims) > 300
    assert sum(p.numel() for p in thin.parameters()) < 0.8 * sum(p.numel() for p in model.parameters())


def silence_at_random(model: nn.Module, inputs: Any, seed: int) -> None:
    """Zero rows and columns of parameters at random, or whole units as writers or as readers."""
    rng = np.random.default_rng(seed)
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    if seed % 3:
        for parameter in model.parameters():
            for axis in range(min(parameter.dim(), 2)):
                if rng.random() < 0.6 and parameter.shape[axis] > 1:
                    gone = np.flatnonzero(rng.random(parameter.shape[axis]) < 0.9 * rng.random())
                    parameter.data.index_fill_(axis, torch.from_numpy(gone), 0)
        return
    for dim in couple(model, inputs).dims:
        for unit in np.flatnonzero(rng.random(len(dim)) < 0.5):
            reads, whole = rng.random() < 0.3, rng.random() < 0.5
            for (name, axis), indices in dim.slices.items():
                if ((name, axis) in dim.readers) == reads and (whole or tensors[name].dim() > 1):
                    tensors[name].data.index_fill_(axis, torch.from_numpy(indices[unit]), 0)


def silenced_network(seed: int, **options: Any) -> tuple[nn.Module, Any]:
    program = random_network(seed, **options)
    model, inputs = program.build().double().eval(), program.example_inputs()
    silence_at_random(model, inputs, seed)
    return model, inputs


CONVOLUTIONAL: dict[str, Any] = {"steps": 16, "inputs": "map"}


@pytest.mark.parametrize("seed", range(60))
def test_random_convolutional_networks(seed: int) -> None:
    thinned(*silenced_network(seed, **CONVOLUTIONAL))


@pytest.mark.parametrize("seed", range(30))
def test_random_programs(seed: int) -> None:
    thinned(*silenced_network(seed))


def test_random_networks_become_smaller() -> None:
    plans = [secateur.plan_zeros(*silenced_network(seed, **CONVOLUTIONAL)) for seed in range(24)]
    assert sum(bool(plan.cuts) for plan in plans) >= 16
    assert sum(len(plan.folds) for plan in plans) >= 12
    assert sum(bool(plan.silenced.remnants) for plan in plans) >= 3


# -- what is not known ---------------------------------------------------------------------------------------------

UNARY = (
    "relu relu6 leaky_relu elu selu celu gelu silu mish hardswish tanh tanhshrink softshrink hardshrink softsign abs "
    "neg sqrt square sin asin sinh asinh tan atan atanh erf expm1 log1p trunc round ceil floor frac positive sigmoid "
    "hardsigmoid softplus logsigmoid exp exp2 cos cosh acos erfc hardtanh reciprocal rsqrt log log2 log10 logit "
    "digamma lgamma acosh clone detach amax amin max min sum mean var std prod norm"
)
CALLS: dict[str, Callable[[Tensor], Tensor]] = {
    "clamp": lambda x: x.clamp(0, 1),
    "maximum": lambda x: torch.maximum(x, torch.zeros_like(x)),
    "minimum": lambda x: torch.minimum(x, torch.zeros_like(x)),
    "threshold": lambda x: F.threshold(x, 0.5, 2.0),
    "softmax": lambda x: x.softmax(1),
    "log_softmax": lambda x: x.log_softmax(1),
    "logsumexp": lambda x: x.logsumexp(1),
    "cumsum": lambda x: x.cumsum(1),
    "layer_norm": lambda x: F.layer_norm(x, x.shape[-1:]),
    "group_norm": lambda x: F.group_norm(x, 2),
    "normalize": lambda x: F.normalize(x),
    "local_response_norm": lambda x: F.local_response_norm(x, 2),
    "prelu": lambda x: F.prelu(x, torch.ones(1, dtype=x.dtype)),
    "max_pool2d": lambda x: F.max_pool2d(x, 2),
    "avg_pool2d": lambda x: F.avg_pool2d(x, 2),
    "adaptive_max_pool2d": lambda x: F.adaptive_max_pool2d(x, 2),
    "adaptive_avg_pool2d": lambda x: F.adaptive_avg_pool2d(x, 2),
    "lp_pool2d": lambda x: F.lp_pool2d(x, 2.0, 2),
    "interpolate": lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"),
    "glu": lambda x: F.glu(x, 1),
    "pixel_shuffle": lambda x: F.pixel_shuffle(x, 2),
    "roll": lambda x: x.roll(1, 1),
    "pad": lambda x: F.pad(x, (1, 1)),
    "lerp": lambda x: torch.lerp(x, torch.ones_like(x), 0.3),
    "addcmul": lambda x: torch.addcmul(x, torch.ones_like(x), torch.ones_like(x)),
}


@pytest.mark.parametrize("name", [*UNARY.split(), *CALLS])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
def test_operations_of_the_table_pass_what_is_not_known(name: str, dtype: torch.dtype) -> None:
    table = f"{POINTWISE} {MOVING} {REDUCING} {POOLING}".split()
    assert name in table
    function = CALLS.get(name) or getattr(F, name, None) or getattr(torch, name)
    known = torch.rand(2, 8, 4, 4, dtype=dtype) * 0.5 + 0.3
    unknown = known.clone()
    unknown[1, 2, 1, 3] = NAN
    result = function(unknown)
    moved = known.clone()
    moved[1, 2, 1, 3] = 0.95
    changed = function(moved) != function(known)
    assert result.isnan().any()
    assert bool((changed <= result.isnan()).all())


def test_zero_times_unknown_is_zero() -> None:
    unknowns = Unknowns(current().op_rules)
    x, w = torch.tensor([[1.0, NAN, 2.0]]), torch.tensor([[1.0, 0.0, 3.0], [1.0, 1.0, 0.0]])
    found = unknowns.do("linear", F.linear, (x, w, torch.tensor([1.0, 1.0])), {})
    assert found[0, 0] == 8
    assert found[0, 1].isnan()
    gate = unknowns.do("mul", torch.mul, (x, torch.tensor([NAN, 0.0, 1.0])), {})
    assert gate.isnan().tolist() == [[True, False, False]]
    image = torch.full((1, 2, 4, 4), NAN)
    normed = unknowns.do(
        "batch_norm",
        F.batch_norm,
        (image, torch.zeros(2), torch.ones(2), torch.tensor([0.0, 1.0]), torch.tensor([3.0, 3.0])),
        {},
    )
    assert (normed[0, 0] == 3).all()
    assert normed[0, 1].isnan().all()


def test_values_that_are_not_known_cannot_be_read() -> None:
    unknowns = Unknowns(current().op_rules)
    with pytest.raises(NotFollowedError, match="the forward reads values"):
        unknowns.do("item", torch.Tensor.item, (torch.tensor(NAN),), {})
    places = unknowns.do("argmax", torch.argmax, (torch.tensor([NAN, 1.0]),), {})
    with pytest.raises(NotFollowedError, match="the forward reads values"):
        unknowns.do("item", torch.Tensor.item, (places,), {})
