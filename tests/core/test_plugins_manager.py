"""The manager: records of hooks are checked, registries are lazy, events reach plugins, who is current."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from secateur import plugins as plugins_package
from secateur.errors import PlanError, PluginError
from secateur.hookspecs import hookimpl
from secateur.plugins import PluginManager, current, using
from secateur.pruning.spelling import Spelling
from secateur.records import Command, Criterion, DatasetEntry, GraphBuilder, LayerAdapter, ModelEntry, OpRule

ANY: Any = dict
LONE_STRING: Any = "relu"


class Agp:
    name = "agp"
    spellings = (Spelling(name="AutomatedGradualPruner"),)


class Everything:
    """A plugin that adds one record of every kind."""

    @hookimpl
    def secateur_pruners(self) -> list[Any]:
        return [Agp]

    @hookimpl
    def secateur_criteria(self) -> list[Criterion]:
        return [Criterion(name="l1", score=ANY)]

    @hookimpl
    def secateur_graph_builders(self) -> list[GraphBuilder]:
        return [GraphBuilder(name="trace", build=ANY)]

    @hookimpl
    def secateur_op_rules(self) -> list[OpRule]:
        return [OpRule(name="pool", ops=("max_pool", "avg_pool"), signature="input", apply=ANY)]

    @hookimpl
    def secateur_layer_adapters(self) -> tuple[LayerAdapter, ...]:
        return (LayerAdapter(name="linear", types=("nn.Linear", "nn.Bilinear"), mirrors={}),)

    @hookimpl
    def secateur_models(self) -> Any:
        yield ModelEntry(name="mlp", build=ANY, input_shape=(8,))

    @hookimpl
    def secateur_datasets(self) -> list[DatasetEntry]:
        return [DatasetEntry(name="digits", load=ANY, input_shape=(8,), classes=10, offline=True)]

    @hookimpl
    def secateur_commands(self) -> list[Command]:
        return [Command(name="hello", summary="", configure=lambda parser: None, run=lambda arguments: 0)]


def returning(hook: str, value: Any) -> Any:
    """A plugin with one hook that returns the value, or raises it."""

    def implementation() -> Any:
        if isinstance(value, BaseException):
            raise value
        return value

    implementation.__name__ = hook
    return SimpleNamespace(**{hook: hookimpl(implementation)})


def mlp(name: str = "mlp") -> ModelEntry:
    return ModelEntry(name=name, build=ANY, input_shape=(8,))


def test_every_kind_has_its_registry() -> None:
    manager = PluginManager.bare()
    manager.register(Everything(), "all")
    assert manager.pruners["AutomatedGradualPruner"] is manager.pruners["agp"] is Agp
    assert list(manager.pruners) == ["agp"]
    assert list(manager.criteria) == ["l1"]
    assert list(manager.builders) == ["trace"]
    assert list(manager.op_rules) == ["avg_pool", "max_pool"]
    assert list(manager.adapters) == ["nn.Bilinear", "nn.Linear"]
    assert list(manager.models) == ["mlp"]
    assert list(manager.datasets) == ["digits"]
    assert list(manager.commands) == ["hello"]
    assert len(manager.rows[0].hooks) == 8
    assert manager.check() == ()


def test_registries_are_built_at_first_use_and_kept() -> None:
    calls = []

    @hookimpl
    def secateur_models() -> list[ModelEntry]:
        calls.append(1)
        return [mlp()]

    manager = PluginManager.bare()
    manager.register(SimpleNamespace(secateur_models=secateur_models), "lazy")
    assert not calls
    assert manager.models is manager.models
    manager.register(returning("secateur_models", [mlp("later")]), "more")
    assert list(manager.models) == ["later", "mlp"]
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("hook", "value", "reason"),
    [
        ("secateur_models", None, "secateur_models returned None; return a list of ModelEntry"),
        ("secateur_models", "mlp", "secateur_models returned 'mlp'; return a list of ModelEntry"),
        ("secateur_models", 3, "secateur_models returned 3; return a list of ModelEntry"),
        (
            "secateur_models",
            [mlp(), "x" * 90],
            f"item 1 of secateur_models is '{'x' * 56}...; every item must be a ModelEntry",
        ),
        ("secateur_models", [mlp(), mlp()], "secateur_models provides the model 'mlp' twice"),
        (
            "secateur_models",
            [mlp("")],
            "item 0 of secateur_models is named ('',); names must be non-empty strings",
        ),
        ("secateur_models", ValueError("no"), "ValueError: no"),
        ("secateur_models", SystemExit(1), "SystemExit: 1"),
        ("secateur_criteria", [mlp()], "item 0 of secateur_criteria is ModelEntry("),
        (
            "secateur_pruners",
            [3],
            "item 0 of secateur_pruners is 3; every item must be a concrete class with a",
        ),
        (
            "secateur_pruners",
            [dict],
            "item 0 of secateur_pruners is <class 'dict'>; every item must be a concrete",
        ),
        (
            "secateur_op_rules",
            [OpRule(name="relu", ops=LONE_STRING, signature="input", apply=ANY)],
            "item 0 of secateur_op_rules is named 'relu'; names must be non-empty strings, in a tuple",
        ),
    ],
)
def test_a_hook_with_a_wrong_result_fails_alone(hook: str, value: Any, reason: str) -> None:
    manager = PluginManager.bare()
    manager.register(returning(hook, value), "bad", dist="fake-bad", version="1.0")
    manager.register(returning("secateur_models", [mlp("good")]), "good")
    assert manager.rows[0].status == "loaded"
    assert manager.check() == ()
    bad, good = manager.rows
    assert (bad.status, good.status) == ("failed", "loaded")
    assert bad.reason.startswith(f"{hook}: {reason}")
    assert bad.hooks == (hook,)
    assert manager.cause(bad) is not None
    assert list(manager.models) == ["good"]
    with pytest.raises(PluginError) as error:
        manager.models["bad"]
    assert f"plugin 'bad' (fake-bad 1.0) failed: {hook}: {reason}" in str(error.value)


def test_a_generator_that_fails_half_way_yields_nothing() -> None:
    @hookimpl
    def secateur_models() -> Any:
        yield mlp()
        raise ValueError("half way")

    manager = PluginManager.bare()
    manager.register(SimpleNamespace(secateur_models=secateur_models), "half")
    assert list(manager.models) == []
    assert manager.rows[0].reason == "secateur_models: ValueError: half way"


def test_a_required_plugin_that_fails_late_is_an_error_every_time() -> None:
    manager = PluginManager.bare()
    manager.register(returning("secateur_models", ValueError("no")), "bad")
    manager.require("bad")
    for _ in range(2):
        with pytest.raises(PluginError) as error:
            manager.models  # noqa: B018 - built at first use
        assert str(error.value) == "plugin 'bad' failed: secateur_models: ValueError: no"
        assert isinstance(error.value.__cause__, ValueError)
    assert list(manager.criteria) == []


def test_strict_makes_a_late_failure_fatal() -> None:
    manager = PluginManager(strict=True)
    manager.register(returning("secateur_models", None), "bad")
    with pytest.raises(PluginError, match=r"^plugin 'bad' failed: secateur_models: secateur_models returned None"):
        manager.models  # noqa: B018 - built at first use


def test_check_returns_clashes() -> None:
    manager = PluginManager.bare()
    manager.register(returning("secateur_models", [mlp()]), "a")
    manager.register(returning("secateur_models", [mlp()]), "b")
    (clash,) = manager.check()
    assert clash.startswith("the model 'mlp' is provided by plugin a and by plugin b; disable one")


# -- register ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plugin", "reason"),
    [
        (Everything, "Everything is a class; register a module or an instance"),
        (returning("secateur_modles", []), "unknown hook 'secateur_modles'; did you mean 'secateur_models'?"),
    ],
)
def test_registering_a_bad_object_raises_and_changes_nothing(plugin: Any, reason: str) -> None:
    manager = PluginManager.bare()
    with pytest.raises(PluginError) as error:
        manager.register(plugin, "mine")
    assert str(error.value).startswith(f"plugin 'mine' cannot be registered: {reason}")
    assert manager.rows == ()
    manager.register(returning("secateur_models", [mlp()]), "mine")
    assert list(manager.models) == ["mlp"]


def test_registering_a_name_twice() -> None:
    manager = PluginManager.bare()
    manager.register(returning("secateur_models", [mlp()]), "mine")
    with pytest.raises(PluginError) as error:
        manager.register(returning("secateur_models", []), "mine", dist="late", version="2")
    assert str(error.value) == (
        "plugin 'mine' cannot be registered: two plugins are named 'mine': from this program and late 2; "
        "uninstall or rename one"
    )


def test_registering_one_object_under_two_names() -> None:
    manager, plugin = PluginManager.bare(), returning("secateur_models", [mlp()])
    manager.register(plugin, "one")
    with pytest.raises(PluginError, match=r"^plugin 'two' cannot be registered: ValueError: Plugin already"):
        manager.register(plugin, "two")
    assert [row.name for row in manager.rows] == ["one"]


def test_an_object_without_hooks_is_a_plugin_with_nothing_to_say() -> None:
    manager = PluginManager.bare()
    manager.register(SimpleNamespace(), "empty")
    assert manager.check() == ()
    assert (manager.rows[0].status, manager.rows[0].hooks) == ("loaded", ())


# -- events --------------------------------------------------------------------------------------------------


PLAN: Any = "plan"
REPORT: Any = "report"


class Listener:
    def __init__(self, log: list[tuple[str, Any]], name: str, error: Exception | None = None) -> None:
        self.log, self.name, self.error = log, name, error

    @hookimpl
    def secateur_plan_ready(self, plan: Any) -> None:
        if self.error is not None:
            raise self.error
        self.log.append((self.name, plan))

    @hookimpl
    def secateur_model_thinned(self, report: Any) -> None:
        self.log.append((self.name, report))


class First(Listener):
    @hookimpl(tryfirst=True)
    def secateur_plan_ready(self, plan: Any) -> None:
        self.log.append((self.name, plan))


class Deaf:
    @hookimpl
    def secateur_plan_ready(self) -> None:
        """Takes no argument, which pluggy allows."""


def test_events_reach_plugins_by_name_and_tryfirst_ones_before() -> None:
    log: list[Any] = []
    manager = PluginManager.bare()
    manager.register(Listener(log, "b"), "b")
    manager.register(First(log, "z"), "z")
    manager.register(Listener(log, "a"), "a")
    manager.register(Deaf(), "deaf")
    manager.plan_ready(PLAN)
    manager.model_thinned(REPORT)
    assert log == [
        ("z", "plan"),
        ("a", "plan"),
        ("b", "plan"),
        ("a", "report"),
        ("b", "report"),
        ("z", "report"),
    ]


def test_a_veto_passes_as_it_is() -> None:
    veto = PlanError("the stem must stay whole", where="stem")
    manager = PluginManager.bare()
    manager.register(Listener([], "a", veto), "a")
    with pytest.raises(PlanError) as error:
        manager.plan_ready(PLAN)
    assert error.value is veto


def test_another_exception_of_an_event_names_the_plugin() -> None:
    manager = PluginManager.bare()
    manager.register(Listener([], "a", KeyError("x")), "a", dist="fake-a", version="1.0")
    with pytest.raises(PluginError) as error:
        manager.plan_ready(PLAN)
    assert str(error.value) == "secateur_plan_ready of fake-a 1.0 (plugin a) failed: KeyError: 'x'"
    assert isinstance(error.value.__cause__, KeyError)


# -- current -------------------------------------------------------------------------------------------------


@pytest.fixture
def fresh(dists: Any) -> Iterator[Any]:
    plugins_package._discovered.cache_clear()
    yield dists
    plugins_package._discovered.cache_clear()


def test_current_discovers_once(fresh: Any) -> None:
    fresh.add_model("zoo", "lion")
    assert list(current().models) == ["lion"]
    assert current() is current()


def test_using_sets_another_one_and_nests(fresh: Any) -> None:
    outer, inner = PluginManager.bare(), PluginManager.bare()
    with using(outer):
        with using(inner) as given:
            assert current() is given is inner
        assert current() is outer
    assert current() not in (outer, inner)


def test_using_ends_with_an_exception(fresh: Any) -> None:
    def fail() -> None:
        with using(PluginManager.bare()):
            raise ValueError("leave")

    before = current()
    with pytest.raises(ValueError, match=r"^leave$"):
        fail()
    assert current() is before


def test_using_does_not_leak_into_other_threads(fresh: Any) -> None:
    seen: list[PluginManager] = []
    with using(PluginManager.bare()) as mine:
        thread = threading.Thread(target=lambda: seen.append(current()))
        thread.start()
        thread.join()
    assert seen[0] is not mine
