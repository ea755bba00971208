"""Kills, mutations and two writers, a few of each: `benchmarks/robustness.py` does it by the hundred."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "robustness.py"
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")


def figures(tmp_path: Path, *options: str) -> str:
    """What the benchmark says, on one line."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *options],
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not list(tmp_path.iterdir()), "nothing was executed"
    return done.stdout


def test_no_kill_costs_a_checkpoint(tmp_path: Path) -> None:
    said = figures(tmp_path, "--kills", "15", "--writes", "0", "--mutations", "0")
    assert "15 kills" in said
    assert re.search(r"[1-9]\d* checkpoints written: 0 lost; \d+ temporary folders left by kills, 0 after", said)


def test_two_writers_do_not_mix(tmp_path: Path) -> None:
    said = figures(tmp_path, "--kills", "0", "--writes", "25", "--mutations", "0")
    assert re.search(r"two writers, 50 saves: [1-9]\d* loads, 0 wrong", said)


def test_no_mutation_gets_through(tmp_path: Path) -> None:
    said = figures(tmp_path, "--kills", "0", "--writes", "0", "--mutations", "150", "--seed", "7")
    row = next(line for line in said.splitlines() if re.match(r"\W*all\W", line))
    files, refused, loaded, wrong = map(int, re.findall(r"\d+", row))
    assert (files, wrong) == (150, 0)
    assert refused + loaded == files
    assert refused > loaded
