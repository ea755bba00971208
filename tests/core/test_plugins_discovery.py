"""Discovery: isolation, disabling before import, environment variables, required plugins, plugin files."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path
from typing import Any

import pytest

from secateur.errors import PluginError
from secateur.plugins import PluginManager, PluginRow

BROKEN = {
    "raises": ("raise ValueError('two\\nlines')", "ValueError: two lines"),
    "misses": ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
    "exits": ("raise SystemExit(3)", "SystemExit: 3"),
    "silent": ("raise ValueError", "ValueError"),
    "syntax": ("def", "SyntaxError: invalid syntax"),
    "typo": (
        "@hookimpl\ndef secateur_modles(): return []",
        "unknown hook 'secateur_modles'; did you mean 'secateur_models'? (known: secateur_commands, ",
    ),
    "signature": (
        "@hookimpl\ndef secateur_models(registry): return []",
        "PluginValidationError: Plugin 'signature' for hook 'secateur_models' hookimpl definition: "
        "secateur_models(registry) Argument(s) {'registry'} are declared in the hookimpl but",
    ),
    "unmarked": (
        "def secateur_models(): return []",
        "secateur_models is not marked as a hook; decorate it with @secateur.hookimpl",
    ),
    "wrapper": (
        "@hookimpl(wrapper=True)\ndef secateur_models(): return (yield)",
        "secateur_models is a hook wrapper; only plain hooks are supported",
    ),
}


def row(manager: PluginManager, name: str) -> PluginRow:
    (found,) = [row for row in manager.rows if row.name == name]
    return found


def test_bare_has_nothing() -> None:
    manager = PluginManager.bare()
    assert manager.rows == ()
    for registry in (
        manager.pruners,
        manager.criteria,
        manager.builders,
        manager.op_rules,
        manager.adapters,
        manager.models,
        manager.datasets,
        manager.commands,
    ):
        assert len(registry) == 0
    assert repr(manager) == "<PluginManager: no plugins>"


def test_good_plugins_are_sorted_rows_with_their_origin(dists: Any) -> None:
    dists.add_model("zoo", "lion", version="2.1")
    dists.add_model("ark", "dove", dist="noah")
    manager = PluginManager.discover()
    hooks = ("secateur_models",)
    assert manager.rows == (
        PluginRow(name="ark", status="loaded", dist="noah", version="1.0", hooks=hooks),
        PluginRow(name="zoo", status="loaded", dist="fake-zoo", version="2.1", hooks=hooks),
    )
    assert list(manager.models) == ["dove", "lion"]
    assert manager.models.source("lion") == "fake-zoo 2.1 (plugin zoo)"
    assert repr(manager) == "<PluginManager: ark loaded, zoo loaded>"


@pytest.mark.parametrize("name", BROKEN)
def test_one_broken_plugin_fails_alone(dists: Any, name: str) -> None:
    source, reason = BROKEN[name]
    dists.add(name, source)
    dists.add_model("zoo", "lion")
    manager = PluginManager.discover()
    broken = row(manager, name)
    assert (broken.status, broken.dist, broken.version, broken.hooks) == ("failed", f"fake-{name}", "1.0", ())
    assert broken.reason.startswith(reason)
    assert "\n" not in broken.reason
    cause = manager.cause(broken)
    assert cause is not None
    assert cause.__traceback__ is not None
    assert row(manager, "zoo").status == "loaded"
    assert manager.cause(row(manager, "zoo")) is None
    assert list(manager.models) == ["lion"]


def test_a_missing_record_names_the_failed_and_the_disabled_plugins(dists: Any) -> None:
    dists.add("broken", "import no_such_module")
    dists.add_model("zoo", "lion")
    dists.add_model("ark", "dove")
    manager = PluginManager.discover(disable=["ark"])
    with pytest.raises(PluginError) as error:
        manager.models["dove"]
    assert str(error.value) == (
        "no model named 'dove'; (known: lion); plugin 'broken' (fake-broken 1.0) failed: "
        "ModuleNotFoundError: No module named 'no_such_module'; disabled plugins: ark"
    )


def test_disabled_plugins_are_not_imported(dists: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    modules = [dists.add_model(name, f"model_{name}") for name in ("a", "b", "c")]
    monkeypatch.setenv("SECATEUR_DISABLE", " a, ")
    manager = PluginManager.discover(disable=["b"])
    assert row(manager, "a") == PluginRow(
        name="a", status="disabled", dist="fake-a", version="1.0", reason="listed in SECATEUR_DISABLE"
    )
    assert row(manager, "b").reason == "disabled on request"
    assert row(manager, "c").status == "loaded"
    assert [module in sys.modules for module in modules] == [False, False, True]
    assert list(manager.models) == ["model_c"]


def test_disabling_what_is_not_installed_is_harmless_and_visible(dists: Any) -> None:
    manager = PluginManager.discover(disable=["zoo"])
    assert manager.rows == (PluginRow(name="zoo", status="disabled", reason="disabled on request, but not installed"),)


@pytest.mark.parametrize(("value", "loaded"), [("", []), ("b", ["b"]), ("b, c,", ["b", "c"])])
def test_secateur_plugins_keeps_only_those(
    dists: Any, monkeypatch: pytest.MonkeyPatch, value: str, loaded: list[str]
) -> None:
    modules = {name: dists.add_model(name, f"model_{name}") for name in ("a", "b", "c")}
    monkeypatch.setenv("SECATEUR_PLUGINS", value)
    manager = PluginManager.discover()
    assert [row.name for row in manager.rows if row.status == "loaded"] == loaded
    assert row(manager, "a").reason == "not listed in SECATEUR_PLUGINS"
    assert [name for name, module in modules.items() if module in sys.modules] == loaded


def test_secateur_plugins_with_a_typo(dists: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    dists.add_model("zoo", "lion")
    monkeypatch.setenv("SECATEUR_PLUGINS", "zooo")
    with pytest.raises(PluginError) as error:
        PluginManager.discover()
    assert str(error.value) == ("SECATEUR_PLUGINS: plugin 'zooo' is not installed; did you mean 'zoo'? (known: zoo)")


def test_two_distributions_with_one_plugin_name(dists: Any) -> None:
    dists.add_model("zoo", "lion", dist="first")
    second = dists.add_model("zoo", "tiger", dist="second", version="3.0")
    manager = PluginManager.discover()
    first_row, second_row = manager.rows
    assert (first_row.status, first_row.dist) == ("loaded", "first")
    assert (second_row.status, second_row.dist) == ("failed", "second")
    reason = "two plugins are named 'zoo': from first 1.0 and second 3.0; uninstall or rename one"
    assert second_row.reason == reason
    assert second not in sys.modules
    assert list(manager.models) == ["lion"]
    with pytest.raises(PluginError) as error:
        manager.require("zoo")
    assert str(error.value) == f"plugin 'zoo' (second 3.0) failed: {reason}"


def test_the_name_core_is_reserved(dists: Any) -> None:
    dists.add_model("core", "lion")
    assert row(PluginManager.discover(), "core").reason == "the plugin name 'core' is reserved"


def test_a_distribution_without_metadata_does_not_stop_discovery(dists: Any) -> None:
    dists.add_model("zoo", "lion")
    (dists.folder / "fake_zoo-1.0.dist-info" / "METADATA").unlink()
    manager = PluginManager.discover()
    assert row(manager, "zoo").dist == "unknown"
    assert list(manager.models) == ["lion"]


@pytest.mark.parametrize("reverse", [False, True])
def test_the_order_on_the_disk_does_not_matter(dists: Any, monkeypatch: pytest.MonkeyPatch, reverse: bool) -> None:
    for dist in ("first", "second"):
        dists.add_model("zoo", "lion", dist=dist)
    found = sorted(importlib.metadata.distributions(), key=lambda each: each.metadata["Name"], reverse=reverse)
    monkeypatch.setattr(importlib.metadata, "distributions", lambda **_: found)
    assert PluginManager.discover().models.source("lion") == "first 1.0 (plugin zoo)"


# -- require, strict, prefer ---------------------------------------------------------------------------------


def test_require_passes_for_a_loaded_plugin(dists: Any) -> None:
    dists.add_model("zoo", "lion")
    assert list(PluginManager.discover(require=["zoo"]).models) == ["lion"]


def test_require_a_missing_plugin(dists: Any) -> None:
    dists.add_model("batchnorm", "lion")
    with pytest.raises(PluginError) as error:
        PluginManager.discover(require=["batchnrom"])
    assert str(error.value) == ("plugin 'batchnrom' is not installed; did you mean 'batchnorm'? (known: batchnorm)")


def test_require_a_missing_plugin_that_is_disabled_too(dists: Any) -> None:
    with pytest.raises(PluginError, match=r"^plugin 'zoo' is not installed; \(none is known\)$"):
        PluginManager.discover(require=["zoo"], disable=["zoo"])


def test_require_a_failed_plugin_keeps_the_cause(dists: Any) -> None:
    dists.add("broken", "import no_such_module")
    with pytest.raises(PluginError) as error:
        PluginManager.discover(require=["broken"])
    assert str(error.value) == (
        "plugin 'broken' (fake-broken 1.0) failed: ModuleNotFoundError: No module named 'no_such_module'"
    )
    assert isinstance(error.value.__cause__, ModuleNotFoundError)


def test_require_a_disabled_plugin_and_say_where(dists: Any) -> None:
    dists.add_model("zoo", "lion")
    manager = PluginManager.discover(disable=["zoo"])
    with pytest.raises(PluginError) as error:
        manager.require("zoo", where="schedule.yaml:3")
    assert str(error.value) == (
        "schedule.yaml:3: plugin 'zoo' (fake-zoo 1.0) is disabled: disabled on request; but it is needed here"
    )


def test_strict_makes_any_failure_fatal(dists: Any) -> None:
    dists.add("broken", "raise ValueError('no')")
    with pytest.raises(PluginError, match=r"^plugin 'broken' \(fake-broken 1.0\) failed: ValueError: no$"):
        PluginManager.discover(strict=True)


def test_prefer_settles_a_clash_and_must_name_an_installed_plugin(dists: Any) -> None:
    dists.add_model("a", "lion")
    dists.add_model("b", "lion")
    with pytest.raises(PluginError, match=r"^the model 'lion' is provided by fake-a 1.0 \(plugin a\) and by"):
        PluginManager.discover().models  # noqa: B018 - built at first use
    assert PluginManager.discover(prefer={"lion": "b"}).models.source("lion") == "fake-b 1.0 (plugin b)"
    with pytest.raises(PluginError, match=r"^plugin 'bb' is not installed; did you mean 'b'\?"):
        PluginManager.discover(prefer={"lion": "bb"})


# -- files ---------------------------------------------------------------------------------------------------

FILE = """
from __future__ import annotations
from dataclasses import dataclass
from secateur.hookspecs import hookimpl
from secateur.records import ModelEntry

