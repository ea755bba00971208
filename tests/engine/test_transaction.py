"""Thinning is all or nothing: parameters keep their identity, optimizers go on, and a failure puts everything back."""

from __future__ import annotations

import copy
import itertools
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import secateur
from secateur.coupling.labels import Axis
from secateur.plugins import PluginManager, current, using
from secateur.records import OpRule
from secateur.thinning import transaction


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)
        self.b, self.out = nn.Conv2d(8, 6, 3, padding=1), nn.Linear(6, 3)
        self.width = 8

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.norm(self.a(x)))
        y = y.view(len(x), self.width, -1).view(len(x), -1, 4, 4)
        return self.out(self.b(y).mean((2, 3)))


def inputs(count: int = 4) -> Tensor:
    return torch.randn(count, 3, 6, 6, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "sgd": lambda p: torch.optim.SGD(p, 0.05),
    "momentum": lambda p: torch.optim.SGD(p, 0.05, momentum=0.9, nesterov=True),
    "adam": lambda p: torch.optim.Adam(p, 0.01),
    "amsgrad": lambda p: torch.optim.AdamW(p, 0.01, amsgrad=True),
    "adagrad": lambda p: torch.optim.Adagrad(p, 0.01),
    "adadelta": lambda p: torch.optim.Adadelta(p),
    "rmsprop": lambda p: torch.optim.RMSprop(p, 0.001, momentum=0.5, centered=True),
    "asgd": lambda p: torch.optim.ASGD(p, 0.01),
    "rprop": lambda p: torch.optim.Rprop(p, 0.001),
    "nadam": lambda p: torch.optim.NAdam(p, 0.01),
    "radam": lambda p: torch.optim.RAdam(p, 0.01),
    "adamax": lambda p: torch.optim.Adamax(p, 0.01),
}


def step(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor) -> Tensor:
    optimizer.zero_grad()
    loss = model(x).square().sum()
    loss.backward()
    optimizer.step()
    return loss


def trained(law: Any, optimizer: str = "adam") -> tuple[nn.Module, torch.optim.Optimizer, Tensor]:
    """A model after some steps, its optimizer, and the last loss, which keeps its graph alive."""
    model = law.randomised(Net()).train()
    made = OPTIMIZERS[optimizer](model.parameters())
    for _ in range(3):
        loss = step(model, made, inputs())
    return model, made, loss


