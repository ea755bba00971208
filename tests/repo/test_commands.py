"""The commands that the documentation tells people to type exist."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from secateur.cli import builtin
from secateur.plugins import PluginManager
from secateur.plugins.manager import CORE

DOCUMENTS = ("README.md", "CONTRIBUTING.md", "benchmarks/README.md")


def targets(root: Path) -> set[str]:
    return set(re.findall(r"^([a-z-]+):.*## ", (root / "Makefile").read_text(), flags=re.MULTILINE))


def typed_lines(text: str) -> list[str]:
    """The lines of the code blocks of a Markdown text, without the prompt."""
    blocks = re.findall(r"^```[a-z]*\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    return [line.removeprefix("$ ").strip() for block in blocks for line in block.splitlines()]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_of_the_documentation_exist(document: str, root: Path) -> None:
    file = root / document
    if not file.is_file():
        pytest.skip(f"{document} is not written yet")
    text = file.read_text()
    named = {line.split()[1] for line in typed_lines(text) if line.startswith("make ")}
    named |= set(re.findall(r"`make ([a-z-]+)", text))
    assert named, f"{document} names no make target"
    assert named <= targets(root)
    for path in re.findall(r"(?:benchmarks|examples|tests|docs)/[\w./-]+\.\w+", text):
        assert (root / path).is_file(), f"{document} names {path}, which does not exist"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_sub_commands_of_the_documentation_exist(document: str, root: Path) -> None:
    plugins = PluginManager.discover()
    plugins.register(builtin, CORE)
    file = root / document
    lines = typed_lines(file.read_text()) if file.is_file() else []
    named = {line.split()[1] for line in lines if line.startswith("secateur ")}
    assert named <= set(plugins.commands), f"{document} names sub-commands that do not exist"


def test_help_lists_every_target(root: Path) -> None:
    done = subprocess.run(["make", "-s"], cwd=root, capture_output=True, text=True, timeout=60, check=True)
    listed = {line.split()[1] for line in done.stdout.splitlines()}
    assert listed == targets(root)
    assert {"demo", "test", "lint", "types", "contracts", "bench"} <= listed


def test_ci_runs_all_checks_and_the_tests_last(root: Path) -> None:
    script = root / ".ci" / "run"
    assert os.access(script, os.X_OK)
    (loop,) = re.findall(r"^for target in (.*); do$", script.read_text(), flags=re.MULTILINE)
    assert set(loop.split()) == {"lint", "types", "contracts", "test"}
    assert loop.split()[-1] == "test"
