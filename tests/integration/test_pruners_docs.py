"""The page on pruners names every class there is, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

from secateur.plugins import current

PAGE = Path(__file__).parents[2] / "docs" / "pruners.md"


def named(heading: str) -> set[str]:
    """The names in the first column of the table below a heading."""
    section = PAGE.read_text(encoding="utf-8").split(f"## {heading}\n")[1].split("\n## ")[0]
    cells = re.findall(r"^\| (`[^|]*`) \|", section, re.MULTILINE)[1:]
    return {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}


def test_all_are_listed() -> None:
    manager = current()
    assert named("Pruners of units") | named("Pruners within weights") == set(manager.pruners)
    assert named("Criteria") == set(manager.criteria)
    assert named("Regularizers") == set(manager.regularizers)
