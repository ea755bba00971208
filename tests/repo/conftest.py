"""What the tests of the repository itself look at: its files, as git sees them."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
MEMBERS = ("core", "plugins/builders", "plugins/pruners", "plugins/thinners", "plugins/models")


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def projects() -> dict[str, dict[str, Any]]:
    """The five pyproject files by the folder they lie in."""
    return {member: tomllib.loads((ROOT / member / "pyproject.toml").read_text()) for member in MEMBERS}


@pytest.fixture(scope="session")
def files() -> list[Path]:
    """All files of the repository: tracked ones, and those that are not ignored."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return sorted(path for name in listed.split("\0") if name and (path := ROOT / name).is_file())


@pytest.fixture(scope="session")
def sources(files: list[Path]) -> list[Path]:
    """The modules that are shipped: everything below a `src` folder."""
    return [file for file in files if file.suffix == ".py" and "src" in file.relative_to(ROOT).parts]
