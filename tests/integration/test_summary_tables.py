"""Tables of figures in every width and form, and the command that prints them."""

from __future__ import annotations

import csv
import json
from io import StringIO
from pathlib import Path

import pytest
import torch
import yaml

import secateur
from secateur.cli.main import main
from secateur.errors import SecateurError
from secateur.plugins import current
from secateur.summaries import Column, Table

NAMES = [f"encoder.layers.encoder_layer_{number}.self_attention.out_proj" for number in range(3)]


def table() -> Table:
    return Table(
        title="figures",
        columns=(
            Column("name"),
            Column("type", rank=2),
            Column("shape", rank=3),
            Column("parameters", form=",d", zero="-"),
            Column("latency", "ms", ".2f", rank=1),
            Column("nothing", form=",d", zero="-", rank=9),
        ),
        rows=[
            (name, "MultiheadAttention", (number, 3, 224, 224), number * 1_234_567, 1.5, 0)
            for number, name in enumerate(NAMES)
        ],
        total=("total", None, None, 3_703_701, 4.5, None),
        notes=["a note"],
    )


@pytest.mark.parametrize("width", [24, 40, 60, 80, 120, 200])
def test_no_line_is_too_long_and_nothing_is_cut_off(width: int) -> None:
    lines = table().text(width).splitlines()
    assert max(map(len, lines)) <= width
    shown = "".join("".join(lines).split())
    assert "2,469,134" in shown
    first = "".join(line.split()[0] for line in lines if line.strip())
    assert "encoder.layers.encoder_layer_2.self_attention.out_proj" in first


def test_columns_leave_by_their_rank() -> None:
    def missing(width: int) -> list[str]:
        last = " ".join(table().text(width).split("too narrow for: ")[1:]).split()
        return " ".join(last).split(", ") if last else []

    assert missing(120) == []
    assert missing(70) == ["shape"]
    assert missing(60) == ["type", "shape"]
    assert missing(45) == ["type", "shape", "latency (ms)"]
    assert "nothing" not in table().text()
    assert "3,703,701" in str(table())


def test_names_fold_at_their_dots() -> None:
    lines = [line.split()[0] for line in table().text(44).splitlines() if "encoder" in line or "self" in line]
    assert lines[:3] == ["encoder.layers.", "encoder_layer_0.", "self_attention.out_proj"]


def test_csv_and_json_hold_everything() -> None:
    rows = list(csv.DictReader(StringIO(table().csv())))
    assert rows[1] == {
        "name": NAMES[1],
        "type": "MultiheadAttention",
        "shape": "1x3x224x224",
        "parameters": "1234567",
        "latency (ms)": "1.5",
        "nothing": "0",
    }
    told = json.loads(table().json())
    assert told == table().to_dict()
    assert told["columns"][4] == {"name": "latency", "unit": "ms"}
    assert told["rows"][2]["shape"] == [2, 3, 224, 224]
    assert told["total"]["parameters"] == 3_703_701


def test_rows_are_sorted() -> None:
    assert table().sorted("parameters").column("name") == NAMES[::-1]
    assert table().sorted("parameters", descending=False).column("name") == NAMES
    assert table().sorted("name").column("parameters") == [0, 1_234_567, 2_469_134]
    gaps = Table("gaps", [Column("n")], [(None,), (1,), (3.5,), (None,)])
    assert gaps.sorted("n").column("n") == [3.5, 1, None, None]
    with pytest.raises(SecateurError, match="figures: no column named 'latencies'; did you mean 'latency'"):
        table().sorted("latencies")


def test_rows_must_fit_the_columns() -> None:
    with pytest.raises(ValueError, match="t: a row of 2 cells for 1 columns"):
        Table("t", [Column("a")], [(1, 2)])
    with pytest.raises(ValueError, match="t: two columns of one name"):
        Table("t", [Column("a"), Column("a")], [])


# -- the command ---------------------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    torch.manual_seed(0)
    model = current().models["resnet20_cifar"].build()
    plan = secateur.plan(model, (torch.randn(1, 3, 32, 32),))
    Path("plan.json").write_text(json.dumps(plan.to_dict()))
    secateur.thin(model, plan)
    secateur.save("thin.safetensors", model)
    return tmp_path


