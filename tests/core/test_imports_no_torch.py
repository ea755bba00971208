"""Starting up is light: `import secateur`, the help and the list of plugins load neither torch nor numpy."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import secateur

HEAVY = ("torch", "numpy", "scipy", "torchvision", "safetensors")
REPORT = f"""
import sys
heavy = [name for name in {HEAVY!r} if name in sys.modules]
print("HEAVY", heavy, file=sys.stderr)
"""


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    source = str(Path(secateur.__file__).parents[1])
    keep = {key: value for key, value in os.environ.items() if not key.startswith("SECATEUR_")}
    paths = os.pathsep.join(filter(None, [source, environment.pop("PATHS", ""), keep.get("PYTHONPATH", "")]))
    return subprocess.run(
        [sys.executable, "-c", code + REPORT],
        env=keep | {"PYTHONPATH": paths, "COLUMNS": "100", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    "code",
    [
        "import secateur; secateur.hookimpl; secateur.SecateurError; dir(secateur); secateur.__version__",
        "import secateur.hookspecs, secateur.records, secateur.plugins",
        "from secateur.cli.main import main; assert main(['--help']) == 0",
        "from secateur.cli.main import main; assert main(['plugins']) == 0",
        "from secateur.cli.main import main; assert main(['plugins', '--json']) == 0",
    ],
)
def test_nothing_heavy_is_imported(code: str) -> None:
    done = run(code, SECATEUR_PLUGINS="")
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "HEAVY []"


def test_the_report_of_this_test_can_see_a_heavy_module() -> None:
    assert run("import numpy").stderr.splitlines()[-1] == "HEAVY ['numpy']"


def test_a_plugin_found_on_the_path_is_listed_in_a_new_process(dists: Any) -> None:
    dists.add_model("lightweight", "lion", version="3.2.1")
    dists.add("fragile", "import no_such_module")
    code = "from secateur.cli.main import main; assert main(['plugins']) == 0"
    done = run(code, PATHS=str(dists.folder), SECATEUR_PLUGINS="lightweight,fragile")
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if "lightweight" in line]
    assert line.split() == ["lightweight", "loaded", "fake-lightweight", "3.2.1", "models"]
    assert "warning: plugin 'fragile' (fake-fragile 1.0) failed: ModuleNotFoundError" in done.stderr
    assert done.stderr.splitlines()[-1] == "HEAVY []"


def test_a_disabled_plugin_that_needs_torch_costs_nothing(dists: Any) -> None:
    dists.add("heavy", "import numpy")
    code = "from secateur.cli.main import main; assert main(['--disable', 'heavy', 'plugins']) == 0"
    done = run(code, PATHS=str(dists.folder), SECATEUR_PLUGINS="heavy")
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "HEAVY []"


def test_python_dash_m_runs_the_program() -> None:
    source = str(Path(secateur.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-m", "secateur", "plugns"],
        env={**os.environ, "PYTHONPATH": source, "SECATEUR_PLUGINS": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: no command named 'plugns'; did you mean 'plugins'? (known: ")


def test_a_reader_that_leaves_early_causes_no_traceback(dists: Any) -> None:
    dists.add(
        "chatty",
        """
        def run(arguments):
            for _ in range(100_000):
                print("line")
            return 0

        @hookimpl
        def secateur_commands():
            return [Command(name="chatter", summary="", configure=lambda parser: None, run=run)]
    """,
    )
    source = os.pathsep.join([str(Path(secateur.__file__).parents[1]), str(dists.folder)])
    process = subprocess.Popen(
        [sys.executable, "-m", "secateur", "chatter"],
        env={**os.environ, "PYTHONPATH": source, "SECATEUR_PLUGINS": "chatty"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "line\n"
    process.stdout.close()
    assert process.stderr is not None
    with process.stderr:
        assert process.stderr.read() == ""
    assert process.wait(timeout=60) == 141


# -- the lazy public names -----------------------------------------------------------------------------------


def test_every_public_name_is_listed_with_its_home() -> None:
    assert set(secateur.__all__) <= set(dir(secateur))
    assert {
        "trace",
        "plan",
        "masked",
        "thin",
        "save",
        "load",
        "Scheduler",
        "Graph",
        "Plan",
        "Dim",
        "Report",
    } <= set(secateur.__all__)
    assert secateur._HOME_OF["plan"] == "secateur.thinning.planner"
    assert secateur.__version__ == "0.1.0"


def test_a_name_is_the_one_of_its_home() -> None:
    from secateur.errors import PluginError
    from secateur.hookspecs import hookimpl

    assert secateur.hookimpl is hookimpl
    assert secateur.PluginError is PluginError


def test_an_unknown_name_is_an_attribute_error_with_a_suggestion() -> None:
    with pytest.raises(AttributeError) as error:
        secateur.tracer  # noqa: B018
    assert str(error.value) == "module 'secateur' has no attribute 'tracer'; did you mean 'trace'?"
    assert not hasattr(secateur, "_zzz")
