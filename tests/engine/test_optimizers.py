"""Optimizers follow: training the thin network is training the masked one, whatever the optimizer."""

from __future__ import annotations

import copy
import gc
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import secateur
from secateur.plugins import PluginManager, using
from secateur.records import OptimizerRule, StateEntry
from secateur.testing.broken import LawBroken, NotTried
from secateur.testing.optimizer_forms import Form, forms, networks, words
from secateur.testing.optimizers import follows_the_masked_network, is_well_formed
from secateur.testing.trajectories import loss_of, side_by_side, train_step
from secateur.thinning.masking import zero_slices
from secateur.thinning.optimizer import RULES, rule_of

NEAR = Form("Adafactor", {"lr": 0.001, "eps": (None, 10.0), "d": 1e9})
"""Steps that read no root mean square: the least is above that of any weight, and nothing is clipped."""


def made(name: str = "residual net") -> tuple[nn.Module, tuple[Any, ...], secateur.Plan]:
    model, inputs = networks()[name]
    return model.train(), inputs, secateur.plan(model, inputs, 0.5)


def adam(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=0.01)


def state(model: nn.Module, *optimizers: torch.optim.Optimizer) -> list[Any]:
    """All numbers and identities that a failure must leave alone."""
    found: list[Any] = [
        (name, id(t), t.data_ptr(), tuple(t.shape), t.detach().clone().tolist(), t.grad is None or t.grad.tolist())
        for name, t in [*model.named_parameters(), *model.named_buffers()]
    ]
    for optimizer in optimizers:
        for held in optimizer.state.values():
            found.append({k: (id(v), v.tolist()) for k, v in held.items() if isinstance(v, Tensor)})
    return found


# -- trajectories ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", forms(), ids=lambda form: f"{form.optimizer}, {form.name}")
def test_training_goes_on_as_that_of_the_masked_network(form: Form) -> None:
    for name in networks():
        model, inputs, plan = made(name)
        found = side_by_side(model, inputs, plan, form, after=6)
        assert found.losses <= 1e-11, name
        assert found.report.share < 0.7
        assert found.report.notes == ()


def test_every_optimizer_of_torch_has_a_rule() -> None:
    missing = [
        name
        for name, kind in vars(torch.optim).items()
        if isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer) and kind is not torch.optim.Optimizer
        if f"{kind.__module__}.{kind.__qualname__}" not in {each for rule in RULES for each in rule.types}
    ]
    assert missing == []
    assert {form.optimizer for form in forms()} | {"SparseAdam", "Adafactor", "Muon", "LBFGS"} == {
        rule.name for rule in RULES if rule.types[0].startswith("torch.optim.")
    }


def test_the_weights_are_the_same_too() -> None:
    model, inputs, plan = made("perceptron")
    assert side_by_side(model, inputs, plan, adam, after=20).weights <= 1e-11


def test_sparse_gradients_and_a_second_optimizer() -> None:
    model, inputs = words()
    plan = secateur.plan(model, inputs, 0.5)
    found = side_by_side(model, inputs, plan, Form("SparseAdam", {"lr": 0.002}), after=6)
    assert found.losses <= 1e-11
    assert found.model.embedding.weight.shape == (20, 4)
    assert [type(each).__name__ for each in found.optimizers] == ["SparseAdam", "AdamW"]
    assert found.optimizers[0].state[found.model.embedding.weight]["exp_avg"].shape == (20, 4)


def test_before_the_first_step() -> None:
    model, inputs, plan = made()
    for kind in (torch.optim.Adagrad, torch.optim.Adam):
        model, inputs, plan = made()
        assert (
            side_by_side(model, inputs, plan, lambda p, kind=kind: kind(p, lr=0.005), dense=0, masked=0).losses < 1e-11
        )