def state(model: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> list[Any]:
    """Everything a rollback must bring back, to the bit and to the object."""
    found: list[Any] = []
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        grad = None if tensor.grad is None else (id(tensor.grad), tensor.grad.tolist())
        found.append((name, id(tensor), tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.tolist(), grad))
    for path, module in model.named_modules():
        plain = {key: value for key, value in module.__dict__.items() if isinstance(value, int | tuple | str | list)}
        found.append((path, plain, sorted(module.__dict__)))
    if optimizer is not None:
        for group in optimizer.param_groups:
            found.append([id(parameter) for parameter in group["params"]])
            for parameter in group["params"]:
                entries = optimizer.state.get(parameter, {})
                found.append(
                    {key: (id(held), held.tolist()) for key, held in entries.items() if isinstance(held, Tensor)}
                )
    return found


@pytest.fixture
def plugins() -> Iterator[PluginManager]:
    """Fresh plugins, to which a test may add its own."""
    with using(PluginManager.discover()) as manager:
        yield manager


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_training_goes_on_as_that_of_the_masked_network(law: Any, optimizer: str) -> None:
    model, made, _loss = trained(law, optimizer)
    parameters = dict(model.named_parameters())
    plan = secateur.plan(model, (inputs(),))
    secateur.thin(model, plan, made)
    assert {name: id(p) for name, p in model.named_parameters()} == {name: id(p) for name, p in parameters.items()}
    for parameter in model.parameters():
        assert parameter.grad is not None
        assert parameter.grad.shape == parameter.shape
        for value in made.state[parameter].values():
            assert not isinstance(value, Tensor) or value.numel() == 1 or value.shape == parameter.shape
    kept = {name: p.detach().clone() for name, p in parameters.items()}
    for _ in range(2):
        step(model, made, inputs())
    assert not torch.equal(kept["b.weight"], parameters["b.weight"])


def test_gradients_and_moments_are_the_kept_slices(law: Any) -> None:
    model, optimizer, _loss = trained(law)
    dense = {name: (p.detach().clone(), p.grad.clone()) for name, p in model.named_parameters()}
    moments = {name: copy.deepcopy(optimizer.state[p]) for name, p in model.named_parameters()}
    plan = secateur.plan(model, (inputs(),))
    secateur.thin(model, plan, optimizer)
    for name, parameter in model.named_parameters():

        def cut(tensor: Tensor, name: str = name) -> Tensor:
            for axis, gone in plan.cuts.get(name, {}).items():
                tensor = tensor.index_select(axis, torch.from_numpy(np.setdiff1d(np.arange(tensor.shape[axis]), gone)))
            return tensor

        assert torch.equal(parameter, cut(dense[name][0]))
        assert torch.equal(parameter.grad, cut(dense[name][1]))
        for key in ("exp_avg", "exp_avg_sq"):
            assert torch.equal(optimizer.state[parameter][key], cut(moments[name][key]))
        assert optimizer.state[parameter]["step"] == moments[name]["step"]


def test_attributes_and_report(law: Any) -> None:
    model = law.randomised(Net())
    plan = secateur.plan(model, (inputs(),))
    assert plan.attributes[("", "width")] == (8, 4)
    assert plan.attributes[("norm", "num_features")] == (8, 4)
    before = sum(p.numel() for p in model.parameters())
    report = secateur.thin(model, plan)
    assert model.width == 4
    assert type(model.width) is int
    assert repr(model.b) == "Conv2d(4, 3, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))"
    assert (report.parameters_before, report.parameters_after) == (before, sum(p.numel() for p in model.parameters()))
    assert report.difference is not None
    assert report.difference.relative < 1e-12
    assert "parameters" in str(report)
    assert "differ by" in str(report)
    assert "not verified" in str(secateur.thin(law.randomised(Net()), plan, verify=False))


# -- failures put everything back ------------------------------------------------------------------------------


def test_a_lying_rule_is_found_out_and_rolled_back(law: Any, plugins: PluginManager) -> None:
    class Lies:
        @secateur.hookimpl
        def secateur_op_rules(self) -> list[OpRule]:
            def carry(site: Any) -> Any:
                return site["input"].axes

            return [OpRule(name="lie", ops=("fft_fftshift",), signature="input, dim", apply=carry)]

    class Rolled(Net):
        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.b(torch.fft.fftshift(torch.relu(self.norm(self.a(x))), 1)).mean((2, 3)))

    plugins.register(Lies(), "lies")
    model = law.randomised(Rolled())
    optimizer = torch.optim.Adam(model.parameters())
    step(model, optimizer, inputs())
    plan = secateur.plan(model, (inputs(),))
    before = state(model, optimizer)
    with pytest.raises(
        secateur.VerificationError, match=r"masked and thinned outputs differ by \S+ relative"
    ) as caught:
        secateur.thin(model, plan, optimizer)
    assert "the model is as it was" in str(caught.value)
    assert state(model, optimizer) == before


def test_state_of_another_shape_is_refused(law: Any) -> None:
    model, optimizer, _loss = trained(law)
    optimizer.state[model.b.weight]["factored"] = torch.ones(6, 8)
    plan = secateur.plan(model, (inputs(),))
    before = state(model, optimizer)
    message = r"b.weight: Adam keeps 'factored' of shape \(6, 8\) for a parameter of shape .*, which cannot be cut"
    with pytest.raises(secateur.ThinError, match=message):
        secateur.thin(model, plan, optimizer)
    assert state(model, optimizer) == before


