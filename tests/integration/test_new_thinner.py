"""`secateur new thinner` writes a package that installs, is found, thins its layer, and passes its own tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import secateur
from secateur.cli.main import main
from secateur.cli.new_command import KINDS, write_tree

FILES = {
    "README.md",
    "pyproject.toml",
    "src/edge_layers/__init__.py",
    "src/edge_layers/layer.py",
    "src/edge_layers/py.typed",
    "src/edge_layers/thinner.py",
    "tests/test_contract.py",
}
NET = """
from torch import nn
from edge_layers.layer import ScaledShift

def net():
    return nn.Sequential(nn.Conv2d(3, 8, 3), ScaledShift(8), nn.ReLU(), nn.Conv2d(8, 4, 1))
"""


def python(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run this Python in a folder where the package in `site` is installed, or not if there is none."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("SECATEUR_", "COLUMNS"))}
    environment["PYTHONPATH"] = str(site)
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=site.parent, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package, installed in `site`, and a file with a network that uses its layer."""
    folder = tmp_path_factory.mktemp("author")
    assert main(["new", "thinner", "edge-layers", "--into", str(folder)]) == 0
    options = ["--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--quiet"]
    done = python(
        folder / "site", "-m", "pip", "install", *options, "--target", str(folder / "site"), str(folder / "edge-layers")
    )
    assert done.returncode == 0, done.stderr
    (folder / "net.py").write_text(NET)
    return folder


def files_of(folder: Path) -> set[str]:
    built = {"build", "dist"}
    found = (file.relative_to(folder) for file in folder.rglob("*") if file.is_file())
    return {path.as_posix() for path in found if not built & set(path.parts)}


def test_the_files_and_their_names(place: Path) -> None:
    package = place / "edge-layers"
    assert files_of(package) == FILES
    text = (package / "pyproject.toml").read_text()
    project = tomllib.loads(text)["project"]
    assert text.count("\n") <= 25
    assert project["entry-points"]["secateur"] == {"edge_layers": "edge_layers.thinner"}
    major, minor, *_ = secateur.__version__.split(".")
    assert f"secateur>={major}.{minor},<{major}.{int(minor) + 1}" in project["dependencies"]
    for file in FILES:
        assert "$module" not in (package / file).read_text()
        assert "$name" not in (package / file).read_text()


@pytest.fixture
def installed(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The package is installed for this process, too."""
    for variable in ("SECATEUR_DISABLE", "SECATEUR_PLUGINS", "COLUMNS", "FORCE_COLOR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.syspath_prepend(str(place / "site"))
    monkeypatch.chdir(place)
    yield place
    for name in [name for name in sys.modules if name.partition(".")[0] == "edge_layers"]:
        del sys.modules[name]


def test_its_own_tests_pass(place: Path) -> None:
    tests = python(place / "site", "-m", "pytest", "-q", "-p", "no:cacheprovider", "edge-layers")
    assert tests.returncode == 0, tests.stdout
    assert "passed" in tests.stdout
    assert "failed" not in tests.stdout


@pytest.mark.usefixtures("installed")
def test_the_plugin_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins", "--json", "--check"]) == 0
    (row,) = [row for row in json.loads(capsys.readouterr().out) if row["name"] == "edge_layers"]
    assert (row["status"], row["dist"], row["version"]) == ("loaded", "edge-layers", "0.1.0")
    assert row["hooks"] == ["secateur_layer_adapters", "secateur_op_rules"]


@pytest.mark.usefixtures("installed")
def test_the_layer_is_thinned_with_the_plugin_and_refused_without(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("plan", "net.py:net", "--input", "1,3,9,9", "--explain", "0")
    assert main([*arguments]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "0: 4 of 8 units stay; a unit consists of"
    assert any("→ edge_layers::scaled_shift at 1 (" in line and "1.scale, .shift axis 0" in line for line in lines)
    assert any(line.endswith("3.weight axis 1 (reads it)") for line in lines)
    assert main(["--disable", "edge_layers", *arguments]) == 0
    out = capsys.readouterr().out
    assert "units stay" not in out
    assert "stays: 0.weight axis 0 → conv2d at 0" in out
    assert "no rule for the operation 'edge_layers::scaled_shift'" in out
    assert main(["thin", "net.py:net", "--input", "1,3,9,9", "-o", "thin.safetensors"]) == 0
    assert "4 of 8 units in 1 dim removed" in capsys.readouterr().out


def test_what_to_do_next_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", "thinner", "Edge_Layers", "--into", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith(f"wrote {tmp_path / 'Edge_Layers'} ({len(FILES)} files); next:\n  $ pip install -e ")
    assert "secateur plugins then lists edge_layers" in out
    assert (tmp_path / "Edge_Layers" / "src" / "edge_layers" / "thinner.py").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["thiner", "x"], "secateur new: there is no template 'thiner'; did you mean 'thinner'? (known: thinner)"),
        (
            ["thinner", "my layers"],
            "secateur new: 'my layers' cannot name a package; use letters, digits and single hyphens, such as my-lay",
        ),
        (["thinner", "9th"], "secateur new: '9th' cannot name a package; use letters"),
        (["thinner", "été"], "secateur new: 'été' cannot name a package; use letters"),
        (["thinner", ""], "secateur new: '' cannot name a package; use letters"),
        (
            ["thinner", "../up"],
            "secateur new: '../up' cannot name a package; use letters, digits and single hyphens, such as my-layers; "
            "--into FOLDER says where it goes",
        ),
        (
            ["thinner", "class"],
            "secateur new: 'class' is a reserved word; choose another, such as class-layers",
        ),
        (["thinner", "aten"], "secateur new: 'aten' is a reserved word; choose another, such as aten-layers"),
        (["thinner", "conv"], "secateur new: a plugin named 'conv' is installed; choose another name"),
        (["thinner", "torch"], "secateur new: there is a module 'torch' already; choose another name"),
        (["thinner", "JSON"], "secateur new: there is a module 'json' already; choose another name"),
        (["thinner"], "secateur new: the following arguments are required: NAME; see secateur new --help"),
        (["thinner", "there"], "there: it exists already; choose another name, or --into another folder"),
        (["thinner", "dangling"], "dangling: it exists already; choose another name, or --into another folder"),
        (["thinner", "x1", "--into", "no"], "no/x1: there is no folder 'no'; make it first"),
        (["thinner", "x1", "--into", "there"], "there/x1: there is no folder 'there'; make it first"),
        (
            ["thinner", "x" * 300],
            "x" * 300 + ": it cannot be written (File name too long); make room or permission",
        ),
    ],
)
def test_what_cannot_be_made_is_one_line_and_leaves_nothing(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there").touch()
    Path("dangling").symlink_to("nowhere")
    before = sorted(tmp_path.rglob("*"))
    assert main(["new", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: {message}")
    assert err.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_a_package_that_cannot_be_written_whole_is_not_written_at_all(tmp_path: Path) -> None:
    with pytest.raises(secateur.SecateurError, match=r"half: it cannot be written \(.*\); make room or permission"):
        write_tree(tmp_path / "half", {"a.py": "", "a.py/b.py": ""})
    assert list(tmp_path.iterdir()) == []


def test_every_kind_has_its_templates() -> None:
    from secateur.cli.new_command import rendered

    for kind in KINDS:
        made = rendered(kind, {"name": "a-b", "module": "a_b", "versions": ">=1"})
        for path, text in made.items():
            if path.endswith(".py"):
                compile(text, path, "exec")
        assert {"pyproject.toml", "README.md", "src/a_b/thinner.py", "tests/test_contract.py"} <= set(made)
