"""The page on pruners names every class there is, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from secateur.config import loads
from secateur.plugins import current
from secateur.schedule.grammar import read_schedule

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


@pytest.mark.parametrize("text", re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S))
def test_examples_are_read(text: str) -> None:
    assert read_schedule(loads(text + "\npolicies: []\n", "page.yaml"), current()).policies == ()


def test_there_is_an_example_of_every_class() -> None:
    manager, page = current(), PAGE.read_text(encoding="utf-8")
    shown = set(re.findall(r"\{class: (\w+)", page))
    assert set(manager.pruners) | set(manager.regularizers) <= shown