def test_an_optimizer_that_keeps_one_flat_history_is_refused(law: Any) -> None:
    model = law.randomised(Net())
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=3)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = model(inputs()).square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    plan = secateur.plan(model, (inputs(),), {"b": 0.5})
    before = state(model, optimizer)
    with pytest.raises(
        secateur.ThinError, match=r"LBFGS keeps .* cannot be cut; thin without optimizer= and make a new optimizer"
    ):
        secateur.thin(model, plan, optimizer)
    assert state(model, optimizer) == before


def test_an_optimizer_of_another_model_is_refused(law: Any) -> None:
    model, other = law.randomised(Net()), law.randomised(Net())
    optimizer = torch.optim.SGD(other.parameters(), 0.1)
    before = state(model, optimizer)
    with pytest.raises(secateur.ThinError, match="SGD holds none of the parameters that the plan cuts"):
        secateur.thin(model, secateur.plan(model, (inputs(),)), optimizer)
    assert state(model, optimizer) == before


POINTS = ["_cut", "_set_data", "set_attribute", "get_attribute", "_verified", "record"]


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("failure", [RuntimeError("broken"), KeyboardInterrupt(), MemoryError("full")], ids=repr)
@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_failure_anywhere_brings_everything_back(
    law: Any, monkeypatch: pytest.MonkeyPatch, point: str, failure: BaseException, after: int
) -> None:
    model, optimizer, loss = trained(law)
    plan = secateur.plan(model, (inputs(),))
    before, original, calls = state(model, optimizer), getattr(transaction, point), itertools.count()

    def failing(*arguments: Any) -> Any:
        if next(calls) == after:
            original(*arguments)
            raise failure
        return original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(transaction, point, failing)
        if point in ("_verified", "record") and after:
            secateur.thin(model, plan, optimizer)
            return
        expected = secateur.ThinError if isinstance(failure, Exception) else type(failure)
        with pytest.raises(expected) as caught:
            secateur.thin(model, plan, optimizer)
    if isinstance(failure, RuntimeError):
        assert "RuntimeError: broken; the model is as it was" in str(caught.value)
    assert state(model, optimizer) == before
    del loss
    step(model, optimizer, inputs())
    secateur.thin(model, plan, optimizer)
    step(model, optimizer, inputs())


def test_an_attribute_that_cannot_be_set(law: Any) -> None:
    class Stubborn(Net):
        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, value)
            if name == "width" and value != 8:
                raise TypeError("eight or nothing")

    model = law.randomised(Stubborn())
    before = state(model)
    with pytest.raises(secateur.ThinError, match="TypeError: eight or nothing; the model is as it was"):
        secateur.thin(model, secateur.plan(model, (inputs(),)))
    assert state(model) == before


def test_a_plugin_that_fails_when_told(law: Any, plugins: PluginManager) -> None:
    class Tells:
        @secateur.hookimpl
        def secateur_model_thinned(self, report: Any) -> None:
            raise RuntimeError(str(report.parameters_after))

    plugins.register(Tells(), "tells")
    model = law.randomised(Net())
    before = state(model)
    with pytest.raises(secateur.PluginError, match=r"secateur_model_thinned of .*tells.* failed: RuntimeError"):
        secateur.thin(model, secateur.plan(model, (inputs(),)))
    assert state(model) == before


def test_a_plugin_may_veto_a_plan(law: Any, plugins: PluginManager) -> None:
    class Vetoes:
        @secateur.hookimpl
        def secateur_plan_ready(self, plan: Any) -> None:
            raise secateur.PlanError("not today", where="a")

    plugins.register(Vetoes(), "vetoes")
    with pytest.raises(secateur.PlanError, match="a: not today"):
        secateur.plan(law.randomised(Net()), (inputs(),))


