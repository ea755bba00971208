"""The contract: which laws apply to the records of a plugin, and how to try them with pytest or without."""

from __future__ import annotations

import functools
import importlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from attrs import frozen

from secateur.plugins import PluginManager, current, using
from secateur.plugins.kinds import KINDS, Kind
from secateur.plugins.registry import Registry
from secateur.plugins.rows import describe
from secateur.testing.broken import LawBroken, NotTried

LAWS: Mapping[str, tuple[str, ...]] = {
    "secateur_pruners": ("pruners:is_a_value", "pruners:decides_on_units_that_exist", "pruners:deciding_is_repeatable"),
    "secateur_regularizers": (
        "regularizers:is_a_value",
        "regularizers:losses_are_scalars",
        "regularizers:gradients_are_those_of_the_loss",
        "regularizers:asking_changes_nothing",
        "regularizers:decides_on_what_exists",
    ),
    "secateur_criteria": (
        "criteria:scores_are_numbers",
        "criteria:scores_are_repeatable",
        "criteria:scoring_changes_nothing",
    ),
    "secateur_graph_builders": (
        "builders:building_changes_nothing",
        "builders:graphs_are_sound",
        "builders:building_is_repeatable",
        "builders:plans_are_exact",
        "builders:running_in_hand_is_the_same",
    ),
    "secateur_op_rules": ("rules:is_well_formed", "rules:what_leaves_leaves_exactly"),
    "secateur_layer_adapters": ("adapters:names_what_exists", "adapters:attributes_say_what_shapes_are"),
    "secateur_optimizer_rules": ("optimizers:is_well_formed", "optimizers:follows_the_masked_network"),
}
"""{hook: the laws of its records}: modules of this package and functions of one record, imported when tried."""
REGISTRIES = {
    "secateur_pruners": "pruners",
    "secateur_regularizers": "regularizers",
    "secateur_criteria": "criteria",
    "secateur_graph_builders": "builders",
    "secateur_op_rules": "op_rules",
    "secateur_layer_adapters": "adapters",
    "secateur_optimizer_rules": "optimizer_rules",
    "secateur_models": "models",
    "secateur_datasets": "datasets",
    "secateur_commands": "commands",
}


@frozen
class Outcome:
    """What came of trying a law; the message is empty if it holds."""

    word: Literal["ok", "broken", "not tried"]
    message: str


@frozen(eq=False)
class Law:
    """One law for one record of a plugin: call it to try it.

    Raises `LawBroken`, or `NotTried` if the kit knows nothing that exercises the record.
    """

    plugin: str
    noun: str
    record: str
    law: str
    """Module of this package and name of the function that checks the law: `"criteria:scores_are_numbers"`."""
    subject: Any
    manager: PluginManager

    def __call__(self) -> None:
        """Try the law, with the plugin's records in place."""
        module, _, name = self.law.partition(":")
        check: Callable[[Any], None] = getattr(importlib.import_module(f"secateur.testing.{module}"), name)
        with using(self.manager):
            check(self.subject)

    def outcome(self) -> Outcome:
        """Try the law and say what came of it; whatever a plugin raises breaks the law."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self()
        except NotTried as reason:
            return Outcome("not tried", str(reason))
        except LawBroken as error:
            return Outcome("broken", str(error))
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything, and is told
            return Outcome("broken", describe(error))
        return Outcome("ok", "")

    def __str__(self) -> str:
        return f"{self.noun} {self.record}: {self.law.rpartition(':')[2].replace('_', ' ')}"


def laws(plugin: str | Path | ModuleType, manager: PluginManager | None = None) -> list[Law]:
    """All laws that apply to the records of a plugin.

    `plugin`: the name of an installed plugin, the path of a plugin file, or a module with hooks. `manager`: where an
    installed one is looked up (default: the installed plugins). Raises `PluginError` if there is no such plugin or it
    does not load.
    """
    if isinstance(plugin, Path):
        manager, name = PluginManager.discover(files=[plugin]), plugin.stem
    elif isinstance(plugin, ModuleType):
        name = plugin.__name__.rpartition(".")[2]
        manager = PluginManager.discover()
        manager.register(plugin, name)
    else:
        manager, name = current() if manager is None else manager, plugin
    manager.require(name, where="contract")
    manager.check()
    manager.require(name, where="contract")  # a hook may have failed only now
    return list(_laws_of(name, manager))


def _laws_of(name: str, manager: PluginManager) -> Iterator[Law]:
    kinds: tuple[Kind[Any], ...] = KINDS
    for kind in kinds:
        registry: Registry[Any] = getattr(manager, REGISTRIES[kind.hook])
        ours = {id(registry[key]): registry[key] for key in registry if registry.provider(key).plugin == name}
        for record in ours.values():
            for law in LAWS.get(kind.hook, ()):
                yield Law(name, kind.noun, record.name, law, record, manager)


def contract(*plugins: str | Path | ModuleType) -> Callable[[Callable[..., Any]], Any]:
    """Decorate a test with all laws that apply to a plugin, or to several; needs pytest.

    The test gets one law at a time::

        @secateur.testing.contract("my_thinner")
        def test_contract(law):
            law()

    `plugins`: as in `laws`.
    """
    import pytest

    found = [law for plugin in plugins for law in laws(plugin)]
    mark = pytest.mark.parametrize("law", found, ids=[str(law) for law in found])
    return functools.partial(_mark, mark)


def _mark(mark: Any, test: Callable[..., Any]) -> Any:
    return mark(test)
