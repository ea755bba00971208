"""Schedules published with Distiller are read unchanged, and fit the JSON Schema.

The environment variable `DISTILLER_SCHEDULES` names a folder that holds them; they are not part of this repository.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from secateur.config import load, plain
from secateur.plugins import current
from secateur.schedule.grammar import read_schedule
from secateur.schedule.schema import schedule_schema

FOLDER = os.environ.get("DISTILLER_SCHEDULES", "")
FILES = sorted(Path(FOLDER).rglob("*.yaml")) if FOLDER else []

pytestmark = pytest.mark.skipif(not FOLDER, reason="DISTILLER_SCHEDULES names no folder of published schedules")


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return schedule_schema(current())


def test_they_are_all_there() -> None:
    assert len(FILES) >= 26


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_it_is_read(file: Path) -> None:
    assert read_schedule(load(file), current()).policies


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_it_fits_the_schema(file: Path, schema: dict[str, Any]) -> None:
    assert [error.message for error in Draft202012Validator(schema).iter_errors(plain(load(file)))] == []