def test_a_forward_that_depends_on_its_width(law: Any) -> None:
    class Picky(Net):
        def forward(self, x: Tensor) -> Tensor:
            y = self.a(x)
            if y.size(1) != 8:
                raise ValueError("I need eight")
            return self.out(self.b(y).mean((2, 3)))

    model = law.randomised(Picky())
    plan = secateur.plan(model, (inputs(),))
    assert re.search(
        r"the comparison \(.*shape\[1\] != 8\) decides what runs at .*test_transaction.py", plan.explain("a")
    )
    secateur.thin(model, plan)
    assert (model.a.out_channels, model.b.out_channels) == (8, 6 // 2)


# -- plans and the models they are for -------------------------------------------------------------------------


def test_a_plan_for_another_model(law: Any) -> None:
    plan = secateur.plan(law.randomised(Net()), (inputs(),))
    other = nn.Sequential(nn.Conv2d(3, 4, 3))
    with pytest.raises(secateur.ThinError, match=r"a.weight: the plan names it, the model does not have it"):
        secateur.thin(other, plan)
    with pytest.raises(secateur.ThinError, match=r"a.weight: the plan names it, the model does not have it"):
        secateur.masked(other, plan)
    wide = law.randomised(Net())
    wide.b = nn.Conv2d(8, 7, 3)
    with pytest.raises(
        secateur.ThinError, match=r"b.weight: the plan was made for shape \(6, 8, 3, 3\), it has \(7, 8, 3, 3\)"
    ):
        secateur.thin(wide, plan)
    renamed = law.randomised(Net())
    renamed.width = 9
    with pytest.raises(secateur.ThinError, match="width: the plan was made for the value 8, it is 9"):
        secateur.thin(renamed, plan)


def test_a_plan_applied_twice(law: Any) -> None:
    model = law.randomised(Net())
    plan = secateur.plan(model, (inputs(),))
    secateur.thin(model, plan)
    before = state(model)
    with pytest.raises(
        secateur.ThinError,
        match=r"a.weight: the plan was made for shape \(8, 3, 3, 3\), it has \(4, 3, 3, 3\); make a new plan",
    ):
        secateur.thin(model, plan)
    assert state(model) == before


def test_thinning_again_and_again(law: Any) -> None:
    model = law.randomised(Net())
    for width in (4, 2, 1, 1):
        secateur.thin(model, secateur.plan(model, (inputs(),)))
        assert (model.width, model.a.out_channels) == (width, width)


@pytest.mark.parametrize(
    "through", [lambda saved: saved, lambda saved: json.loads(json.dumps(saved))], ids=["dict", "json"]
)
def test_a_saved_plan_does_the_same(law: Any, through: Callable[[Any], Any]) -> None:
    class Listed(Net):
        def __init__(self) -> None:
            super().__init__()
            self.sizes, self.pair = [8, 16], (2, 8)

        def forward(self, x: Tensor) -> Tensor:
            y = self.a(x).view(-1, self.sizes[0], 16)
            return self.out(self.b(y.view(-1, self.pair[1], 4, 4)).mean((2, 3)))

    model = law.randomised(Listed())
    plan = secateur.plan(model, (inputs(),), {"*": 0.5})
    again = secateur.Plan.from_dict(through(plan.to_dict()))
    assert str(again) == str(plan)
    assert [(d.name, d.size, d.kept.tolist(), d.readers) for d in again.dims] == [
        (d.name, d.size, d.kept.tolist(), d.readers) for d in plan.dims
    ]
    assert again.refusals == plan.refusals
    one, two = copy.deepcopy(model), copy.deepcopy(model)
    secateur.thin(one, plan)
    secateur.thin(two, again, example_inputs=(inputs(),))
    assert all(torch.equal(one.state_dict()[key], value) for key, value in two.state_dict().items())
    assert (two.sizes, two.pair) == ([4, 16], (2, 4)) == (one.sizes, one.pair)
    with pytest.raises(
        secateur.ThinError, match=r"no example inputs to verify with .*; give example_inputs=, or verify=False"
    ):
        secateur.thin(model, again)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda saved: [], "expected a saved plan of format 2"),
        (lambda saved: {**saved, "format": 99}, "expected a saved plan of format 2"),
        (
            lambda saved: {key: value for key, value in saved.items() if key != "cuts"},
            "the saved plan is damaged: KeyError",
        ),
        (lambda saved: {**saved, "cuts": {"a.weight": {"0": [[5, 2]]}}}, "the saved plan is damaged: ValueError"),
        (lambda saved: {**saved, "cuts": {"a.weight": {"x": []}}}, "the saved plan is damaged: ValueError"),
        (lambda saved: {**saved, "dims": [1]}, "the saved plan is damaged: TypeError"),
    ],
)
def test_a_damaged_saved_plan(law: Any, damage: Callable[[Any], Any], message: str) -> None:
    plan = secateur.plan(law.randomised(Net()), (inputs(),))
    with pytest.raises(secateur.PlanError, match=message):
        secateur.Plan.from_dict(damage(plan.to_dict()))