def test_a_gradient_that_is_being_accumulated() -> None:
    def half(model: nn.Module) -> None:
        loss_of(model, inputs, 99).backward()

    model, inputs, plan = made()
    twin = copy.deepcopy(model)
    runs = [(each, adam(each.parameters())) for each in (model, twin)]
    for each, _ in runs:
        zero_slices(each, plan)
        half(each)
    secateur.thin(model, plan, runs[0][1])
    assert all(p.grad is not None and p.grad.shape == p.shape for p in model.parameters())
    for each, optimizer in runs:
        half(each)
        optimizer.step()
    zero_slices(twin, plan)
    assert loss_of(model, inputs, 1).item() == pytest.approx(loss_of(twin, inputs, 1).item(), rel=1e-12)


@pytest.mark.parametrize("to_none", [True, False])
def test_gradients_that_were_zeroed(to_none: bool) -> None:
    model, inputs, plan = made()
    found = side_by_side(model, inputs, plan, adam, between=lambda each: each.zero_grad(set_to_none=to_none))
    assert found.losses < 1e-11


def test_schedulers_and_scalers_go_on() -> None:
    losses = []
    for thinned in (True, False):
        model, inputs, plan = made()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
        rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.05, total_steps=12)
        scaler = torch.amp.GradScaler("cpu", init_scale=16.0, growth_interval=3)
        zero_slices(model, plan)
        found = []
        for number in range(8):
            optimizer.zero_grad()
            loss = loss_of(model, inputs, number)
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            if thinned and number == 3:  # between unscaling and the step
                secateur.thin(model, plan, optimizer)
            scaler.step(optimizer)
            scaler.update()
            rates.step()
            if not thinned:
                zero_slices(model, plan)
            found.append(loss.item())
        losses.append(found)
    assert losses[0] == pytest.approx(losses[1], rel=1e-11)


def test_parameters_that_no_optimizer_moves() -> None:
    def some(parameters: Any) -> torch.optim.Optimizer:
        return torch.optim.Adam([p for p in parameters if p.dim() > 1], lr=0.01)

    model, inputs, plan = made()
    assert side_by_side(model, inputs, plan, some).losses < 1e-11


def test_again_and_again() -> None:
    for make in (adam, lambda p: torch.optim.SGD(p, lr=0.02, momentum=0.9)):
        model, inputs, _ = made()
        optimizer = make(model.parameters())
        identities = [id(p) for p in model.parameters()]
        size = kept = 10**9
        for number in range(3):
            train_step(model, [optimizer], inputs, number)
            secateur.thin(model, secateur.plan(model, inputs, 0.3), optimizer)
            held = [p for group in optimizer.param_groups for p in group["params"]]
            assert [id(p) for p in held] == identities == [id(p) for p in model.parameters()]
            values = [v for s in optimizer.state.values() for v in s.values() if isinstance(v, Tensor)]
            before, size = size, sum(p.numel() for p in held)
            kept_before, kept = kept, sum(v.numel() for v in values)
            assert size < before
            assert kept < kept_before
        train_step(model, [optimizer], inputs, 9)


# -- optimizers that read whole parameters ---------------------------------------------------------------------


def test_factored_means_are_those_of_what_stays() -> None:
    for name in networks():
        model, inputs, plan = made(name)
        found = side_by_side(model, inputs, plan, NEAR, dense=0, masked=3, rescale_steps=True)
        assert found.losses < 1e-11
        (note,) = found.report.notes
        assert "Adafactor: steps on" in note
        assert "are now those of the thin network" in str(found.report)
        for parameter in found.model.parameters():
            if parameter.dim() > 1:
                assert found.optimizers[0].state[parameter]["row_var"].shape == (*parameter.shape[:-1], 1)


def test_adafactor_is_refused_with_the_change_it_would_see() -> None:
    model, inputs, plan = made("perceptron")
    optimizer = torch.optim.Adafactor(model.parameters())
    train_step(model, [optimizer], inputs, 0)
    before = state(model, optimizer)
    message = (
        r"optimizer: Adafactor measures its steps by the root mean squares .* would be others on 6 parameters "
        r"\(at layers.2.weight 2 times as long\); give rescale_steps=True to accept .*, or thin without optimizer="
    )
    with pytest.raises(secateur.ThinError, match=message):
        secateur.thin(model, plan, optimizer)
    assert state(model, optimizer) == before


