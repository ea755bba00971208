"""The kit itself: laws that are broken are found, and the message says what, where and what was found."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import torch
from torch import Tensor, nn

import secateur
from secateur.cli.main import main
from secateur.coupling.labels import fixed
from secateur.plugins import PluginManager, current, using
from secateur.pruning.activations import ActivationCollector
from secateur.pruning.base import Decision, Pruner
from secateur.records import Criterion, GraphBuilder, LayerAdapter, OpRule
from secateur.testing import (
    LawBroken,
    NotTried,
    adapters,
    builders,
    check_layer,
    criteria,
    laws,
    masked_equals_thinned,
    plan_is_exact,
    pruners,
    randomised,
    rules,
)
from secateur.testing.exactness import attributes_fit, plan_is_whole, trains
from secateur.testing.values import redrawn, unchanged


def net() -> nn.Module:
    return randomised(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)))


X = (torch.zeros(3, 4, dtype=torch.float64),)

# -- exactness -----------------------------------------------------------------------------------------------------


def test_a_right_network_holds_and_gives_its_plan() -> None:
    model = net()
    plan = masked_equals_thinned(model, X)
    assert plan.cuts["0.weight"][0].shape == (4,)
    assert model[0].out_features == 8
    assert model.training is False


def test_a_plan_that_forgets_a_reader_is_found() -> None:
    model = net()
    plan = secateur.plan(model, X)
    forgetful = attrs.evolve(plan, cuts={n: axes for n, axes in plan.cuts.items() if n != "2.weight"})
    with pytest.raises(LawBroken, match=r"2\.weight axis 1: the units that leave hold \[.*\], the plan cuts \[\]"):
        plan_is_exact(model, forgetful, X)
    with pytest.raises(LawBroken, match=r"2\.weight axis 1"):
        plan_is_whole(forgetful)


def test_outputs_that_differ_are_found() -> None:
    model = net()
    plan = secateur.plan(model, X)
    dim = plan.dims[0]
    other = dim.slices | {("2.weight", 1): np.roll(dim.slices["2.weight", 1], 1, axis=0)}
    leaving = np.sort(other["2.weight", 1][dim.leaving].reshape(-1))
    wrong = attrs.evolve(
        plan,
        dims=(attrs.evolve(dim, slices=other),),
        cuts=plan.cuts | {"2.weight": {1: leaving}},
    )
    with pytest.raises(LawBroken, match=r"output 0: masked and thinned differ by .* \(relative\)"):
        plan_is_exact(model, wrong, X)


def test_attributes_that_do_not_follow_are_found() -> None:
    dense = net()
    thin = copy.deepcopy(dense)
    thin[0].out_features = 7
    attributes_fit(dense, dense)
    with pytest.raises(LawBroken, match=r"0: Linear.*out_features=7.*holds tensors of the shapes .*\(8, 4\).*\(7, 4\)"):
        attributes_fit(dense, thin)


def test_a_network_that_does_not_train_is_found() -> None:
    class OnlyInference(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                raise RuntimeError("no training")
            return super().forward(x)

    with pytest.raises(LawBroken, match="the thin network cannot be trained: RuntimeError: no training"):
        trains(OnlyInference(4, 2).double(), X)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.train(), "changed the model: 0.training, 1.training, 2.training, model.training"),
        (lambda m: m[0].weight.data.add_(1), r"the numbers in 0\.weight"),
        (lambda m: setattr(m[0], "note", 1), r"0\.note"),
        (lambda m: m[1].register_forward_hook(print), r"1\._forward_hooks"),
        (lambda m: setattr(m[0], "weight", nn.Parameter(m[0].weight.detach().clone())), r"0\._parameters"),
        (lambda _: torch.rand(1), "the random state of torch"),
    ],
)
def test_every_change_of_a_model_is_found(change: Any, message: str) -> None:
    model = net()
    with pytest.raises(LawBroken, match=message), unchanged(model, "this"):
        change(model)


def test_new_inputs_fit_where_the_old_ones_did() -> None:
    given = {"ids": torch.tensor([[1, 2], [3, 0]]), "x": torch.zeros(2, 3), "mask": torch.tensor([True, False]), "n": 3}
    drawn = redrawn(given, 1)
    assert sorted(drawn["ids"].reshape(-1).tolist()) == [0, 1, 2, 3]
    assert drawn["x"].shape == (2, 3)
    assert drawn["x"].dtype == torch.float64
    assert drawn["x"].std() > 0
    assert drawn["mask"].tolist() == [True, False]
    assert drawn["n"] == 3


# -- layers --------------------------------------------------------------------------------------------------------


class Scaled(nn.Module):
    """A layer of its own: a factor per channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(width, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


class Literal(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(2, 8, 5)


class Doubled(nn.Module):
    """Returns two tensors."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


@pytest.mark.parametrize(
    ("make", "shape", "options"),
    [
        (lambda: Scaled(8), (2, 8, 5), {}),
        (lambda: nn.Conv2d(8, 6, 3, padding=1), (2, 8, 4, 4), {}),
        (lambda: nn.Linear(8, 6), (2, 5, 8), {"channel_axis": 2}),
        (lambda: nn.Flatten(), (2, 8, 3, 3), {}),
        (lambda: nn.LayerNorm(8), (2, 5, 8), {"channel_axis": -1, "renormalise": True}),
    ],
)
def test_layers_that_are_followed(make: Any, shape: tuple[int, ...], options: dict[str, Any]) -> None:
    plan = check_layer(make, shape, **options)
    assert "writer.layer.weight" in plan.cuts


def test_a_layer_through_which_nothing_leaves_is_told_with_the_reasons() -> None:
    with pytest.raises(LawBroken) as caught:
        check_layer(lambda: Literal(), (2, 8, 5))
    lines = str(caught.value).splitlines()
    assert lines[0] == "nothing that goes through Literal can leave:"
    assert "writer.layer.weight axis 0: a size of this reshape is written as the number 8" in lines[1]
    check_layer(lambda: Literal(), (2, 8, 5), prunes=False)


def test_a_wrong_rule_is_found_around_a_layer(tmp_path: Path) -> None:
    class Flipped(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flip(1)

    check_layer(lambda: Flipped(), (2, 8))
    manager = wrong_rule(tmp_path)
    with using(manager), pytest.raises(LawBroken, match="differ by"):
        check_layer(lambda: Flipped(), (2, 8))


def test_what_check_layer_cannot_embed_is_refused() -> None:
    with pytest.raises(TypeError, match="check_layer needs a layer that returns one tensor, this one returns tuple"):
        check_layer(lambda: Doubled(), (2, 8))
    with pytest.raises(ValueError, match=r"channel_axis 3 is no axis of input_shape \(2, 8\)"):
        check_layer(lambda: Scaled(8), (2, 8), channel_axis=3)


# -- records -------------------------------------------------------------------------------------------------------


def wrong_rule(folder: Path) -> PluginManager:
    """The installed plugins, but one says that flipped entries are where they were."""
    file = folder / "wrong.py"
    file.write_text(
        "from secateur.hookspecs import hookimpl\n"
        "from secateur.records import OpRule\n\n"
        "@hookimpl\n"
        "def secateur_op_rules():\n"
        "    apply = lambda site: list(site['input'].axes)\n"
        "    return [OpRule(name='flip', ops=('flip',), signature='input, *dims', apply=apply)]\n"
    )
    return PluginManager.discover(files=[file], prefer={"flip": "wrong"})


def test_a_wrong_rule_is_found_with_the_form_of_the_call(tmp_path: Path) -> None:
    manager = wrong_rule(tmp_path)
    rule = manager.op_rules["flip"]
    rules.what_leaves_leaves_exactly(current().op_rules["flip"])
    with (
        using(manager),
        pytest.raises(LawBroken, match=r"^flip\(x, .*\) with x of shape .*, channels along axis \d: .* differ"),
    ):
        rules.what_leaves_leaves_exactly(rule)


def test_a_rule_that_gives_too_few_axes_is_found() -> None:
    rule = OpRule(name="relu", ops=("relu",), signature="input, inplace=False", apply=lambda site: [fixed(3)])
    with using(overriding(rule)), pytest.raises(LawBroken, match=r"gave axes of lengths \(3,\) to an output of shape"):
        rules.what_leaves_leaves_exactly(rule)


def overriding(rule: OpRule) -> PluginManager:
    """The installed plugins with one rule in place of theirs."""
    manager = PluginManager.discover()
    manager._prefer = dict.fromkeys(rule.ops, "mine")
    hook = secateur.hookimpl(lambda: [rule])
    manager.register(type("Mine", (), {"secateur_op_rules": staticmethod(hook)})(), "mine")
    return manager


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (OpRule(name="a", ops=(), signature="x", apply=list), "handles no operation"),
        (
            OpRule(name="a", ops=("a",), signature="x, y=nobody", apply=list),
            "the signature 'x, y=nobody' .* cannot be read",
        ),
        (OpRule(name="a", ops=("a",), signature="x", apply=5), "apply of the rule 'a' is 5, not a function"),
    ],
)
def test_malformed_rules(rule: OpRule, message: str) -> None:
    with pytest.raises(LawBroken, match=message):
        rules.is_well_formed(rule)


def test_an_operation_that_torch_does_not_have_is_not_tried() -> None:
    with pytest.raises(NotTried, match="the kit knows no way to call zzz: check it with masked_equals_thinned"):
        rules.what_leaves_leaves_exactly(OpRule(name="zzz", ops=("zzz",), signature="x", apply=list))


def score(function: Any) -> Criterion:
    return Criterion(name="odd", score=function)


def spoil(members: Any) -> Any:
    members[0].tensor.data.mul_(2)
    return np.ones(len(members[0]))


@pytest.mark.parametrize(
    ("law", "function", "message"),
    [
        ("scores_are_numbers", lambda m: -np.ones(len(m[0])), "negative or not finite"),
        ("scores_are_numbers", lambda m: np.full(len(m[0]), np.nan), "negative or not finite"),
        ("scores_are_numbers", lambda m: np.ones(3), r"odd gave float64 of shape \(3,\) for the 8 units of stem"),
        ("scores_are_numbers", lambda m: np.ones(len(m[0]), np.float32), "float64 of shape"),
        ("scores_are_repeatable", lambda m: np.random.default_rng().random(len(m[0])), "odd gave stem the scores"),
        ("scoring_changes_nothing", spoil, "the criterion odd changed the model: the numbers in stem"),
        ("scoring_changes_nothing", lambda m: torch.rand(len(m[0])).numpy(), "changed the random state of torch"),
    ],
)
def test_criteria_that_break_a_law(law: str, function: Any, message: str) -> None:
    with pytest.raises(LawBroken, match=message):
        getattr(criteria, law)(score(function))


class Watching(ActivationCollector):
    """A collector that behaves, for those below to spoil."""

    def measure(self, values: Any) -> Any:
        return values.abs()


class Clinging(Watching):
    def detach(self) -> None:
        return


class Forgetful(Watching):
    def load(self, state: Any) -> None:
        super().load({})


class Unforgetting(Watching):
    def reset(self) -> None:
        return


class Blind(Watching):
    @property
    def seen(self) -> int:
        return 0


class Refusing(Watching):
    def attach(self, model: Any, dims: Any) -> None:
        raise secateur.PlanError("not these units")


@pytest.mark.parametrize(
    ("law", "collector", "message"),
    [
        ("scoring_changes_nothing", Clinging, "the criterion odd changed the model: .*_forward_pre_hooks"),
        ("scores_are_repeatable", Forgetful, "odd gives other scores after its state was saved and loaded"),
        ("scores_are_repeatable", Unforgetting, "odd has seen 3 mini-batches after reset"),
        ("scores_are_numbers", Blind, "odd saw 0 mini-batches of 3"),
        ("scores_are_numbers", Refusing, "odd refused every dim of every example"),
    ],
)
def test_collectors_that_break_a_law(law: str, collector: Any, message: str) -> None:
    getattr(criteria, law)(Criterion(name="odd", collector=Watching))
    with pytest.raises(LawBroken, match=message):
        getattr(criteria, law)(Criterion(name="odd", collector=collector))


def test_builders_that_break_a_law() -> None:
    trace = current().builders["trace"]

    def marking(model: nn.Module, inputs: Any) -> Any:
        graph = trace.build(model, inputs)
        next(model.children()).seen = 1
        return graph

    def forgetful(model: nn.Module, inputs: Any) -> Any:
        graph = trace.build(model, inputs)
        name = next(name for name, value in graph.values.items() if value.kind == "parameter")
        return attrs.evolve(graph, values={n: v for n, v in graph.values.items() if n != name})

    def skipping(model: nn.Module, inputs: Any, intercept: Any) -> Any:
        return model(*inputs)

    with pytest.raises(LawBroken, match=r"the builder odd changed the model: .*\.seen"):
        builders.building_changes_nothing(GraphBuilder(name="odd", build=marking))
    with pytest.raises(LawBroken, match="before they are made"):
        builders.graphs_are_sound(GraphBuilder(name="odd", build=forgetful))
    with pytest.raises(LawBroken, match=r"odd: the graph has the operations \[.*\], running gave \[\]"):
        builders.running_in_hand_is_the_same(GraphBuilder(name="odd", build=trace.build, run=skipping))
    with pytest.raises(NotTried, match="the builder odd has no `run`"):
        builders.running_in_hand_is_the_same(GraphBuilder(name="odd", build=trace.build))


@pytest.mark.parametrize(
    ("types", "mirrors", "law", "message"),
    [
        (("torch.nn.Nothing",), {}, "names_what_exists", "there is no torch.nn.Nothing"),
        (("torch.relu",), {}, "names_what_exists", "names torch.relu, which is no module class"),
        (
            ("torch.nn.Linear",),
            {"in_features": "input"},
            "names_what_exists",
            "'in_features' mirrors 'input'; .* is due",
        ),
        (
            ("torch.nn.modules.linear.Linear",),
            {"in_features": "output:-1"},
            "attributes_say_what_shapes_are",
            "in_features .* not the length|after thinning",
        ),
    ],
)
def test_adapters_that_break_a_law(types: Any, mirrors: Any, law: str, message: str) -> None:
    with pytest.raises(LawBroken, match=message):
        getattr(adapters, law)(LayerAdapter(name="odd", types=types, mirrors=mirrors))


class Changeable(Pruner):
    name = "changeable"

    def decide(self, network: Any, moment: Any) -> Any:
        return Decision(units={99: np.array([0])})


@attrs.frozen(kw_only=True)
class Greedy(Pruner):
    name = "greedy"
    share: float

    def decide(self, network: Any, moment: Any) -> Any:
        return Decision(units={0: np.arange(len(network.dims[0]))})


@attrs.frozen(kw_only=True)
class Particular(Pruner):
    name = "particular"
    path: str = attrs.field(validator=attrs.validators.instance_of(str))

    def decide(self, network: Any, moment: Any) -> Any:
        return Decision()


def test_pruners_that_break_a_law() -> None:
    with pytest.raises(LawBroken, match="Changeable is no attrs class"):
        pruners.is_a_value(Changeable)
    with pytest.raises(LawBroken, match="greedy leaves nothing of stem"):
        pruners.decides_on_units_that_exist(Greedy)
    with pytest.raises(NotTried, match=r"the kit cannot make a Particular\(path=0.5\)"):
        pruners.deciding_is_repeatable(Particular)
    pruners.is_a_value(Greedy)


# -- the contract of a plugin --------------------------------------------------------------------------------------

BAD = """
import numpy as np
from secateur.hookspecs import hookimpl
from secateur.records import Criterion

@hookimpl
def secateur_criteria():
    return [Criterion(name="negative", score=lambda members: -np.ones(len(members[0])))]
"""


def test_laws_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "bad.py"
    file.write_text(BAD)
    found = laws(file)
    assert [str(law) for law in found] == [
        "criterion negative: scores are numbers",
        "criterion negative: scores are repeatable",
        "criterion negative: scoring changes nothing",
    ]
    with pytest.raises(LawBroken, match="negative gave"):
        found[0]()
    assert [law.outcome().word for law in found] == ["broken", "ok", "ok"]


def test_an_unknown_plugin_is_an_error() -> None:
    with pytest.raises(secateur.PluginError, match="plugin 'magnitud' is not installed; did you mean 'magnitude'"):
        laws("magnitud")


def test_the_command_says_one_line_per_law(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "bad.py"
    file.write_text(BAD)
    assert main(["--plugin-file", str(file), "plugins", "check", "bad"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("   broken  criterion negative: scores are numbers: negative gave stem scores that are")
    assert lines[1:] == [
        "       ok  criterion negative: scores are repeatable",
        "       ok  criterion negative: scoring changes nothing",
    ]
    assert main(["plugins", "check", "magnitude"]) == 0
    assert "broken" not in capsys.readouterr().out


def test_the_command_in_json_and_without_anything_to_check(capsys: pytest.CaptureFixture[str]) -> None:
    import json

    assert main(["plugins", "check", "agp", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {entry["outcome"] for entry in found} == {"ok"}
    assert found[0]["law"] == "pruner agp: is a value"
    assert main(["plugins", "check", "core"]) == 0
    assert capsys.readouterr().out == "no law applies to what core adds\n"


def test_mistakes_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins", "check"]) == 2
    assert "secateur plugins check: which plugin?; name one of agp, " in capsys.readouterr().err
    assert main(["plugins", "check", "nobody"]) == 2
    assert "plugin 'nobody' is not installed" in capsys.readouterr().err


def test_the_kit_needs_no_pytest() -> None:
    code = (
        "import sys; sys.modules['pytest'] = None\n"
        "import secateur.testing as kit\n"
        "for law in kit.laws('agp'): law()\n"
        "import secateur.testing.fuzz"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
