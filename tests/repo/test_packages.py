"""The five packages agree with each other, with the pins, and with what is installed."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import secateur

Projects = dict[str, dict[str, Any]]
LONGEST_PYPROJECT = 45


def entry_points(projects: Projects) -> dict[str, str]:
    return {
        name: module
        for project in projects.values()
        for name, module in project["project"].get("entry-points", {}).get("secateur", {}).items()
    }


def requirements(projects: Projects, root: Path) -> list[Requirement]:
    declared = [line for project in projects.values() for line in project["project"]["dependencies"]]
    tools = (root / "requirements-dev.txt").read_text().splitlines()
    declared += [line for line in tools if line and not line.startswith(("#", "-e"))]
    return [Requirement(line) for line in declared]


def pins(root: Path) -> dict[str, Version]:
    lines = [line for line in (root / "constraints.txt").read_text().splitlines() if line and line[0] != "#"]
    split = [line.split("==") for line in lines]
    return {canonicalize_name(name): Version(version) for name, version in split}


def test_all_packages_have_the_version_of_core(projects: Projects, root: Path) -> None:
    suite = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    versions = {project["project"]["name"]: project["project"]["version"] for project in projects.values()}
    assert versions | {suite["name"]: suite["version"]} == dict.fromkeys(
        [*versions, suite["name"]], secateur.__version__
    )


def test_the_suite_installs_every_package(projects: Projects, root: Path) -> None:
    suite = tomllib.loads((root / "pyproject.toml").read_text())["project"]["dependencies"]
    wanted = [f"{project['project']['name']} @ {{root:uri}}/{member}" for member, project in projects.items()]
    assert sorted(suite) == sorted(wanted)


def test_plugins_accept_this_version_of_core(projects: Projects, root: Path) -> None:
    on_core = [each for each in requirements(projects, root) if each.name == "secateur"]
    assert len(on_core) == len(projects) - 1
    assert all(each.specifier.contains(secateur.__version__) for each in on_core)


def test_plugins_depend_on_core_and_not_on_each_other(projects: Projects) -> None:
    ours = {project["project"]["name"] for project in projects.values()}
    for member, project in projects.items():
        names = {Requirement(line).name for line in project["project"]["dependencies"]}
        assert names & ours == (set() if member == "core" else {"secateur"}), member


def test_pyprojects_of_plugins_are_short_and_configure_no_tool(projects: Projects, root: Path) -> None:
    for member, project in projects.items():
        lines = (root / member / "pyproject.toml").read_text().count("\n")
        assert lines <= LONGEST_PYPROJECT, f"{member}/pyproject.toml has {lines} lines"
        assert set(project["tool"]) == {"hatch"}, f"{member}: tools are configured in the root pyproject.toml"
        assert set(project["tool"]["hatch"]) == {"build"}, member


def test_packages_are_typed(projects: Projects, root: Path) -> None:
    for member, project in projects.items():
        for package in project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]:
            assert (root / member / package / "py.typed").is_file(), f"{member}/{package} has no py.typed"


def test_every_dependency_is_pinned_within_its_range(projects: Projects, root: Path) -> None:
    pinned = pins(root)
    for each in requirements(projects, root):
        if each.name != "secateur":
            assert canonicalize_name(each.name) in pinned, f"{each} has no pin in constraints.txt"
            assert each.specifier.contains(pinned[canonicalize_name(each.name)]), f"{each} excludes its pin"


def test_what_is_tested_is_what_is_pinned(projects: Projects, root: Path) -> None:
    for name, pin in pins(root).items():
        try:
            installed = Version(importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:  # a transitive dependency of another platform
            continue
        assert installed.public == str(pin), f"{name} {installed} is installed, constraints.txt says {pin}"


def test_every_entry_point_imports_without_torch(projects: Projects) -> None:
    modules = sorted(entry_points(projects).values())
    assert modules
    code = f"""
import importlib, sys
for module in {modules!r}:
    importlib.import_module(module)
    heavy = [name for name in ("torch", "torchvision", "scipy", "sklearn") if name in sys.modules]
    if heavy:
        sys.exit(f"{{module}} imports {{heavy}}")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_every_entry_point_is_installed_and_loads(projects: Projects) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "secateur", "plugins", "--json"],
        env={key: value for key, value in os.environ.items() if not key.startswith("SECATEUR_")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    for name in entry_points(projects):
        assert name in rows, f"plugin {name} is declared but not installed: install its package again"
        assert rows[name]["status"] == "loaded", rows[name]
        assert rows[name]["hooks"], f"plugin {name} implements no hook"


def test_names_of_plugins_are_unique(projects: Projects) -> None:
    names = [name for p in projects.values() for name in p["project"].get("entry-points", {}).get("secateur", {})]
    assert len(names) == len(set(names))
