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


def test_nothing_costs_a_checkpoint(tmp_path: Path) -> None:
    options = ["--kills", "10", "--writes", "15", "--mutations", "100", "--seed", "7"]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *options],
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    said = done.stdout
    assert done.returncode == 0, said + done.stderr
    assert not list(tmp_path.iterdir()), "nothing was executed"
    assert re.search(r"10 kills .*, \d+ checkpoints written: 0 lost; \d+ temporary folders left by .*, 0 after", said)
    assert re.search(r"two writers, 30 saves: [1-9]\d* loads, 0 wrong", said)
    row = next(line for line in said.splitlines() if re.match(r"\W*all\W", line))
    files, refused, loaded, wrong = map(int, re.findall(r"\d+", row))
    assert (files, wrong) == (100, 0)
    assert refused + loaded == files
    assert refused > loaded
