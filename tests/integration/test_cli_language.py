"""Word language models on the command line: their words and states, MACs per token, and every way out."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import secateur
from secateur.cli.main import main
from secateur.measure.counts import Batch, batch_of

MODEL = ["word_lm", "--model-args", "vocabulary=50", "--model-args", "hidden=16", "--model-args", "embedding=12"]
MACS = 12 * 64 + 16 * 64 + 2 * 16 * 64 + 50 * 16
HALF = 6 * 32 + 8 * 32 + 2 * 8 * 32 + 50 * 8


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("inputs", [[], ["--input", "7,3:int64", "--input", "2,3,16+2,3,16"]])
def test_units_and_states_are_planned(inputs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", *MODEL, *inputs]) == 0
    out = said(capsys)
    assert "word_lm: 14 of 28 units in 2 dims leave" in out
    assert f"MACs per token {MACS:,} {HALF:,}" in out
    assert (
        "careful: the states that the model takes and returns become smaller: 16 entries leave the inputs 1, 2" in out
    )


def test_without_a_state_the_units_stay(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", *MODEL, "--input", "7,3:int64"]) == 0
    out = said(capsys)
    assert "6 of 12 units in 1 dim leave" in out
    assert "give a state among the example inputs" in out


def test_it_is_thinned_timed_and_written_in_every_form(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["thin", *MODEL, "--latency", "--report", "thin.html", "-o", "thin.safetensors"]) == 0
    out = said(capsys)
    assert f"MACs per token {MACS:,} {HALF:,}" in out
    assert "latency of 35 tokens, ms" in out
    assert "masked and thinned outputs differ by" in out
    assert "per token" in (here / "thin.html").read_text(encoding="utf-8")
    kinds, few = ["thin.py", "thin.pt2"], ["--input", "4,2:int64", "--input", "2,2,8+2,2,8"]
    if all(find_spec(name) is not None for name in ("onnx", "onnxscript", "onnxruntime")):
        kinds.append("thin.onnx")
    for kind in kinds:
        given = [] if kind == "thin.py" else few
        assert main(["export", *MODEL, "--weights", "thin.safetensors", "-o", kind, *given]) == 0
        assert "outputs of the model and of what was written: " in said(capsys)
        assert (here / kind).is_file()


def test_a_program_takes_any_batch(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["thin", *MODEL, "-o", "thin.safetensors"]) == 0
    export = ["export", *MODEL, "--weights", "thin.safetensors", "-o", "thin.pt2"]
    assert main([*export, "--dynamic-batch"]) != 0
    assert (
        "--dynamic-batch: the model does not run on inputs that are twice as long along axis 0; say by --batch-axis "
        "which axis the batch is (1 where time is in front), or give --input"
        in " ".join(capsys.readouterr().err.split())
    )
    assert main([*export, "--dynamic-batch", "--batch-axis", "1"]) == 0
    program = torch.export.load("thin.pt2").module()
    states = tuple(torch.zeros(2, 5, 8) for _ in "hc")
    logits, _ = program(torch.zeros(35, 5, dtype=torch.int64), states)
    assert logits.shape == (35, 5, 50)


@pytest.mark.parametrize("text", ["2,3,16+", "2,3,16+x", "+2,3"])
def test_shapes_of_a_tuple_are_checked(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", *MODEL, "--input", "7,3:int64", "--input", text]) != 0
    bad = {"2,3,16+": "''", "2,3,16+x": "'x'", "+2,3": "''"}[text]
    assert f"--input: {bad} is no shape" in capsys.readouterr().err


class Answers(nn.Module):
    """Something for each token, or for each sequence; of tokens or of numbers."""

    def __init__(self, each: bool) -> None:
        super().__init__()
        self.words, self.read, self.each = nn.Embedding(9, 4), nn.Linear(4, 3), each

    def forward(self, tokens: Tensor) -> Any:
        h = tokens if tokens.is_floating_point() else self.words(tokens)
        return self.read(h if self.each else h.mean(1))


def test_what_a_batch_is() -> None:
    tokens, numbers = torch.zeros(5, 3, dtype=torch.int64), torch.zeros(5, 3, 4)

    def batch(each: bool, x: Tensor) -> Batch:
        return batch_of(secateur.trace(Answers(each), (x,)))

    assert batch(True, tokens) == Batch(15, "token")
    assert batch(False, tokens) == Batch(5, "example")
    assert batch(True, numbers) == batch(False, numbers) == Batch(5, "example")
    assert batch(True, tokens[0]) == Batch(3, "example")
