"""What one run in eval mode on the example does not show: training, comparisons of sizes, values, memory and inputs."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import secateur

X = torch.randn(2, 3, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


class Base(nn.Module):
    """Two convolutions and a classifier; subclasses change `middle`."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 1)
        self.out = nn.Linear(8, 4)
        self.width = 8

    def middle(self, h: Tensor) -> Tensor:
        return h

    def forward(self, x: Tensor) -> Any:
        return self.out(self.b(self.middle(self.norm(self.a(x)).relu())).mean((2, 3)))


def made(cls: type[nn.Module], law: Any) -> nn.Module:
    model: nn.Module = law.randomised(cls())
    return model.double()


def kept(plan: secateur.Plan, name: str) -> int:
    return len(plan.dim(name).kept)


# -- training mode ---------------------------------------------------------------------------------------------


class Head(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.fc = nn.Conv2d(8, 6, 1), nn.BatchNorm2d(6), nn.Linear(6, 4)

    def forward(self, h: Tensor) -> Tensor:
        return self.fc(self.norm(self.conv(F.adaptive_avg_pool2d(h, 1))).flatten(1))


class Auxiliary(Base):
    def __init__(self) -> None:
        super().__init__()
        self.head = Head()

    def forward(self, x: Tensor) -> Any:
        h = self.norm(self.a(x)).relu()
        y = self.out(self.b(h).mean((2, 3)))
        return (y, self.head(h)) if self.training else y


@pytest.mark.parametrize("batch", [1, 2])
def test_heads_that_only_training_uses_are_cut_whatever_the_batch(batch: int, law: Any) -> None:
    model = made(Auxiliary, law)
    secateur.thin(model, secateur.plan(model, (X[:batch],)))
    assert model.head.conv.weight.shape == (3, 4, 1, 1)
    outputs = model.train()(X)
    sum(output.sum() for output in outputs).backward()


class Noise(Base):
    def middle(self, h: Tensor) -> Tensor:
        return h * (1 + 0.1 * torch.randn(8, 1, 1, dtype=h.dtype)) if self.training else h


class NormalisedInTraining(Base):
    def middle(self, h: Tensor) -> Tensor:
        return h / (h.mean(1, keepdim=True).abs() + 1) if self.training else h


class OtherTensorInTraining(Base):
    def forward(self, x: Tensor) -> Any:
        wide, narrow = self.a(x), F.conv2d(x, self.narrow)
        return self.out(self.b((narrow if not self.training else wide).relu()).mean((2, 3)))

    def __init__(self) -> None:
        super().__init__()
        self.narrow = nn.Parameter(torch.randn(8, 3, 1, 1))


def test_the_same_calls_on_other_tensors_are_told_apart(law: Any) -> None:
    model = made(OtherTensorInTraining, law)
    plan = secateur.plan(model, (X,))
    assert {("a.weight", 0), ("narrow", 0)} <= set(plan.dim("a").slices)  # both are read by b, if in different modes
    secateur.thin(model, plan)
    model.train()(X).sum().backward()


@pytest.mark.parametrize("cls", [Noise, NormalisedInTraining])
def test_what_only_training_does_binds_too(cls: type[nn.Module], law: Any) -> None:
    plan = secateur.plan(made(cls, law), (X,))
    assert all(len(dim.kept) == dim.size for dim in plan.dims if dim.name == "a")
    assert "a" in "".join(r.parameter for r in plan.refusals)
    assert kept(plan, "b") == 4


def test_channels_that_a_norm_takes_for_space_stay() -> None:
    model = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(7), nn.Linear(8, 3)).double()
    plan = secateur.plan(model, (torch.randn(2, 7, 5, dtype=torch.float64),))
    assert not plan.cuts
    assert "takes its statistics over it" in plan.explain("0")


# -- comparisons and values ----------------------------------------------------------------------------------


class Asserts(Base):
    def middle(self, h: Tensor) -> Tensor:
        assert h.shape[1] == self.width
        return h


class Chooses(Base):
    def middle(self, h: Tensor) -> Tensor:
        return h * 2 if h.shape[1] > h.shape[2] else h


