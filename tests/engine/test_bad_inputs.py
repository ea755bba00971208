"""Bad inputs of any kind: one clear error of ours, and nothing changed."""

from __future__ import annotations

import copy
import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import secateur
from secateur.plugins import PluginManager, using
from secateur.records import Criterion


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm, self.out = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.relu(self.norm(self.stem(x))))


X = torch.zeros(2, 3, 5, 5)


def unchanged(model: nn.Module) -> Any:
    return copy.deepcopy(model.state_dict()), [module.training for module in model.modules()], str(model)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"prune": 1.0},
            "PlanError",
            r"prune: a ratio must be in \[0, 1\), got 1.0; it is the share of units that leaves",
        ),
        ({"prune": 1}, "PlanError", r"prune: a ratio must be in \[0, 1\), got 1"),
        ({"prune": 1.5}, "PlanError", r"prune: a ratio must be in \[0, 1\), got 1.5"),
        ({"prune": -0.1}, "PlanError", r"prune: a ratio must be in \[0, 1\), got -0.1"),
        ({"prune": float("nan")}, "PlanError", r"prune: a ratio must be in \[0, 1\), got nan"),
        ({"prune": float("inf")}, "PlanError", r"prune: a ratio must be in \[0, 1\), got inf"),
        ({"prune": "0.5"}, "PlanError", r"prune: expected a number in \[0, 1\), got '0.5'"),
        ({"prune": True}, "PlanError", r"prune: expected a number in \[0, 1\), got True"),
        ({"prune": None}, "PlanError", r"prune: expected a number in \[0, 1\), got None"),
        ({"prune": [0.5]}, "PlanError", r"prune: expected a number in \[0, 1\), got \[0.5\]"),
        ({"prune": 0.5j}, "PlanError", r"prune: expected a number in \[0, 1\), got 0.5j"),
        ({"prune": torch.tensor(0.5)}, "PlanError", r"prune: expected a number in \[0, 1\), got tensor\(0.5"),
        ({"prune": {"stem": 2}}, "PlanError", r"prune\['stem'\]: a ratio must be in \[0, 1\), got 2"),
        ({"prune": {"stem": "x"}}, "PlanError", r"prune\['stem'\]: expected a number in \[0, 1\), got 'x'"),
        (
            {"prune": {"stme": 0.5}},
            "PlanError",
            r"prune\['stme'\]: 'stme' matches no prunable dim or parameter; did you mean 'stem'",
        ),
        (
            {"prune": {"out": 0.5}},
            "PlanError",
            r"prune\['out'\]: 'out.*' cannot be pruned: it is an output of the model",
        ),
        ({"prune": {3: 0.5}}, "PlanError", r"prune: expected names or globs as keys, got 3"),
        ({"prune": {("a", 1): 0.5}}, "PlanError", r"prune: expected names or globs as keys, got \('a', 1\)"),
        (
            {"keep": "stme"},
            "PlanError",
            r"keep='stme': 'stme' matches no prunable dim or parameter; did you mean 'stem'",
        ),
        (
            {"keep": ["stem", "zzz*"]},
            "PlanError",
            r"keep='zzz\*': 'zzz\*' matches no prunable dim or parameter; \(known: stem\)",
        ),
        ({"keep": 5}, "PlanError", r"keep: expected names or globs, got 5"),
        ({"keep": None}, "PlanError", r"keep: expected names or globs, got None"),
        ({"keep": [5]}, "PlanError", r"keep: expected names or globs, got 5"),
        ({"criterion": "l3"}, "PluginError", r"no criterion named 'l3'; did you mean 'l[12]'\?"),
        ({"criterion": ["l1"]}, "PluginError", r"no criterion named \['l1'\]"),
        ({"criterion": None}, "PluginError", r"no criterion named None"),
        ({"builder": "trase"}, "PluginError", r"no graph builder named 'trase'; did you mean 'trace'\?"),
        ({"builder": {}}, "PluginError", r"no graph builder named {}"),
        ({"scope": "everywhere"}, "PlanError", r"unknown scope 'everywhere'; it is 'local', 'global' or 'isomorphic'"),
        ({"scope": ["local"]}, "PlanError", r"scope: unknown scope \['local'\]"),
        ({"round_to": 0}, "PlanError", r"round_to: expected a positive integer, got 0"),
        ({"round_to": 2.0}, "PlanError", r"round_to: expected a positive integer, got 2.0"),
        ({"round_to": True}, "PlanError", r"round_to: expected a positive integer, got True"),
    ],
)
def test_options_of_plan(options: dict[str, Any], error: str, message: str) -> None:
    model = Net()
    before = unchanged(model)
    with pytest.raises(getattr(secateur, error), match=message):
        secateur.plan(model, (X,), **options)
    after = unchanged(model)
    assert all(torch.equal(value, after[0][name]) for name, value in before[0].items())
    assert before[1:] == after[1:]


