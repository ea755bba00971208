"""The core boots with no plugin at all, and says what is missing when somebody asks for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import secateur
from secateur.errors import PluginError
from secateur.plugins import PluginManager, using

# The first-party plugins cannot be imported, whatever is installed: importing one is an error, not a surprise.
WITHOUT_PLUGINS = """
import sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.startswith("secateur_"):
            raise ImportError(f"{name} is imported")

sys.meta_path.insert(0, Block())
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    keep = {key: value for key, value in os.environ.items() if not key.startswith("SECATEUR_")}
    source = str(Path(secateur.__file__).parents[1])
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHOUT_PLUGINS + code],
        env=keep | {"PYTHONPATH": source, "SECATEUR_PLUGINS": "", "COLUMNS": "100"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def program(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run(f"from secateur.cli.main import main; sys.exit(main({list(arguments)!r}))")


def test_the_block_of_these_tests_works() -> None:
    done = run("import secateur_models")
    assert done.returncode == 1
    assert "ImportError: secateur_models is imported" in done.stderr


def test_every_public_name_can_be_imported() -> None:
    done = run("import secateur\nfor name in secateur.__all__: getattr(secateur, name)")
    assert done.returncode == 0, done.stderr


def test_help() -> None:
    done = program("--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: secateur [OPTIONS] COMMAND ...")
    assert "plugins" in done.stdout


def test_the_list_of_plugins_shows_the_core_alone_as_loaded() -> None:
    done = program("plugins", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    rows = json.loads(done.stdout)
    assert [row["name"] for row in rows if row["status"] == "loaded"] == ["core"]
    assert {row["status"] for row in rows} <= {"loaded", "disabled"}


def test_a_plan_says_what_is_missing() -> None:
    done = run(
        "import secateur, torch\n"
        "try:\n"
        "    secateur.plan(torch.nn.Linear(2, 2), (torch.ones(1, 2),))\n"
        "except secateur.PluginError as error:\n"
        "    print(error)\n"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("no criterion named 'l1'; (none is known)")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda *given: secateur.plan(*given), "no criterion named 'l1'; (none is known)"),
        (lambda *given: secateur.trace(*given), "no graph builder named 'trace'; (none is known)"),
    ],
)
def test_a_bare_manager_names_what_is_asked_for(call, message) -> None:
    model = nn.Linear(2, 2)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with using(PluginManager.bare()), pytest.raises(PluginError) as error:
        call(model, (torch.ones(1, 2),))
    assert str(error.value) == message
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_a_disabled_plugin_is_named_as_the_likely_cause() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SECATEUR_PLUGINS", "")
        manager = PluginManager.discover()
    if not manager.rows:
        pytest.skip("no plugin is installed that could be disabled")
    with using(manager), pytest.raises(PluginError) as error:
        secateur.trace(nn.Linear(2, 2), (torch.ones(1, 2),))
    assert str(error.value).startswith("no graph builder named 'trace'; (none is known); disabled plugins: ")
