"""`secateur inspect` and `secateur diff`: what a checkpoint holds, and how two differ."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

import secateur
from secateur.checkpoint import diff
from secateur.cli.main import main

INPUT = (torch.randn(4, 6, generator=torch.Generator().manual_seed(0)),)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))


def trained(rounds: int = 1, thinnings: int = 1) -> tuple[nn.Sequential, torch.optim.Optimizer]:
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(thinnings):
        secateur.thin(model, secateur.plan(model, INPUT, prune=0.25), optimizer)
    for _ in range(rounds):
        optimizer.zero_grad()
        model(*INPUT).square().mean().backward()
        optimizer.step()
    return model, optimizer


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    secateur.save("a", *trained(), position={"epoch": 1, "step": 2}, rng=False)
    secateur.save("b", *trained(rounds=2), position={"epoch": 1, "step": 3}, rng=False)
    secateur.save("c", *trained(thinnings=2), rng=False)
    return tmp_path


def test_inspect_says_what_is_in_it(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    generator = torch.Generator()
    model, optimizer = trained()
    rates = torch.optim.lr_scheduler.StepLR(optimizer, 3)
    extra = {"note": "first", "mean": torch.zeros(3)}
    secateur.save("d", model, optimizer, lr_schedulers=rates, generators={"loader": generator}, extra=extra)
    assert main(["inspect", "d", "--tensors"]) == 0
    shown = capsys.readouterr().out
    for line in (
        "checksum: right",
        "model: 4 tensors, 63 numbers; thinned once",
        "optimizer: Adam, state of 4 parameters",
        "learning-rate schedulers: StepLR",
        "random states: of the process, loader",
        "extra: note 'first', mean a tensor of shape (3,)",
    ):
        assert line in shown
    assert "thinning 1 of 1: 20" in shown
    assert "0.out_features   8        6" in shown
    assert "(6, 6)   F32" in shown


def test_inspect_as_json(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "a", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["position"] == {"epoch": 1, "step": 2}
    assert said["checksum"] is True
    assert said["steps"][0]["cuts"]["0.weight"] == {"before": [8, 6], "after": [6, 6]}


def test_inspect_finds_a_flipped_bit(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = bytearray(Path("a").read_bytes())
    content[-1] ^= 1
    Path("a").write_bytes(content)
    assert main(["inspect", "a"]) == 2
    assert capsys.readouterr().err == (
        "error: a: it is damaged: its content does not match its checksum; "
        "copy it again from where it is whole, or take an older one\n"
    )


def test_names_cannot_steer_a_terminal(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = nn.Module()
    model.register_buffer("a\x1b[2Jb", torch.zeros(2))
    secateur.save("e", model)
    assert main(["inspect", "e", "--tensors"]) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "a\\x1b[2Jb" in shown


def test_the_same(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", "a", "a"]) == 0
    assert capsys.readouterr().out == "both hold the same\n"


def test_diff_of_a_step_of_training(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = diff("a", "b")
    a, b = (secateur.load(name, network()).state_dict() for name in "ab")
    for name, gap in told["weights"].items():
        assert gap["absolute"] == float((a[name].double() - b[name].double()).abs().max())
    assert list(told["weights"]) == sorted(told["weights"], key=lambda name: -told["weights"][name]["absolute"])
    assert told["equal"] + len(told["weights"]) == 4
    assert ["optimizer.state.0.weight.step", "largest difference", 1.0] in told["optimizer"]
    assert main(["diff", "a", "b", "--most", "1"]) == 1
    shown = capsys.readouterr().out
    assert "3 more; --most 4 shows all" in shown
    assert "position of the first: epoch 1, step 2\nposition of the second: epoch 1, step 3\n" in shown
    assert "shape of" not in shown


def test_diff_of_thinnings(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = diff("a", "c")
    assert told["steps"] == {"common": 1, "first": 0, "second": 1}
    assert told["shapes"]["0.weight"] == [[6, 6], [5, 6]]
    assert main(["diff", "a", "c"]) == 1
    shown = capsys.readouterr().out
    assert "thinnings: 1 in common, then 0 in the first, 1 in the second" in shown


def test_diff_as_json(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", "a", "b", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["position"] == [{"epoch": 1, "step": 2}, {"epoch": 1, "step": 3}]


def test_tensors_that_one_lacks_and_other_dtypes(files: Path) -> None:
    one, other = nn.Module(), nn.Module()
    one.register_buffer("x", torch.zeros(2))
    other.register_buffer("x", torch.zeros(2, dtype=torch.int64))
    other.register_buffer("y", torch.zeros(2))
    secateur.save("d", one)
    secateur.save("e", other)
    told = diff("d", "e")
    assert told["only"] == {"first": [], "second": ["y"]}
    assert told["weights"]["x"]["dtypes"] == ["torch.float32", "torch.int64"]
    assert not told["same"]