HINT = r"check that model\(\*example_inputs\) runs by itself, with inputs of the right number, shape and dtype"


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (
            None,
            r"example_inputs: expected a tuple of positional inputs or a dict .*, got NoneType; .* give \(x,\)",
        ),
        (np.zeros((2, 3, 5, 5)), r"example_inputs: expected a tuple .*, got ndarray"),
        ("x", r"example_inputs: expected a tuple .*, got str"),
        ((), rf"the forward of Net failed.*TypeError: .*missing 1 required positional argument: 'x'; {HINT}"),
        ((X, X), r"the forward of Net failed.*TypeError: .*takes 2 positional arguments but 3 were given"),
        (
            (torch.zeros(2, 4, 5, 5),),
            r"the forward of Net failed at .*test_bad_inputs.py:\d+: RuntimeError: .*\[2, 4, 5, 5\] to have 3 channels",
        ),
        (
            (torch.zeros(2, 3, 1, 1),),
            r"the forward of Net failed at .*: RuntimeError: .*[kK]ernel size can't be greater than actual input size",
        ),
        ((torch.zeros(2, 3, 5, 5, dtype=torch.long),), r"the forward of Net failed"),
        ((5,), r"the forward of Net failed .*TypeError: .*conv2d"),
        (("x",), r"the forward of Net failed .*TypeError: .*conv2d"),
        (({"x": X},), r"the forward of Net failed"),
        ({"y": X}, r"the forward of Net failed.*TypeError: .*unexpected keyword argument 'y'"),
        ({3: X}, r"the forward of Net failed.*TypeError: .*keywords must be strings"),
        ({}, r"the forward of Net failed.*missing 1 required positional argument"),
    ],
)
def test_example_inputs_that_do_not_fit(inputs: Any, message: str) -> None:
    model = Net()
    with pytest.raises(secateur.CaptureError, match=message):
        secateur.plan(model, inputs)
    with pytest.raises(secateur.CaptureError, match=message):
        secateur.trace(model, inputs)


@pytest.mark.parametrize("model", [None, "resnet", 5, torch.relu, Net, object(), [Net()], {}, X])
def test_what_is_no_module(model: Any) -> None:
    message = f"model: expected a torch.nn.Module, got {type(model).__name__}"
    plan = secateur.plan(Net(), (X,))
    for call in (
        lambda: secateur.plan(model, (X,)),
        lambda: secateur.trace(model, (X,)),
    ):
        with pytest.raises(secateur.CaptureError, match=message):
            call()
    for call in (lambda: secateur.thin(model, plan), lambda: secateur.masked(model, plan)):
        with pytest.raises(secateur.ThinError, match=message):
            call()


@pytest.mark.parametrize("plan", [None, {}, "plan", 0.5])
def test_what_is_no_plan(plan: Any) -> None:
    message = f"plan: expected what secateur.plan returns, got {type(plan).__name__}"
    for call in (lambda: secateur.thin(Net(), plan), lambda: secateur.masked(Net(), plan)):
        with pytest.raises(secateur.ThinError, match=message):
            call()


def test_a_plan_of_a_smaller_model_is_refused() -> None:
    def deep(layers: int) -> nn.Sequential:
        return nn.Sequential(*(nn.Linear(6, 6) for _ in range(layers)))

    x = torch.randn(2, 6)
    plan, model = secateur.plan(deep(2), (x,)), deep(3)
    message = "plan: the plan was made for another model: it does not know 2.weight; make a new plan"
    before = unchanged(model)
    for made in (plan, secateur.Plan.from_dict(plan.to_dict())):
        for call in (secateur.thin, secateur.masked):
            with pytest.raises(secateur.ThinError, match=message):
                call(model, made)
    assert str(unchanged(model)) == str(before)


@pytest.mark.parametrize("optimizer", [5, "adam", Net(), torch.optim.Adam])
def test_what_is_no_optimizer(optimizer: Any) -> None:
    model = Net()
    with pytest.raises(
        secateur.ThinError, match=f"optimizer: expected a torch.optim.Optimizer, got {type(optimizer).__name__}"
    ):
        secateur.thin(model, secateur.plan(model, (X,)), optimizer)
    assert model.stem.out_channels == 8


def test_inputs_of_thin_that_do_not_fit() -> None:
    model = Net()
    plan = secateur.plan(model, (X,))
    for inputs, message in {
        (torch.zeros(1, 4, 5, 5),): "the model does not run on the example inputs: RuntimeError",
        (): "the model does not run on the example inputs: TypeError",
        "x": "example_inputs: expected a tuple of positional inputs or a dict of keyword inputs, got str",
    }.items():
        with pytest.raises(secateur.SecateurError, match=message):
            secateur.thin(model, plan, example_inputs=inputs)
        assert model.stem.out_channels == 8
    secateur.thin(model, plan, example_inputs=X)
    assert model.stem.out_channels == 4