class AsksForSpace(Base):
    def middle(self, h: Tensor) -> Tensor:
        return h * 2 if h.shape[2] > 3 else h


@pytest.mark.parametrize("cls", [Asserts, Chooses])
def test_a_comparison_must_come_out_the_same(cls: type[nn.Module], law: Any) -> None:
    model = made(cls, law)
    plan = secateur.plan(model, (X,))
    report = secateur.thin(model, plan)
    assert report.difference.relative < 1e-11
    if cls is Asserts:
        assert "decides what runs at" in plan.explain("a")


@pytest.mark.parametrize(
    ("written", "use"),
    [
        ("h * 2 if h.shape[1] > h.shape[2] else h", "decides what runs"),
        ("h * 2 ** h.shape[1]", "is used as a number"),
        ("h * h.shape[1] ** -0.5", "scales something"),
    ],
)
def test_a_line_that_is_not_known_is_said_to_be_so(written: str, use: str, law: Any) -> None:
    """Code that was made while the program ran has no file."""
    middle = type("Middle", (nn.Module,), {"forward": eval(f"lambda self, h: {written}")})()
    model = law.randomised(nn.Sequential(nn.Conv2d(3, 8, 1), middle, nn.Conv2d(8, 2, 1)))
    text = secateur.plan(model, (X,)).explain("0")
    assert f" {use} at an unknown line" in text
    assert "None" not in text


def test_a_comparison_of_space_binds_nothing(law: Any) -> None:
    assert kept(secateur.plan(made(AsksForSpace, law), (X,)), "a") == 4


class Routes(Base):
    def __init__(self) -> None:
        super().__init__()
        self.experts = nn.ModuleList([nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)])

    def middle(self, h: Tensor) -> Tensor:
        return self.experts[int(h.sum() > 0)](h)


def test_routing_by_values_past_other_parameters_is_refused(law: Any) -> None:
    plan = secateur.plan(made(Routes, law), (X,))
    assert not plan.dims
    assert "takes one path or another by the values of tensors" in plan.explain("a")
    assert "test_beyond_the_example.py" in plan.explain("a")


# -- memory and inputs ---------------------------------------------------------------------------------------


def test_parameters_that_share_memory_without_being_one_object_are_refused(law: Any) -> None:
    model = made(Base, law)
    model.b.weight = nn.Parameter(model.b.weight.detach())
    model.twin = nn.Parameter(model.b.weight.detach().view(64))
    plan = secateur.plan(model, (X,))
    with pytest.raises(
        secateur.ThinError, match=r"it shares its memory with '(twin|b\.weight)', and cutting would part"
    ):
        secateur.thin(model, plan)
    assert model.b.weight.shape == (8, 8, 1, 1)


class ChangesItsInput(Base):
    def forward(self, x: Tensor) -> Any:
        return super().forward(x.sub_(0.5).mul_(2))


def test_example_inputs_stay_as_they_were(law: Any) -> None:
    model, x = made(ChangesItsInput, law), X.clone()
    secateur.thin(model, secateur.plan(model, (x,)))
    assert torch.equal(x, X)


def test_constant_examples_are_verified_on_random_ones(law: Any) -> None:
    model = made(Base, law)
    report = secateur.thin(model, secateur.plan(model, (torch.zeros_like(X),)))
    assert report.difference.relative > 0


class Sizes(Base):
    def __init__(self) -> None:
        super().__init__()
        self.sizes = [4, 4]

    def middle(self, h: Tensor) -> Tensor:
        left, right = h.split(self.sizes, 1)
        return torch.cat([right, left], 1)


def test_lists_of_sizes_follow_stay_lists_and_load_again(tmp_path: Path, law: Any) -> None:
    model = made(Sizes, law)
    secateur.thin(model, secateur.plan(model, (X,)))
    assert type(model.sizes) is list
    assert sum(model.sizes) == model.a.out_channels == 4
    secateur.save(tmp_path / "x", model)
    again = secateur.load(tmp_path / "x", Sizes().double())
    assert again.sizes == model.sizes
    assert torch.equal(again.eval()(X), model.eval()(X))
    secateur.load(tmp_path / "x", model)  # thin by the same recipe already


