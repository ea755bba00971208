"""The code of README and docs does what it says: Python is run, files are written, and in tutorials commands are typed.

A block whose first line is a comment with a path (`# net.py`) is written there; other Python blocks run one after
another. In a tutorial, each line of a `console` block that begins with `$` is run, and every line below it must be in
what it prints. The lines of a `text` block must be in what the Python before it has printed. A line may leave things
out: `…` stands for anything. A `diff` block, `--- net.py` and the lines that go and come, changes a file.
"""

from __future__ import annotations

import importlib
import os
import re
import shlex
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from secateur.cli.main import main
from secateur.plugins import PluginManager, using

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
BLOCK = re.compile(r"^```(python|yaml|toml|console|text|diff)\n(.*?)^```", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# (\S+\.(?:py|yaml|toml))\n")
PROGRAMS = ("secateur", "python -m pytest", "pip install")
"""What a tutorial may let its readers type; each runs with this Python."""
OFFLINE = ("--no-index", "--no-deps", "--no-build-isolation", "--quiet", "--disable-pip-version-check")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_snippets_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for variable in ("COLUMNS", "FORCE_COLOR", "PYTHONPATH"):
        monkeypatch.delenv(variable, raising=False)
    text = page.read_text(encoding="utf-8")
    namespace: dict[str, object] = {"__name__": "snippet"}
    found, printed = BLOCK.findall(text), ""
    assert found or page.name != "README.md"
    for language, body in found:
        forget(tmp_path)
        file = FILE.match(body)
        if language == "console":
            if page.parent.name == "tutorials":
                type_commands(body, tmp_path, monkeypatch)
        elif file:
            Path(file[1]).parent.mkdir(parents=True, exist_ok=True)
            Path(file[1]).write_text(body, encoding="utf-8")
        elif language == "python":
            with using(PluginManager.discover()), redirect_stdout(StringIO()) as out:
                exec(compile(body, str(page), "exec"), namespace)
            printed = out.getvalue()
        elif language == "diff":
            change(body)
        elif language == "text":
            for line in body.splitlines():
                assert says(printed, line), f"{printed}\nhas no line\n{line}"
    forget(tmp_path)


def change(block: str) -> None:
    """Replace the lines that begin with a minus sign by those that begin with a plus sign."""
    name, *lines = block.splitlines()
    file = Path(name.removeprefix("--- "))
    old, new = ("\n".join(line[1:] for line in lines if line[:1] == sign) for sign in "-+")
    text = file.read_text(encoding="utf-8")
    assert old in text, f"{file} has no lines\n{old}"
    file.write_text(text.replace(old, new), encoding="utf-8")


def says(printed: str, line: str) -> bool:
    """Whether a line is in an output, however either is spaced; `…` stands for anything within a line."""
    parts = [re.escape(" ".join(part.split())) for part in line.split("…")]
    lines = [" ".join(each.split()) for each in printed.splitlines()]
    return any(re.search(".*".join(parts), each) for each in (lines if len(parts) > 1 else [" ".join(lines)]))


@pytest.mark.parametrize(
    ("line", "said"),
    [("b  c d", True), ("a … c", True), ("a … d", False), ("x", False), (" …", True), ("", True)],
)
def test_lines_are_found(line: str, said: bool) -> None:
    assert says("a b   c\n  d\n", line) is said


def forget(place: Path) -> None:
    """Let modules of a folder be imported anew: its files change between blocks."""
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(place)):
            del sys.modules[name]
    importlib.invalidate_caches()


def type_commands(block: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the commands of a block and look for the lines below each in its output."""
    for typed in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, *expected = typed.splitlines()
        status, printed = run(command, place, monkeypatch)
        assert status == 0, f"$ {command}\n{printed}"
        for line in expected:
            assert says(printed, line), f"$ {command}\n{printed}\nhas no line\n{line}"


def run(command: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    """Run one command; what it installs is for this page alone, and nothing is fetched."""
    program = next((program for program in PROGRAMS if command.startswith(f"{program} ")), None)
    assert program, f"a tutorial may not type {command!r}"
    words = shlex.split(command.removeprefix(program))
    if program == "secateur":
        forget(place)
        with redirect_stdout(StringIO()) as out, redirect_stderr(out):
            return main(words), out.getvalue()
    start = ["pytest", "-p", "no:cacheprovider"]
    if program == "pip install":
        words = [re.sub(r"\[.*\]$", "", word) for word in words if word != "-e"]
        sources = [str(place / word / "src") for word in words]  # before what is installed: as an editable install
        site = str(place / "site")
        for folder in (site, *sources):
            monkeypatch.syspath_prepend(folder)
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([*sources, site]))
        start = ["pip", "install", *OFFLINE, "--target", site]
    done = subprocess.run(
        [sys.executable, "-m", *start, *words], capture_output=True, text=True, timeout=300, check=False
    )
    return done.returncode, done.stdout + done.stderr
