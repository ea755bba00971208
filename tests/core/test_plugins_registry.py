"""Registries: look-ups, aliases, several keys per record, clashes, and what the messages say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest

from secateur.errors import PluginError
from secateur.plugins import Provider, Registry
from secateur.records import ModelEntry, OpRule

A, B = Provider("a", "fake-a", "1.0"), Provider("b", "fake-b", "2.0")

ANY: Any = dict


def model(name: str) -> ModelEntry:
    return ModelEntry(name=name, build=ANY, input_shape=(8,))


def rule(name: str, *ops: str) -> OpRule:
    return OpRule(name=name, ops=ops, signature="input", apply=lambda site: None)


def pruner(name: str, *aliases: str) -> type:
    return type(name, (), {"name": name, "aliases": aliases})


def pruners(*entries: tuple[Provider, type], prefer: Mapping[str, str] | None = None) -> Registry[type]:
    return Registry("pruner", entries, aliases=lambda cls: cls.aliases, prefer=prefer)  # type: ignore[attr-defined]


def message(error: pytest.ExceptionInfo[BaseException]) -> str:
    return str(error.value)


def test_it_is_a_mapping_sorted_by_name() -> None:
    models = Registry("model", [(A, model("zoe")), (B, model("abe"))])
    assert list(models) == ["abe", "zoe"]
    assert [record.name for record in models.values()] == ["abe", "zoe"]
    assert len(models) == 2
    assert isinstance(models, Mapping)
    assert repr(models) == "<Registry of 2 model records: abe, zoe>"


def test_it_cannot_be_changed() -> None:
    models = Registry("model", [(A, model("zoe"))])
    with pytest.raises(TypeError):
        models["new"] = model("new")  # type: ignore[index]


@pytest.mark.parametrize("look_up", ["get", "__getitem__", "source", "provider"])
def test_unknown_name(look_up: str) -> None:
    models = Registry("model", [(A, model("resnet18")), (A, model("vgg"))])
    with pytest.raises(PluginError) as error:
        getattr(models, look_up)("resnt18")
    assert message(error) == "no model named 'resnt18'; did you mean 'resnet18'? (known: resnet18, vgg)"


def test_unknown_name_in_an_empty_registry_says_who_failed() -> None:
    models: Registry[ModelEntry] = Registry("model", [], notes=lambda: ["plugin 'zoo' failed: ValueError: x"])
    with pytest.raises(PluginError) as error:
        models["resnet18"]
    assert message(error) == "no model named 'resnet18'; (none is known); plugin 'zoo' failed: ValueError: x"


def test_get_with_a_default() -> None:
    models = Registry("model", [(A, model("zoe"))])
    assert models.get("zoo", None) is None
    assert models.get("zoe", None) is models["zoe"]
    assert "zoo" not in models
    number: object = 3
    assert number not in models


def test_source_names_distribution_and_plugin() -> None:
    models = Registry("model", [(A, model("zoe")), (Provider("mine"), model("own"))])
    assert models.source("zoe") == "fake-a 1.0 (plugin a)"
    assert models.source("own") == "plugin mine"
    assert models.provider("zoe") is A


def test_aliases_find_records_and_are_not_listed() -> None:
    agp = pruner("agp", "AutomatedGradualPruner")
    found = pruners((A, agp))
    assert found["AutomatedGradualPruner"] is agp
    assert found.source("AutomatedGradualPruner") == "fake-a 1.0 (plugin a)"
    assert "AutomatedGradualPruner" in found
    assert list(found) == ["agp"]
    assert found.aliases == ("AutomatedGradualPruner",)
    with pytest.raises(PluginError) as error:
        found["AutomatedGradualPrunr"]
    assert message(error).endswith("; did you mean 'AutomatedGradualPruner'? (known: agp)")


def test_two_providers_of_one_name_are_an_error_naming_both() -> None:
    with pytest.raises(PluginError) as error:
        Registry("model", [(A, model("zoe")), (B, model("zoe"))])
    assert message(error) == (
        "the model 'zoe' is provided by fake-a 1.0 (plugin a) and by fake-b 2.0 (plugin b); "
        "disable one plugin, or choose with prefer={'zoe': 'a'}"
    )


def test_prefer_chooses() -> None:
    models = Registry("model", [(A, model("zoe")), (B, model("zoe"))], prefer={"zoe": "b"})
    assert models.source("zoe") == "fake-b 2.0 (plugin b)"


def test_prefer_naming_a_third_plugin_does_not_hide_the_clash() -> None:
    with pytest.raises(PluginError, match=r"^the model 'zoe' is provided by fake-a"):
        Registry("model", [(A, model("zoe")), (B, model("zoe"))], prefer={"zoe": "c"})


@pytest.mark.parametrize(
    ("first", "second", "key"),
    [
        (pruner("agp", "AGP"), pruner("other", "AGP"), "AGP"),
        (pruner("agp", "other"), pruner("other"), "other"),
    ],
)
def test_aliases_clash_too(first: type, second: type, key: str) -> None:
    with pytest.raises(PluginError, match=rf"^the pruner '{key}' is provided by fake-. .* and by fake-"):
        pruners((A, first), (B, second))


def test_the_loser_of_a_name_loses_its_aliases() -> None:
    first, second = pruner("agp", "AGP"), pruner("agp", "AGP", "Gradual")
    found = pruners((A, first), (B, second), prefer={"agp": "a"})
    assert found["AGP"] is first
    assert "Gradual" not in found


def test_an_alias_may_repeat_the_own_name() -> None:
    agp = pruner("agp", "agp")
    assert pruners((A, agp))["agp"] is agp


def test_records_with_several_keys() -> None:
    pool, add = rule("pool", "max_pool2d", "avg_pool2d"), rule("add", "add")
    rules = Registry("op rule", [(A, pool), (B, add)], keys=lambda rule: rule.ops)
    assert list(rules) == ["add", "avg_pool2d", "max_pool2d"]
    assert rules["avg_pool2d"] is pool
    assert rules.records == (add, pool)
    assert "pool" not in rules


def test_two_rules_for_one_op_are_an_error_and_prefer_takes_that_op_only() -> None:
    entries = [(A, rule("convs", "conv1d", "conv2d")), (B, rule("mine", "conv2d"))]
    clash = re.escape("the op rule 'conv2d' is provided by fake-a 1.0 (plugin a) and by fake-b 2.0 (plugin b)")
    with pytest.raises(PluginError, match=f"^{clash}"):
        Registry("op rule", entries, keys=lambda rule: rule.ops)
    rules = Registry("op rule", entries, keys=lambda rule: rule.ops, prefer={"conv2d": "b"})
    assert (rules["conv1d"].name, rules["conv2d"].name) == ("convs", "mine")


def test_shared_aliases_lead_to_several_records() -> None:
    first, second, third = pruner("one", "Other"), pruner("two", "Other", "Own"), pruner("three")
    entries = [(A, first), (B, second), (B, third)]
    found = Registry("pruner", entries, aliases=lambda cls: cls.aliases, share_aliases=True)  # type: ignore[attr-defined]
    assert found.candidates("Other") == (first, second)
    assert found["Other"] is first
    assert found.candidates("Own") == (second,)
    assert found.candidates("three") == (third,)
    assert found.aliases == ("Other", "Own")
    with pytest.raises(PluginError, match=r"^no pruner named 'thre'; did you mean 'three'\?"):
        found.candidates("thre")


def test_a_preferred_plugin_has_a_shared_alias_alone() -> None:
    first, second = pruner("one", "Other"), pruner("two", "Other")
    found = Registry(
        "pruner",
        [(A, first), (B, second)],
        aliases=lambda cls: cls.aliases,  # type: ignore[attr-defined]
        share_aliases=True,
        prefer={"Other": "b"},
    )
    assert found.candidates("Other") == (second,)


def test_a_shared_alias_is_nobodys_name() -> None:
    first, second = pruner("one", "two"), pruner("two")
    with pytest.raises(PluginError, match=r"^the pruner 'two' is provided by fake-b .* and by fake-a"):
        Registry("pruner", [(A, first), (B, second)], aliases=lambda cls: cls.aliases, share_aliases=True)  # type: ignore[attr-defined]