def test_a_part_that_was_thinned_by_itself_is_not_saved_as_the_whole(tmp_path: Path, law: Any) -> None:
    whole = nn.Sequential(made(Base, law))
    secateur.thin(whole[0], secateur.plan(whole[0], (X,)))
    with pytest.raises(secateur.CheckpointError, match="only its part '0' was thinned"):
        secateur.save(tmp_path / "x", whole)


@pytest.mark.parametrize("name", ["Adafactor", "LBFGS", "Muon"])
def test_optimizers_whose_state_cannot_be_cut_are_named(name: str, law: Any) -> None:
    if not hasattr(torch.optim, name):
        pytest.skip(f"this torch has no {name}")
    model = nn.Sequential(nn.Linear(4, 8, bias=False), nn.Linear(8, 2, bias=False)).double()
    optimizer = getattr(torch.optim, name)(model.parameters(), lr=0.1)
    plan = secateur.plan(model, (torch.randn(3, 4, dtype=torch.float64),))
    with pytest.raises(secateur.ThinError, match=f"optimizer: {name} .* thin without optimizer="):
        secateur.thin(model, plan, optimizer)
    assert model[0].out_features == 8


# -- rules -----------------------------------------------------------------------------------------------------


class NormByFunction(Base):
    def middle(self, h: Tensor) -> Tensor:
        n = self.norm
        return h * F.batch_norm(h, n.running_mean, n.running_var, n.weight, n.bias + 1).sum(1, keepdim=True)


class Squeezes(Base):
    def middle(self, h: Tensor) -> Tensor:
        return h + h.mean((2, 3), keepdim=True).squeeze()[:, :, None, None]


class Where(Base):
    def middle(self, h: Tensor) -> Tensor:
        return h * len(torch.where(h[0, 0] > 0))


class NormalOfTwo(Base):
    def middle(self, h: Tensor) -> Tensor:
        return h + 0 * torch.normal(h, h.abs()) if self.training else h


@pytest.mark.parametrize("cls", [NormByFunction, Squeezes, Where, NormalOfTwo])
def test_odd_calls_are_exact_or_refused(cls: type[nn.Module], law: Any) -> None:
    model = made(cls, law)
    for ratio in (0.5, 0.8):
        report = secateur.thin(model, secateur.plan(model, (X,), ratio))
        assert report.difference.relative < 1e-11
        assert report.share < 1
        model.train()(X).sum().backward()


class ByBatch(Base):
    def middle(self, h: Tensor) -> Tensor:
        return h.flip(1) if h.shape[0] > 3 else h


def test_a_branch_on_what_another_input_may_change_is_a_caution(law: Any) -> None:
    plan = secateur.plan(made(ByBatch, law), (X,))
    (caution,) = plan.cautions
    assert re.fullmatch(
        r"the forward compares \(.*shape\[0\] > 3\) at .*test_beyond_the_example\.py:\d+: "
        "only the path the example took is known",
        caution,
    )
    assert f"careful: {caution}" in str(plan)
    assert secateur.Plan.from_dict(plan.to_dict()).cautions == plan.cautions
    assert secateur.plan(made(Base, law), (X,)).cautions == ()


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated")
def test_models_that_hold_results_of_computations_can_be_masked(law: Any) -> None:
    model = made(Base, law)
    nn.utils.weight_norm(model.b)
    plan = secateur.plan(model, (X,))
    assert secateur.masked(model, plan)(X).shape == (2, 4)


def test_a_checkpoint_replaces_checkpoints_only(tmp_path: Path, law: Any) -> None:
    model = made(Base, law)
    source = tmp_path / "model.py"
    source.write_text("def build(): ...\n")
    with pytest.raises(secateur.CheckpointError, match="a file that is no checkpoint would be overwritten; remove it"):
        secateur.save(source, model)
    assert source.read_text() == "def build(): ...\n"
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(secateur.CheckpointError, match="it is a device, a pipe or a socket; name an ordinary file"):
        secateur.save(tmp_path / "pipe", model)
    secateur.save(tmp_path / "x", model)
    secateur.save(tmp_path / "x", model)