class Wide(nn.Module):
    """Matrices that are wider than high, before and after."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(12, 8, bias=False), nn.Linear(8, 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.tanh(self.a(x)))


def in_double(grad: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float) -> Tensor:
    """Muon's iteration without bfloat16."""
    a, b, c = coefficients
    x = grad.T if grad.size(0) > grad.size(1) else grad
    x = x / x.norm().clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if grad.size(0) > grad.size(1) else x


def test_muon_goes_on_where_neither_scale_nor_momentum_speak_against_it() -> None:
    inputs = (torch.zeros(16, 12, dtype=torch.float64),)
    muon = Form("Muon", {"lr": 0.01})
    model = secateur.testing.randomised(Wide())
    plan = secateur.plan(model, inputs, 0.5)
    with mock.patch("torch.optim._muon._zeropower_via_newtonschulz", in_double):
        assert side_by_side(copy.deepcopy(model), inputs, plan, muon, dense=0, masked=3).losses < 1e-11
    assert side_by_side(copy.deepcopy(model), inputs, plan, muon, dense=0, masked=3).losses < 1e-2  # bfloat16
    with pytest.raises(secateur.ThinError, match=r"on 2 parameters \(at \w.weight without the momentum_buffer of what"):
        side_by_side(copy.deepcopy(model), inputs, plan, muon, dense=2)
    like_adam = Form("Muon", {"lr": 0.01, "adjust_lr_fn": "match_rms_adamw"})
    with pytest.raises(secateur.ThinError, match=r"on 1 parameters \(at b.weight 0.707 times as long\)"):
        side_by_side(copy.deepcopy(model), inputs, plan, like_adam, dense=0)
    found = side_by_side(model, inputs, plan, muon, dense=2, rescale_steps=True)
    assert found.optimizers[0].state[model.a.weight]["momentum_buffer"].shape == (4, 12)


def test_subclasses_go_by_the_nearest_rule() -> None:
    class History(torch.optim.LBFGS):
        """Mine."""

    model, _, plan = made("perceptron")
    with pytest.raises(secateur.ThinError, match="History keeps one history for all parameters together, which cannot"):
        secateur.thin(model, plan, History(model.parameters()))


# -- foreign optimizers ----------------------------------------------------------------------------------------


class Factored(torch.optim.Optimizer):
    """Steps by means over columns, without the axis, and by the gradient."""

    def __init__(self, params: Any, lr: float = 0.01) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                held = self.state[p]
                mean = p.grad.square().mean(-1) if p.dim() > 1 else p.grad.square()
                held["mean"] = held.get("mean", torch.zeros_like(mean)).lerp(mean, 0.1)
                total = held["mean"] * p.shape[-1] if p.dim() > 1 else held["mean"]
                p.sub_(
                    group["lr"] * p.grad / (total.reshape(*total.shape, *[1] * (p.dim() - total.dim())) + 0.1).sqrt()
                )


def plugin(rule: OptimizerRule) -> ModuleType:
    module = ModuleType("mine")
    module.secateur_optimizer_rules = secateur.hookimpl(  # type: ignore[attr-defined]
        specname="secateur_optimizer_rules"
    )(lambda: [rule])
    return module


def rule(entry: StateEntry, **more: Any) -> OptimizerRule:
    name = f"{Factored.__module__}.{Factored.__qualname__}"
    return OptimizerRule(name="factored", types=(name,), entries={"mean": entry}, make=Factored, **more)


def test_a_plugin_teaches_a_foreign_optimizer() -> None:
    model, inputs, plan = made("transformer")
    with pytest.raises(
        secateur.ThinError, match=r"Factored keeps 'mean' of shape .* which cannot be cut; .*, or teach how"
    ):
        side_by_side(model, inputs, plan, Factored)
    with using(PluginManager.discover()) as manager:
        manager.register(plugin(rule(ENTRY)), "mine")
        assert rule_of(Factored([nn.Parameter(torch.ones(2))])).name == "factored"
        assert side_by_side(*made("transformer"), Factored).losses < 1e-11