def test_the_command_prints_a_table(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["summary", "resnet20_cifar", "--depth", "1", "--sort", "macs"]) == 0
    shown = capsys.readouterr().out
    lines = [line.split() for line in shown.splitlines()]
    assert lines[0] == ["compute", "of", "resnet20_cifar", "on", "1×3×32×32"]
    (total,) = [line for line in lines if line[:1] == ["total"]]
    assert "40,813,184" in total
    names = [line[0] for line in lines if line and line[0].startswith("layer")]
    assert names == ["layer1", "layer2", "layer3"]


@pytest.mark.parametrize("option", [["--after", "thin.safetensors"], ["--plan", "plan.json"]])
def test_the_command_compares(place: Path, capsys: pytest.CaptureFixture[str], option: list[str]) -> None:
    assert main(["summary", "resnet20_cifar", *option, "--format", "json"]) == 0
    total = json.loads(capsys.readouterr().out)["total"]
    assert (total["MACs before"], total["parameters before"], total["parameters after"]) == (40813184, 272474, 68786)


def test_the_command_writes_files(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sparsity = ["summary", "resnet20_cifar", "--checkpoint", "thin.safetensors", "--kind", "sparsity", "--block", "4,4"]
    assert main([*sparsity, "-o", "sparsity.csv"]) == 0
    assert capsys.readouterr().out == "wrote sparsity.csv, 22 rows\n"
    rows = list(csv.DictReader(StringIO(Path("sparsity.csv").read_text())))
    assert (rows[0]["tensor"], rows[0]["shape"], rows[1]["block"]) == ("conv1.weight", "8x3x3x3", "0.0")
    assert main(["summary", "resnet20_cifar", "--kind", "model", "-o", "model.txt"]) == 0
    assert "272,474" in Path("model.txt").read_text()


def test_percentiles_can_be_pasted_as_yaml(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["summary", "resnet20_cifar", "--kind", "percentile", "--percentile", "50", "--format"]
    assert main([*asked, "yaml"]) == 0
    told = yaml.safe_load(capsys.readouterr().out)
    assert main([*asked, "json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert told == {row["tensor"]: pytest.approx(row["percentile"], rel=1e-5) for row in rows}


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["--kind", "sparse"], "argument --kind: invalid choice: 'sparse' (choose from"),
        (["--kind", "model", "--latency"], "secateur summary: --latency goes with --kind compute; leave out one of"),
        (["--repeats", "3"], "secateur summary: --repeats goes with --latency; give both, or neither"),
        (["--format", "yaml"], "secateur summary: yaml is for --kind percentile of one model; take csv or json"),
        (["-o", "t.xyz"], "--output: t.xyz: .xyz does not say how it is written; end it in .txt, .csv, .json"),
        (["-o", "missing/t.csv"], "missing'; make it first, or write elsewhere"),
        (["--checkpoint", "plan.json"], "plan.json: it is not a safetensors file; give a file that secateur.save"),
        (["--plan", "thin.safetensors"], "thin.safetensors: it is no plan: no JSON"),
        (["--after", "thin.safetensors", "--plan", "plan.json"], "--after and --plan both say what it becomes; give"),
        (["--block", "4x4", "--kind", "sparsity"], "argument --block: '4x4' is no list of sizes such as 1,8"),
        (["--sort", "buffer"], "no column named 'buffer'; did you mean 'buffers'?"),
        (["--depth", "1", "--level", "op"], "compute: depth goes with level 'module'; leave out one of them"),
    ],
)
def test_mistakes_are_told_in_one_line(
    place: Path, capsys: pytest.CaptureFixture[str], typed: list[str], message: str
) -> None:
    assert main(["summary", "resnet20_cifar", *typed]) == 2
    told = capsys.readouterr()
    assert told.err.startswith("error: ")
    assert message in told.err
    assert told.err.count("\n") == 1
    assert not told.out
