"""`secateur thin --zeros`: what it removes, what it prints, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import secateur
from secateur.cli.main import main
from secateur.cli.models import build_model
from secateur.thinning.verify import outputs

NET = """
import torch
from torch import nn
from torch.nn.utils import prune

class Net(nn.Sequential):
    def __init__(self, padding=1):
        super().__init__(
            nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 6, 3, padding=padding), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3),
        )
        with torch.no_grad():
            self[0].weight[[0, 1, 2, 6]] = 0
            self[0].bias[[0, 1, 2, 6]] = torch.tensor([-1.0, -1.0, -1.0, 0.01])  # the last is a constant
            self[6].weight[:, 4] = 0

def masked():
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    prune.ln_structured(net[0], "weight", 0.5, 2, 0)
    return net
"""
INPUT = ["--input", "2,1,8,8"]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for variable in ("FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("COLUMNS", "160")
    (tmp_path / "net.py").write_text(NET)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rows(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def thin(capsys: pytest.CaptureFixture[str], *options: str) -> list[str]:
    assert main(["thin", *options, "--zeros", "-o", "thin.safetensors"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return rows(out)


def refused(capsys: pytest.CaptureFixture[str], *options: str) -> str:
    assert main(["thin", "net.py:Net", *INPUT, *options, "-o", "thin.safetensors"]) == 2
    assert not Path("thin.safetensors").exists()
    return capsys.readouterr().err


def dense_and_thin(name: str, **arguments: str) -> tuple[Any, Any]:
    given = [f"{key}={value}" for key, value in arguments.items()]
    return build_model(name, given, 0).model, secateur.load("thin.safetensors", build_model(name, given, 1).model)


def test_what_is_silenced_leaves(capsys: pytest.CaptureFixture[str]) -> None:
    found = thin(capsys, "net.py:Net", *INPUT)
    assert "net.py:Net: 4 of 14 units in 2 dims removed" in found
    assert "0 3 8 0-2" in found
    assert "2 1 6 4" in found
    assert "silenced, but not exactly units effect why" in found
    (line,) = [line for line in found if "zero padding" in line]
    assert line.startswith("0 1 ")
    assert line.endswith("the constant it emits meets the zero padding of 2, where it differs from the rest; stays")
    assert not any(line.startswith("constants folded into") for line in found)
    assert any(line.startswith("original and thinned outputs differ by") for line in found)
    model, loaded = dense_and_thin("net.py:Net")
    x = torch.randn(3, 1, 9, 9)
    assert loaded[2].weight.shape == (5, 5, 3, 3)
    assert torch.allclose(outputs(model, (x,))[0], outputs(loaded, (x,))[0], atol=1e-6)


def test_effects_can_be_accepted(capsys: pytest.CaptureFixture[str]) -> None:
    found = thin(capsys, "net.py:Net", *INPUT, "--accept", "0.5")
    assert "net.py:Net: 5 of 14 units in 2 dims removed" in found
    assert any(line.endswith("; accepted") for line in found)
    assert any(line.startswith("2.bias 5 6 ") for line in found)


def test_constants_are_folded(capsys: pytest.CaptureFixture[str]) -> None:
    found = thin(capsys, "net.py:Net", *INPUT, "--model-args", "padding=0")
    assert "net.py:Net: 5 of 14 units in 2 dims removed" in found
    assert "constants folded into numbers of largest" in found
    assert any(line.startswith("2.bias 5 6 ") for line in found)
    model, loaded = dense_and_thin("net.py:Net", padding="0")
    x = torch.randn(3, 1, 9, 9)
    assert torch.allclose(outputs(model, (x,))[0], outputs(loaded, (x,))[0], atol=1e-6)


def test_what_is_kept_stays(capsys: pytest.CaptureFixture[str]) -> None:
    assert "net.py:Net: 3 of 14 units in 2 dims removed" in thin(capsys, "net.py:Net", *INPUT, "--keep", "2")


def test_masks_of_torch(capsys: pytest.CaptureFixture[str]) -> None:
    assert "net.py:masked: 4 of 8 units in 1 dim removed" in thin(capsys, "net.py:masked", "--input", "2,4")
    model, loaded = dense_and_thin("net.py:masked")
    x = torch.randn(5, 4)
    assert loaded[0].weight_mask.shape == (4, 4)
    assert torch.allclose(outputs(model, (x,))[0], outputs(loaded, (x,))[0], atol=1e-6)


def test_nothing_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    found = thin(capsys, "resnet20_cifar")
    assert "resnet20_cifar: nothing was removed: the plan lets nothing leave" in found
    assert not any(line.startswith("silenced") for line in found)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--zeros", "--prune", "0.5"], "--zeros says what leaves, --prune does too; give one of them"),
        (["--zeros", "--plan", "p.json"], "--plan says what leaves, --zeros does too; give one of them"),
        (["--accept", "0.1"], "--accept goes with --zeros; give both, or neither"),
        (["--zeros", "--accept", "-1"], "accept: expected a number of at least 0, got -1.0"),
        (["--zeros", "--accept", "nan"], "accept: expected a number of at least 0, got nan"),
        (["--zeros", "--accept", "x"], "argument --accept: invalid float value: 'x'"),
        (["--zeros", "--keep", "zz"], "keep='zz': 'zz' matches no prunable dim"),
    ],
)
def test_bad_options(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert message in refused(capsys, *options)