@dataclass
class Net:
    width: int = 3

@hookimpl
def secateur_models():
    return [ModelEntry(name="own", build=Net, input_shape=(8,))]
"""


def test_a_file_is_a_plugin_whose_dist_is_its_path(dists: Any, tmp_path: Path) -> None:
    file = tmp_path / "my_layer.py"
    file.write_text(FILE)
    manager = PluginManager.discover(files=[file])
    assert manager.rows == (PluginRow(name="my_layer", status="loaded", dist=str(file), hooks=("secateur_models",)),)
    assert manager.models["own"].build().width == 3
    assert manager.models.source("own") == f"{file} (plugin my_layer)"


def test_a_file_is_loaded_even_if_no_installed_plugin_is(
    dists: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_layer.py").write_text(FILE)
    monkeypatch.setenv("SECATEUR_PLUGINS", "")
    assert list(PluginManager.discover(files=[tmp_path / "my_layer.py"]).models) == ["own"]


def test_a_file_may_stand_in_for_an_installed_plugin_that_is_not_loaded(
    dists: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dists.add_model("zoo", "lion")
    (tmp_path / "zoo.py").write_text(FILE)
    monkeypatch.setenv("SECATEUR_PLUGINS", "")
    manager = PluginManager.discover(files=[tmp_path / "zoo.py"])
    assert sorted(row.status for row in manager.rows) == ["disabled", "loaded"]
    assert list(manager.models) == ["own"]


def test_a_file_can_be_disabled(dists: Any, tmp_path: Path) -> None:
    (tmp_path / "my_layer.py").write_text("raise ValueError")
    manager = PluginManager.discover(files=[tmp_path / "my_layer.py"], disable=["my_layer"])
    assert row(manager, "my_layer").status == "disabled"


def test_a_missing_file(dists: Any, tmp_path: Path) -> None:
    file = tmp_path / "gone.py"
    with pytest.raises(PluginError) as error:
        PluginManager.discover(files=[file])
    assert str(error.value) == f"{file}: there is no such plugin file; check the path"


def test_a_file_that_is_not_python(dists: Any, tmp_path: Path) -> None:
    file = tmp_path / "schedule.yaml"
    with pytest.raises(PluginError) as error:
        PluginManager.discover(files=[file])
    assert str(error.value) == f"{file}: a plugin file must end in .py"


def test_a_failing_file_is_fatal_since_it_was_named(dists: Any, tmp_path: Path) -> None:
    file = tmp_path / "bad.py"
    file.write_text("import no_such_module")
    before = set(sys.modules)
    with pytest.raises(PluginError) as error:
        PluginManager.discover(files=[file])
    assert str(error.value) == (f"plugin 'bad' ({file}) failed: ModuleNotFoundError: No module named 'no_such_module'")
    assert not [name for name in set(sys.modules) - before if name.startswith("_secateur_file")]


def test_a_file_named_like_an_installed_plugin(dists: Any, tmp_path: Path) -> None:
    dists.add_model("zoo", "lion")
    file = tmp_path / "zoo.py"
    file.write_text(FILE)
    with pytest.raises(PluginError) as error:
        PluginManager.discover(files=[file])
    assert f"two plugins are named 'zoo': from fake-zoo 1.0 and {file}; uninstall" in str(error.value)