ENTRY = StateEntry(cut=lambda value, shape, leaving: cut_rows(value, shape, leaving))


def cut_rows(value: Tensor, shape: tuple[int, ...], leaving: Any) -> Tensor:
    """By hand what `means=(-1,)` says of matrices; vectors have no mean."""
    rows = torch.ones(shape[0], dtype=torch.bool)
    rows[torch.from_numpy(leaving.get(0, torch.empty(0, dtype=torch.int64).numpy()))] = False
    last = len(leaving.get(len(shape) - 1, ())) if len(shape) > 1 else 0
    if len(shape) == 2:
        return value[rows] * (shape[1] / (shape[1] - last))
    return value[rows]


def test_means_without_their_axis_are_cut_alike() -> None:
    class Matrices(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(6, 12, bias=False), nn.Linear(12, 3, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(torch.tanh(self.a(x)))

    inputs = (torch.zeros(8, 6, dtype=torch.float64),)
    for entry, exact in ((StateEntry(means=(-1,)), True), (StateEntry(sums=(-1,)), False)):
        model = secateur.testing.randomised(Matrices())
        plan = secateur.plan(model, inputs, 0.5)
        with using(PluginManager.discover()) as manager:
            manager.register(plugin(rule(entry)), "mine")
            found = side_by_side(model, inputs, plan, Factored, dense=0)
        assert (found.losses < 1e-11) == exact


def test_an_optimizer_nobody_knows_is_told() -> None:
    class Own(torch.optim.Optimizer):
        def __init__(self, params: Any) -> None:
            super().__init__(params, {})

        def step(self, closure: Any = None) -> None:
            for p in self.param_groups[0]["params"]:
                self.state[p]["last"] = p.grad.clone()

    model, inputs, plan = made()
    found = side_by_side(model, inputs, plan, Own, after=1)
    assert found.report.notes == ("nobody says how Own works: what has a parameter's shape was cut like it",)


def test_the_law_finds_rules_that_lie() -> None:
    for each in RULES[:4]:
        is_well_formed(each)
        follows_the_masked_network(each)
    follows_the_masked_network(next(each for each in RULES if each.name == "Adafactor"))
    with pytest.raises(NotTried, match="cannot make Muon of the parameters"):
        follows_the_masked_network(next(each for each in RULES if each.name == "Muon"))
    with pytest.raises(LawBroken, match=r"there is no class nowhere\.Optimizer"):
        is_well_formed(OptimizerRule(name="x", types=("nowhere.Optimizer",)))
    with pytest.raises(LawBroken, match="refuses and gives no reason"):
        is_well_formed(rule(StateEntry(), follows=False))
    manager = PluginManager.discover()
    manager.register(plugin(rule(StateEntry(sums=(-1,)))), "mine")
    with using(manager):
        for law in secateur.testing.laws("mine", manager):
            if "follows" in law.law:
                assert law.outcome().word == "broken"


# -- copies ----------------------------------------------------------------------------------------------------


class Wrapper(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.module = copy.deepcopy(model)


def test_moving_averages_follow() -> None:
    results = []
    for thinned in (True, False):
        model, inputs, plan = made()
        optimizer = adam(model.parameters())
        zero_slices(model, plan)
        ema = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
        for number in range(6):
            train_step(model, [optimizer], inputs, number)
            if not thinned:
                zero_slices(model, plan)
            if thinned and number == 2:
                identities = [id(p) for p in ema.parameters()]
                secateur.thin(model, plan, optimizer, also=ema)
                assert [id(p) for p in ema.parameters()] == identities
                assert repr(ema.module) == repr(model)
            ema.update_parameters(model)
        results.append(ema.eval()(torch.ones(1, 3, 6, 6, dtype=torch.float64)))
    assert torch.allclose(*results, rtol=1e-11, atol=1e-13)


def test_wrappers_dicts_and_several_copies(tmp_path: Path) -> None:
    model, _, plan = made()
    ema, plain = Wrapper(model), copy.deepcopy(model)
    best = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    secateur.thin(model, plan, also=[ema, plain, best])
    for name, tensor in model.state_dict().items():
        assert torch.equal(best[name], tensor)
        assert torch.equal(ema.module.state_dict()[name], tensor)
        assert torch.equal(plain.state_dict()[name], tensor)
    secateur.save(tmp_path / "ema", ema.module)  # the recipe went along
    assert torch.equal(secateur.load(tmp_path / "ema", networks()["residual net"][0]).stem.weight, model.stem.weight)


def wrong_copies() -> list[tuple[Callable[[nn.Module], Any], str]]:
    def smaller(model: nn.Module) -> nn.Module:
        twin = copy.deepcopy(model)
        twin.stem = nn.Conv2d(3, 4, 3)
        return twin

    return [
        (lambda model: [copy.deepcopy(model), smaller(model)], r"also\[1\]: stem.weight: the plan was made for shape"),
        (lambda model: nn.Linear(2, 2), "also: .*: the plan names it, the model does not have it; give a copy"),
        (lambda model: model, "also: it shares stem.weight with the model, and is no copy"),
        (lambda model: {"stem.weight": torch.ones(2)}, "also: stem.weight: the plan was made for shape .*, it has"),
        (lambda model: {}, "also: .*weight: the plan cuts it, the copy does not have it"),
        (lambda model: 5, "also: expected a copy of the model, or a dict of its tensors by name, got int"),
    ]


@pytest.mark.parametrize(("give", "message"), wrong_copies())
def test_copies_that_do_not_fit(give: Callable[[nn.Module], Any], message: str) -> None:
    model, inputs, plan = made()
    optimizer = adam(model.parameters())
    train_step(model, [optimizer], inputs, 0)
    before = state(model, optimizer)
    with pytest.raises(secateur.ThinError, match=message):
        secateur.thin(model, plan, optimizer, also=give(model))
    assert state(model, optimizer) == before


def test_a_failure_brings_back_copies_and_all_optimizers(monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs, plan = made()
    parameters = list(model.parameters())
    optimizers = [adam(parameters[:3]), torch.optim.SGD(parameters[3:], lr=0.1, momentum=0.9)]
    train_step(model, optimizers, inputs, 0)
    ema, best = AveragedModel(model), {name: tensor.clone() for name, tensor in model.state_dict().items()}
    before, old = (state(model, *optimizers), state(ema)), dict(best)

    def fails(*_: Any) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr("secateur.thinning.transaction._verified", fails)
    with pytest.raises(secateur.ThinError, match="broken"):
        secateur.thin(model, plan, optimizers, also=[ema, best])
    assert (state(model, *optimizers), state(ema)) == before
    assert all(best[name] is old[name] for name in old)
    assert "_secateur_recipe" not in ema.module.__dict__


def test_what_is_no_optimizer() -> None:
    model, _, plan = made()
    good = adam(model.parameters())
    for given, message in {
        "adam": "optimizer: expected a torch.optim.Optimizer, got str",
        (good, 3): r"optimizer\[1\]: expected a torch.optim.Optimizer, got int",
        (good, adam([nn.Parameter(torch.ones(2))])): "Adam holds no parameter of the model; give the optimizer that",
    }.items():
        with pytest.raises(secateur.ThinError, match=message):
            secateur.thin(model, plan, given)
    assert secateur.thin(model, plan, [good, good]).share < 1


# -- graphs and hooks ------------------------------------------------------------------------------------------


def test_a_graph_from_before_says_so_when_it_is_run() -> None:
    model, inputs, plan = made("perceptron")
    optimizer = adam(model.parameters())
    train_step(model, [optimizer], inputs, 0)
    losses = [sum((2 * p).sum() for p in model.parameters()), loss_of(model, inputs, 1)]
    secateur.thin(model, plan, optimizer)
    optimizer.zero_grad()
    for loss in losses:
        with pytest.raises(
            secateur.ThinError, match=r"backward: this graph was recorded before the network was thinned"
        ):
            loss.backward()
    assert all(p.grad is None or p.grad.shape == p.shape for p in model.parameters())
    train_step(model, [optimizer], inputs, 1)


def test_hooks_of_parameters_go_along() -> None:
    model, inputs, plan = made("perceptron")
    optimizers = {p: torch.optim.SGD([p], lr=0.02, momentum=0.9) for p in model.parameters()}
    seen: list[tuple[int, ...]] = []

    def in_backward(parameter: Tensor) -> None:
        optimizers[parameter].step()
        optimizers[parameter].zero_grad()

    for p in model.parameters():
        p.register_post_accumulate_grad_hook(in_backward)
    model.layers[0].weight.register_hook(lambda grad: seen.append(tuple(grad.shape)))
    loss = loss_of(model, inputs, 0)
    loss.backward()
    before = model.layers[4].weight.detach().clone()
    secateur.thin(model, plan, optimizers.values())
    thin = model.layers[4].weight.detach().clone()
    loss = loss_of(model, inputs, 1)
    loss.backward()
    assert seen == [(16, 6), (8, 6)]
    assert before.shape != thin.shape == model.layers[4].weight.shape
    assert not torch.equal(thin, model.layers[4].weight)
    assert all(o.state[p]["momentum_buffer"].shape == p.shape for p, o in optimizers.items())


@pytest.mark.parametrize("register", ["register_hook", "register_prehook"])
def test_hooks_of_accumulators_are_refused(register: str) -> None:
    model, _, plan = made("perceptron")
    node = torch.autograd.graph.get_gradient_edge(model.layers[0].weight).node
    handle = getattr(node, register)(lambda *_: None)
    before = state(model)
    with pytest.raises(
        secateur.ThinError, match=r"layers.0.weight: a hook stands on its gradient accumulator.*which stays"
    ):
        secateur.thin(model, plan)
    assert state(model) == before
    handle.remove()
    secateur.thin(model, plan)
    del node


def test_old_replicas_say_so_and_new_ones_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not torch.distributed.is_available():
        pytest.skip("this torch is not distributed")
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        model, inputs, plan = made("perceptron")
        retired = r"DistributedDataParallel: the network inside was thinned.*; delete this wrapper and wrap the network"
        old = nn.parallel.DistributedDataParallel(model)
        old(*inputs).sum().backward()
        with monkeypatch.context() as patch:
            patch.setattr("secateur.thinning.transaction._verified", lambda *_: 1 / 0)
            with pytest.raises(secateur.ThinError, match="ZeroDivisionError"):
                secateur.thin(model, plan)
        for _ in range(2):  # the hooks of a replica are lost, whether or not thinning succeeds
            with pytest.raises(secateur.ThinError, match=retired):
                old(*inputs)
            del old
            gc.collect()
            old = nn.parallel.DistributedDataParallel(model)
            old(*inputs).sum().backward()
            secateur.thin(model, secateur.plan(model, inputs, 0.3))
        del old
        gc.collect()
        new = nn.parallel.DistributedDataParallel(model)
        model.zero_grad()
        new(*inputs).sum().backward()
        assert all(p.grad.shape == p.shape for p in model.parameters())
    finally:
        torch.distributed.destroy_process_group()


def test_state_within_a_graph_is_refused() -> None:
    model, inputs, plan = made("perceptron")
    optimizer = adam(model.parameters())
    train_step(model, [optimizer], inputs, 0)
    held = optimizer.state[model.layers[0].weight]
    held["exp_avg"] = held["exp_avg"].requires_grad_() * 2
    with pytest.raises(secateur.ThinError, match=r"Adam keeps 'exp_avg' as part of an autograd graph.*detach"):
        secateur.thin(model, plan, optimizer)


@pytest.mark.parametrize("collecting", [True, False])
def test_the_garbage_collector_is_as_it_was(collecting: bool) -> None:
    model, _, plan = made("perceptron")
    (gc.enable if collecting else gc.disable)()
    try:
        with pytest.raises(secateur.ThinError):
            secateur.thin(model, plan, "none")
        assert gc.isenabled() == collecting
        secateur.thin(model, plan)
        assert gc.isenabled() == collecting
    finally:
        gc.enable()