@pytest.mark.parametrize(
    ("cuts", "message"),
    [
        ({"a.weight": {"0": [[0, 8]]}}, "a.weight: the plan leaves nothing of axis 0; keep at least one unit"),
        ({"a.weight": {"7": [[0, 1]]}}, "a.weight: the plan cuts axis 7, which it does not have"),
        ({"a.weight": {"0": [[7, 9]]}}, "a.weight: the plan cuts indices outside axis 0 of length 8"),
        ({"zzz": {"0": [[7, 9]]}}, "zzz: the plan cuts axis 0, which it does not have"),
    ],
)
def test_a_saved_plan_that_does_not_fit(law: Any, cuts: Any, message: str) -> None:
    model = law.randomised(Net())
    plan = secateur.Plan.from_dict({**secateur.plan(model, (inputs(),)).to_dict(), "cuts": cuts})
    with pytest.raises(secateur.ThinError, match=message):
        secateur.thin(model, plan, verify=False)


def test_a_rule_that_breaks_its_contract_is_named(law: Any, plugins: PluginManager) -> None:
    made: list[Any] = []

    class Wrong:
        @secateur.hookimpl
        def secateur_op_rules(self) -> list[OpRule]:
            return [
                OpRule(
                    name="wrong", ops=("renorm",), signature="input, p, dim, maxnorm", apply=lambda site: made[0](site)
                )
            ]

    class Cumulated(Net):
        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.b(self.a(x).renorm(2, 1, 1.0)).mean((2, 3)))

    plugins.register(Wrong(), "wrong")
    model = law.randomised(Cumulated())
    for answer, message in {
        lambda site: site["input"].axes[
            :-1
        ]: r"the rule 'wrong' gave axes of lengths \(4, 8, 4\) to an output of shape",
        lambda site: [
            Axis(np.zeros(3, np.int64))
        ]: r"the rule 'wrong' gave axes of lengths \(3,\) to an output of shape",
        lambda site: [site["input"], site["input"]]: r"the rule 'wrong' labelled 2 of 1 outputs",
        lambda site: None: "the rule 'wrong' gave None where a sequence of axes is due",
        lambda site: 5: "the rule 'wrong' gave 5 where a sequence of axes is due",
        lambda site: (1, 2): r"the rule 'wrong' gave \(1, 2\) where a sequence of axes is due",
        lambda site: 1 / 0: "the rule 'wrong' failed on .*: ZeroDivisionError: division by zero",
        lambda site: site["nothing"]: "the rule 'wrong' failed on .*: KeyError: 'nothing'",
        lambda site: site.tie(
            site["input"][0], site["input"][1]
        ): "the rule 'wrong' failed on .*cannot tie 4 atoms to 8",
    }.items():
        made[:] = [answer]
        with pytest.raises(secateur.PluginError, match=message) as caught:
            secateur.plan(model, (inputs(),))
        assert "test_transaction.py:" in str(caught.value)
    assert current() is plugins


def test_a_proof_over_outputs_of_zeros_is_said_to_say_little() -> None:
    model = Net().double()
    assert secateur.thin(model, secateur.plan(model, (inputs(),), prune=0.5)).notes == ()
    nn.init.zeros_(model.out.weight)
    nn.init.zeros_(model.out.bias)
    report = secateur.thin(model, secateur.plan(model, (inputs(),), prune=0.5))
    assert report.notes == (transaction.SILENT,)
    assert str(report).endswith("that the thin one's are equal says little")