def test_models_without_anything_to_prune() -> None:
    for model in (nn.ReLU(), nn.Sequential(nn.ReLU(), nn.Dropout()), nn.Linear(3, 2)):
        plan = secateur.plan(model, (torch.zeros(2, 3),), {"*": 0.5})
        assert (plan.dims, plan.cuts) == ((), {})
        report = secateur.thin(model, plan)
        assert report.parameters_before == report.parameters_after
        assert report.share == 1
        assert "parameters" in str(report)
        with pytest.raises(
            secateur.PlanError, match=r"prune\['fc'\]: 'fc' matches no prunable dim or parameter; \(none is known\)"
        ):
            secateur.plan(model, (torch.zeros(2, 3),), {"fc": 0.5})
    for model in (nn.Sequential(), nn.Identity()):
        with pytest.raises(secateur.CaptureError, match=r"model: no torch operation was seen while .* ran"):
            secateur.plan(model, (X,))


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
@pytest.mark.parametrize("how", ["script", "trace", "inside"])
def test_scripted_models(how: str) -> None:
    plain = Net().eval()
    if how == "inside":
        model: nn.Module = Net().eval()
        model.norm = torch.jit.script(nn.BatchNorm2d(8))
    else:
        model = torch.jit.script(plain) if how == "script" else torch.jit.trace(plain, X)
    with pytest.raises(
        secateur.CaptureError,
        match=r"model.*: it is scripted by torch.jit, .*; give the plain nn.Module it was made from",
    ):
        secateur.plan(model, (X,))
    with pytest.raises(secateur.ThinError, match=r"model.*: it is scripted by torch.jit, .*; thin, then script"):
        secateur.thin(model, secateur.plan(plain, (X,)))


def test_wrapped_models() -> None:
    with pytest.raises(
        secateur.CaptureError, match=r"model: it is wrapped in DataParallel; give the model inside, model.module"
    ):
        secateur.plan(nn.DataParallel(Net()), (X,))
    compiled = torch.compile(Net(), backend="eager")
    with pytest.raises(
        secateur.CaptureError, match=r"model: it is wrapped in OptimizedModule; give the model inside, model._orig_mod"
    ):
        secateur.plan(compiled, (X,))


def test_lazy_modules_that_never_ran() -> None:
    model = nn.Sequential(nn.LazyConv2d(8, 3), nn.Conv2d(8, 2, 1))
    with pytest.raises(
        secateur.CaptureError, match=r"0.weight: it has no shape yet; run the model once before planning"
    ):
        secateur.plan(model, (X,))


def test_buffers_that_no_run_used_stay_as_they_are() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 1))
    model.register_buffer("sparse", torch.eye(3).to_sparse())
    model.register_buffer("table", torch.eye(6))
    plan = secateur.plan(model, (X,))
    assert set(plan.cuts) == {"0.weight", "0.bias", "1.weight"}
    secateur.thin(model, plan)
    assert model[0].out_channels == 4
    assert model.table.shape == (6, 6)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_numbers(value: float) -> None:
    model = Net()
    with torch.no_grad():
        model.stem.weight[3, 0, 0, 0] = value
    if np.isnan(value):
        with pytest.raises(
            secateur.PlanError,
            match=r"criterion: the criterion gave scores that are not numbers \(NaN\); are the weights finite\?",
        ):
            secateur.plan(model, (X,))
    else:
        assert 3 in secateur.plan(model, (X,)).dim("stem").kept
    assert secateur.plan(model, (X,), 0).cuts == {}


def test_a_model_that_gives_nan_thins_only_if_the_nan_stay() -> None:
    model = Net().eval()
    with torch.no_grad():
        model.out.bias[0] = float("nan")
    report = secateur.thin(model, secateur.plan(model, (torch.randn(2, 3, 5, 5),)))
    assert report.difference is not None
    assert report.difference.passed


def test_a_model_that_is_random_in_eval_mode_is_refused() -> None:
    class Noisy(Net):
        def forward(self, x: Tensor) -> Tensor:
            y = self.stem(x)
            return self.out(y * torch.rand_like(y))

    plan = secateur.plan(Noisy(), (torch.randn(2, 3, 5, 5),))
    assert not any(name.startswith("stem") for name in plan.cuts)
    assert re.search(r"→ rand_like at the model itself \(.*\): random numbers of its shape are", plan.explain("stem"))


def test_a_criterion_that_fails_is_named_with_its_plugin() -> None:
    class Broken:
        @secateur.hookimpl
        def secateur_criteria(self) -> list[Criterion]:
            return [Criterion(name="broken", score=lambda members: members[0].units)]  # type: ignore[attr-defined]

    manager = PluginManager.discover()
    manager.register(Broken(), "mine")
    message = (
        r"stem: the criterion 'broken' of .*mine.* failed: AttributeError: 'Member' object has no attribute 'units'"
    )
    with using(manager), pytest.raises(secateur.PluginError, match=message):
        secateur.plan(Net(), (X,), criterion="broken")
