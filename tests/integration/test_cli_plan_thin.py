"""`secateur plan` and `secateur thin`: what they print and write, and one line for everything that is wrong."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

import secateur
from secateur.checkpoint import inspect
from secateur.cli.main import main
from secateur.cli.plan_options import parse_prune
from secateur.plugins import current
from secateur.thinning.plan import Plan

NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, width=8, classes=5):
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, padding=1)
        self.body = nn.Conv2d(width, width, 3, padding=1)
        self.mid = nn.Conv2d(width, 6, 3)
        self.fc = nn.Linear(6, classes)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        x = torch.relu(x + self.body(x))
        return self.fc(torch.relu(self.mid(x)).mean((2, 3)))

def wide():
    return Net(width=16)
"""
INPUT = ["--input", "2,1,8,8"]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for variable in ("COLUMNS", "FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(variable, raising=False)
    (tmp_path / "net.py").write_text(NET)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines() if line.strip()]


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line of an error."""
    assert main(list(arguments)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err.removeprefix("error: ").rstrip("\n")


# -- plan ----------------------------------------------------------------------------------------------------------


def test_the_plan_of_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "net.py:Net", *INPUT]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    found = rows(out)
    assert found[0] == ["net.py:Net:", "7", "of", "14", "units", "in", "2", "dims", "leave"]
    assert ["stem", "4", "8", "50%", "body"] in found
    assert ["mid", "3", "6", "50%"] in found
    assert ["parameters", "1,137", "319", "28.1%"] in found
    before, after = 64 * 9 * 8 + 64 * 9 * 64 + 36 * 9 * 48 + 30, 64 * 9 * 4 + 64 * 9 * 16 + 36 * 9 * 12 + 15
    assert ["MACs", "per", "example", f"{before:,d}", f"{after:,d}", f"{after / before:.1%}"] in found
    assert "what stays, and why" in out
    assert "it is an output of the model, in linear at fc (net.py:" in " ".join(out.split())


@pytest.mark.parametrize("columns", ["60", "80", "120"])
def test_nothing_is_cut_off(columns: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert main(["plan", "resnet20_cifar"]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= int(columns)
    assert "…" not in out
    assert "layer3.2.conv2" in out
    for number in ("272,474", "68,786", "40,813,184", "10,314,048"):
        assert number in out


def test_ratios_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--prune", "0.5", "--prune", "mid=0.34", "--round-to", "4", "--criterion", "l2", "--scope", "local"]
    assert main(["plan", "net.py:Net", *INPUT, *options]) == 0
    found = rows(capsys.readouterr().out)
    assert ["stem", "4", "8", "50%", "body"] in found
    assert ["mid", "4", "6", "33%"] in found


def test_what_is_kept_stays(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "net.py:Net", *INPUT, "--keep", "stem"]) == 0
    assert ["stem", "8", "8", "-", "body"] in rows(capsys.readouterr().out)


def test_model_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "net.py:Net", *INPUT, "--model-args", "width=4"]) == 0
    assert ["stem", "2", "4", "50%", "body"] in rows(capsys.readouterr().out)


def test_explain(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "net.py:Net", *INPUT, "--explain", "mid"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "mid: 3 of 6 units stay; a unit consists of"
    assert lines[1:3] == [
        "└── mid.weight axis 0 (writes it)",
        "    → conv2d at mid (net.py:16): mid.bias axis 0 (writes it)",
    ]
    assert "    → relu → mean → linear at fc (net.py:16): fc.weight axis 1 (reads it)" in lines


def test_explain_on_a_terminal_folds_within_its_tree(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "50")
    assert main(["plan", "net.py:Net", *INPUT, "--explain", "stem"]) == 0
    lines = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()
    assert max(map(len, lines)) <= 50
    assert any(line.startswith("    │") for line in lines)
    assert "← conv2d at body" in " ".join(lines)


def test_json_is_a_plan(capsys: pytest.CaptureFixture[str], place: Path) -> None:
    assert main(["plan", "net.py:Net", *INPUT, "--json", "-"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert main(["plan", "net.py:Net", *INPUT, "--json", "plan.json"]) == 0
    assert capsys.readouterr().out.endswith("wrote plan.json\n")
    saved = json.loads((place / "plan.json").read_text())
    assert saved == printed
    assert Plan.from_dict(saved).dim("mid").size == 6


def test_the_seed_chooses_the_weights(capsys: pytest.CaptureFixture[str]) -> None:
    def kept(seed: str) -> Any:
        assert main(["plan", "net.py:wide", *INPUT, "--json", "-", "--seed", seed]) == 0
        return json.loads(capsys.readouterr().out)["dims"][0]["kept"]

    assert kept("1") == kept("1")
    assert kept("1") != kept("2")


@pytest.mark.parametrize(
    ("texts", "ratios"),
    [
        (["0.25"], 0.25),
        (["a=0.5"], {"a": 0.5}),
        (["a=0.5", "0.1", "a=0.2"], {"*": 0.1, "a": 0.2}),
        (["a=b=0.5"], {"a=b": 0.5}),
    ],
)
def test_prune_options(texts: list[str], ratios: Any) -> None:
    found = parse_prune(texts)
    assert found == ratios
    if isinstance(found, dict):
        assert list(found) == list(ratios)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--prune", "half"], "--prune: 'half' is no ratio; give a number such as 0.5, or a glob and a number such as"),
        (["--prune", "1.5"], "prune: a ratio must be in [0, 1), got 1.5; "),
        (["--prune", "nan"], "prune: a ratio must be in [0, 1), got nan; "),
        (["--prune", "zz=0.5"], "prune['zz']: 'zz' "),
        (["--criterion", "l3"], "no criterion named 'l3'; did you mean 'l2'? "),
        (["--builder", "trade"], "no graph builder named 'trade'; did you mean 'trace'? "),
        (["--keep", "zz"], "keep='zz': 'zz' "),
        (["--round-to", "0"], "round_to: expected a positive integer, got 0"),
        (["--round-to", "x"], "secateur plan: argument --round-to: invalid int value: 'x'; see secateur plan --help"),
        (["--scope", "all"], "secateur plan: argument --scope: invalid choice: 'all' (choose from "),
        (["--seed", "-1"], "secateur plan: argument --seed: '-1' is no whole number from 0 to 2^63 - 1; see "),
        (["--explain", "std"], "plan: nothing is named 'std'; "),
        (["--weights", "none"], "none: there is no such file; "),
        (["--json", "no/plan.json"], "no/plan.json: there is no folder "),
        (["--json", "."], ".: it is a folder; name a file in it"),
        (["--prun", "0.5"], "secateur plan: unknown option '--prun'; did you mean '--prune'? "),
    ],
)
def test_bad_options(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, "plan", "net.py:Net", *INPUT, *options).startswith(message)


def test_an_input_that_the_model_refuses(capsys: pytest.CaptureFixture[str]) -> None:
    text = refused(capsys, "plan", "net.py:Net", "--input", "2,3,8,8")
    assert text.startswith("example_inputs: ")
    assert "expected input[2, 3, 8, 8] to have 1 channels, but got 3 channels instead" in text


# -- thin ----------------------------------------------------------------------------------------------------------


def test_thin_saves_what_loads(capsys: pytest.CaptureFixture[str], place: Path) -> None:
    assert main(["thin", "net.py:Net", *INPUT, "-o", "thin.safetensors"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    found = rows(out)
    assert found[0] == ["net.py:Net:", "7", "of", "14", "units", "in", "2", "dims", "removed"]
    assert ["parameters", "1,137", "319", "28.1%"] in found
    assert "masked and thinned outputs differ by " in out
    assert "(tolerance 1e-04)" in " ".join(out.split())
    assert "latency" not in out
    assert "wrote thin.safetensors, " in out
    assert "    from net import Net\n    model = secateur.load('thin.safetensors', Net())\n" in out
    said = inspect(place / "thin.safetensors")
    assert said["elements"] == 319
    assert said["optimizer"] is None


def test_a_registered_model_loads_as_it_is_printed(capsys: pytest.CaptureFixture[str], place: Path) -> None:
    assert main(["thin", "resnet20_cifar", "--model-args", "num_classes=4", "-o", "x.safetensors"]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()][-3:]
    names: dict[str, Any] = {}
    exec("\n".join(lines), names)
    assert names["model"].conv1.out_channels == 8
    assert names["model"](torch.zeros(1, 3, 32, 32)).shape == (1, 4)


def test_latency_and_no_verification(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["thin", "net.py:Net", *INPUT, "-o", "x", "--latency", "--no-verify"]) == 0
    out = capsys.readouterr().out
    assert any(row[:4] == ["latency", "of", "2", "examples,"] and len(row) == 8 for row in rows(out))
    assert any(row[:5] == ["half", "of", "the", "runs,", "ms"] and row.count("to") == 2 for row in rows(out))
    assert "masked and thinned were not compared (--no-verify)" in out


def test_thinning_goes_on_from_a_checkpoint(capsys: pytest.CaptureFixture[str], place: Path) -> None:
    assert main(["thin", "net.py:wide", *INPUT, "-o", "a"]) == 0
    assert main(["thin", "net.py:wide", *INPUT, "-o", "b", "--weights", "a", "--seed", "5"]) == 0
    steps = inspect(place / "b")["steps"]
    assert [step["attributes"]["stem.out_channels"] for step in steps] == [[16, 8], [8, 4]]


def test_a_saved_plan_is_followed(capsys: pytest.CaptureFixture[str], place: Path) -> None:
    assert main(["plan", "net.py:Net", *INPUT, "--prune", "mid=0.5", "--json", "plan.json"]) == 0
    assert main(["thin", "net.py:Net", *INPUT, "-o", "x", "--plan", "plan.json"]) == 0
    assert "masked and thinned outputs differ by" in capsys.readouterr().out
    assert set(inspect(place / "x")["steps"][0]["cuts"]) == {"mid.weight", "mid.bias", "fc.weight"}


def test_nothing_to_remove(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["thin", "net.py:Net", *INPUT, "-o", "x", "--prune", "0"]) == 0
    assert "net.py:Net: nothing was removed: the plan lets nothing leave" in capsys.readouterr().out


def test_an_old_checkpoint_is_replaced_only_by_a_whole_one(capsys: pytest.CaptureFixture[str], place: Path) -> None:
    (place / "x").write_text("old")
    refused(capsys, "thin", "net.py:Net", *INPUT, "-o", "x", "--prune", "2")
    assert (place / "x").read_text() == "old"
    assert sorted(p.name for p in place.iterdir() if p.name != "__pycache__") == ["net.py", "x"]


@pytest.mark.parametrize("output", [".", "no/x"])
def test_the_output_is_tried_before_any_work(output: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = refused(capsys, "thin", "no_such_model", "-o", output)
    assert text.startswith((".: it is a folder; ", "no/x: there is no folder "))


def test_no_output(capsys: pytest.CaptureFixture[str]) -> None:
    text = refused(capsys, "thin", "net.py:Net", *INPUT)
    assert text.startswith("secateur thin: the following arguments are required: -o/--output; see ")


HINT = "make it with secateur plan MODEL --json FILE"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "plan.json: the plan cannot be read (No such file or directory)"),
        ("", "plan.json: it is no plan: no JSON (Expecting value: line 1 column 1 (char 0))"),
        ("\udcff", "plan.json: it is no plan: no JSON ("),
        ("[" * 100_000, "plan.json: it is no plan: no JSON (maximum recursion depth exceeded"),
        ("[]", "plan.json: it is no plan: expected a saved plan of format 2"),
        ('{"format": 9}', "plan.json: it is no plan: expected a saved plan of format 2"),
        ('{"format": 2}', "plan.json: it is no plan: the saved plan is damaged: KeyError('dims')"),
    ],
)
def test_a_damaged_plan(content: str | None, message: str, capsys: pytest.CaptureFixture[str], place: Path) -> None:
    if content is not None:
        (place / "plan.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    text = refused(capsys, "thin", "net.py:Net", *INPUT, "-o", "x", "--plan", "plan.json")
    assert text.startswith(message)
    assert text.endswith(HINT)


def test_a_plan_for_another_model(capsys: pytest.CaptureFixture[str], place: Path) -> None:
    assert main(["plan", "net.py:wide", *INPUT, "--json", "plan.json"]) == 0
    capsys.readouterr()
    text = refused(capsys, "thin", "net.py:Net", *INPUT, "-o", "x", "--plan", "plan.json")
    assert text == (
        "plan.json: it does not fit this model: stem.weight: the plan was made for shape (16, 1, 3, 3), "
        "it has (8, 1, 3, 3); make it for this model with secateur plan --json"
    )
    assert not (place / "x").exists()


def test_a_plan_and_options_that_plan(capsys: pytest.CaptureFixture[str]) -> None:
    text = refused(capsys, "thin", "net.py:Net", "-o", "x", "--plan", "p", "--round-to", "8")
    assert text == "secateur thin: --plan says what leaves, --round-to does too; give one of them"


def test_weights_of_another_model(capsys: pytest.CaptureFixture[str], place: Path) -> None:
    secateur.save(place / "other", current().models["plain20_cifar"].build())
    text = refused(capsys, "plan", "net.py:Net", *INPUT, "--weights", "other")
    assert text.startswith("other: 'stem.weight' is in the model, not in the file; give a fresh model")
