"""`secateur run`: a tiny model and data set from a plugin file, trained, pruned, thinned, saved and reloaded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import secateur
from secateur.checkpoint import read
from secateur.cli.main import main
from secateur.records import DataSplit
from secateur.training.batches import augmented, batches, number_of_batches
from secateur.training.tasks.classification import Classification

PLUGIN = Path(__file__).with_name("squares.py").read_text(encoding="utf-8")

SCHEDULE = """\
version: 1
run:
  model: {name: tiny}
  data: {name: squares, args: {count: 64}, batch_size: 16, augment: [crop, flip]}
  optimizer: {class: Adam, lr: 0.02}
  epochs: 5
pruners:
  half: {class: magnitude, sparsity: 0.5}
extensions:
  thinner: {class: thinner}
policies:
  - pruner: {instance_name: half}
    epochs: [2]
  - extension: {instance_name: thinner}
    epochs: [3]
"""


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("tiny.py").write_text(PLUGIN)
    Path("s.yaml").write_text(SCHEDULE)
    return tmp_path


def run(*arguments: str) -> int:
    return main(["--plugin-file", "tiny.py", "run", *arguments])


def test_a_run_trains_thins_saves_and_proves(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("s.yaml", "--output", "out") == 0
    shown = capsys.readouterr().out
    assert "thinned 268 -> 136 parameters" in shown.replace("\n", " ").replace(",", "")
    for words in (
        "parameters",
        "MACs per example",
        "latency of 64 x 3 x 8 x 8 (ms)",
        "test accuracy",
        "masked versus thinned",
    ):
        assert words in shown
    summary = json.loads((files / "out" / "summary.json").read_text())
    assert summary["masked_versus_thinned"]["relative"] <= 1e-5
    assert summary["reloaded"]["absolute"] == 0
    assert summary["final_accuracy"] > 0.9
    assert len(summary["epochs"]) == 5

    namespace: dict = {}
    exec(PLUGIN, namespace)
    fresh = secateur.load(files / "out" / "thin.safetensors", namespace["tiny"]())
    assert fresh[0].out_channels == fresh[1].num_features == fresh[5].in_features == 4


def test_a_run_is_reproducible(files: Path) -> None:
    assert run("s.yaml", "--output", "a") == run("s.yaml", "--output", "b") == 0
    first, second = (json.loads(Path(d, "summary.json").read_text()) for d in "ab")
    losses = [[epoch["train_loss"] for epoch in summary["epochs"]] for summary in (first, second)]
    assert losses[0] == losses[1]
    states = [read(f"{d}/checkpoint.safetensors").trees["rng"] for d in "ab"]
    for kind in ("python", "numpy", "torch"):  # whatever a model or a data set of a plugin draws from
        assert str(states[0][kind]) == str(states[1][kind])


BAD = {
    "no run": (SCHEDULE.split("run:")[0], "s.yaml:1: there is no section 'run'"),
    "model": (
        SCHEDULE.replace("tiny", "tini"),
        "s.yaml:3: run.model.name: no model named 'tini'; did you mean 'tiny'?",
    ),
    "data": (SCHEDULE.replace("squares", "circles"), "s.yaml:4: run.data.name: no data set named 'circles'"),
    "model args": (
        SCHEDULE.replace("{name: tiny}", "{name: tiny, args: {height: 3}}"),
        "s.yaml:3: run.model: the model 'tiny' refuses its arguments: there is no argument 'height'; (known: num_",
    ),
    "data args": (
        SCHEDULE.replace("{count: 64}", "{colour: 3}"),
        "s.yaml:4: run.data: the data set 'squares' refuses its arguments: there is no argument 'colour'; did you",
    ),
    "optimizer": (
        SCHEDULE.replace("Adam", "Adan"),
        "s.yaml:5: run.optimizer.class: no optimizer named 'Adan'; did you",
    ),
    "optimizer args": (SCHEDULE.replace("lr: 0.02", "lr: -1"), "s.yaml:5: run.optimizer: Adam refuses its arguments:"),
    "epochs": (SCHEDULE.replace("epochs: 5", "epochs: 0"), "s.yaml:6: run.epochs: must be at least 1, got 0"),
    "too late": (
        SCHEDULE.replace("epochs: 5", "epochs: 3"),
        "s.yaml:14: policies[1]: the extension 'thinner' begins at epoch 3, the run ends after epoch 2; raise",
    ),
    "augment": (SCHEDULE.replace("[crop, flip]", "[turn]"), "s.yaml:4: run.data.augment[0]: "),
    "batch size": (
        SCHEDULE.replace("batch_size: 16", "batch_size: 0"),
        "s.yaml:4: run.data.batch_size: must be at least 1, got 0",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_mistake_is_one_line(name: str, files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, message = BAD[name]
    Path("s.yaml").write_text(text)
    assert run("s.yaml", "--output", "out") == 2
    error = capsys.readouterr().err
    assert f"error: {message}" in error
    assert error.count("\n") == 1
    assert not Path("out", "thin.safetensors").exists()


def test_an_output_folder_that_is_a_file_is_refused(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("out").write_text("")
    assert run("s.yaml", "--output", "out") == 2
    assert "error: out: cannot make the output folder" in capsys.readouterr().err


def test_a_missing_schedule_is_named(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("nothing.yaml") == 2
    assert "error: nothing.yaml" in capsys.readouterr().err


def test_evaluate_leaves_the_model_as_it_was() -> None:
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2)).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    data = DataSplit(inputs=torch.randn(6, 4, 1), targets=torch.tensor([0, 1, 0, 1, 0, 1]))
    found = Classification().evaluate(model, data)
    with torch.no_grad():
        outputs = model.eval()(data.inputs)
    assert found.metric == (outputs.argmax(1) == data.targets).float().mean()
    assert found.loss == pytest.approx(float(torch.nn.functional.cross_entropy(outputs, data.targets)))
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_batches_are_shuffled_reproducibly_and_never_single() -> None:
    data = DataSplit(inputs=torch.arange(9.0)[:, None], targets=torch.arange(9))
    shuffled = [list(batches(data, 4, torch.Generator().manual_seed(seed))) for seed in (0, 0, 1)]
    orders = [torch.cat([targets for _, targets in pass_]).tolist() for pass_ in shuffled]
    assert orders[0] == orders[1] != orders[2]
    assert len(shuffled[0]) == number_of_batches(9, 4) == 2
    assert [len(targets) for _, targets in batches(data, 4)] == [4, 4, 1]


def test_flips_mirror_and_crops_shift() -> None:
    images = torch.arange(2 * 3 * 8 * 8.0).reshape(2, 3, 8, 8) + 1
    generator = torch.Generator().manual_seed(0)
    many = images.repeat(8, 1, 1, 1)
    for image, original in zip(augmented(many, generator, ["flip"]), many, strict=True):
        assert torch.equal(image, original) or torch.equal(image, original.flip(2))
    moved = augmented(images, generator, ["crop"])
    assert moved.shape == images.shape
    assert set(moved.unique().tolist()) <= {0.0, *images.unique().tolist()}


def test_a_run_begins_with_trained_weights(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dense = SCHEDULE.split("pruners:")[0]
    Path("dense.yaml").write_text(dense)
    assert run("dense.yaml", "--output", "dense") == 0
    trained = json.loads(Path("dense/summary.json").read_text())
    Path("s.yaml").write_text(SCHEDULE.replace("{name: tiny}", "{name: tiny, checkpoint: dense/thin.safetensors}"))
    assert run("s.yaml", "--output", "out") == 0
    summary = json.loads(Path("out/summary.json").read_text())
    assert summary["epochs"][0]["train_loss"] < trained["epochs"][0]["train_loss"]
    assert summary["dense_accuracy"] >= trained["final_accuracy"]  # of the weights it began with, or the first epochs
    # what is thin already is thinned again, and loads into a fresh dense network
    Path("s.yaml").write_text(SCHEDULE.replace("{name: tiny}", "{name: tiny, checkpoint: out/thin.safetensors}"))
    assert run("s.yaml", "--output", "again") == 0
    namespace: dict = {}
    exec(PLUGIN, namespace)
    assert secateur.load("again/thin.safetensors", namespace["tiny"]())[0].out_channels == 2


def test_a_missing_checkpoint_to_begin_with_is_named(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("s.yaml").write_text(SCHEDULE.replace("{name: tiny}", "{name: tiny, checkpoint: nowhere.safetensors}"))
    assert run("s.yaml", "--output", "out") == 2
    assert "error: s.yaml:3: run.model: nowhere.safetensors: there is no such file" in capsys.readouterr().err


def test_weights_masked_one_by_one_are_no_dense_epoch(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pruner = "{class: level, weights: ['0.weight'], sparsity: 0.5}"
    text = SCHEDULE.replace("{class: magnitude, sparsity: 0.5}", pruner).replace("epochs: [2]", "epochs: [0]")
    Path("s.yaml").write_text(text.replace("  - extension: {instance_name: thinner}\n    epochs: [3]\n", ""))
    assert run("s.yaml", "--output", "out") == 0
    summary = json.loads(Path("out/summary.json").read_text())
    assert summary["dense_accuracy"] is None
    assert summary["epochs"][0]["sparsity"] == pytest.approx(108 / 268)
    assert summary["epochs"][0]["masked_share"] == 0
    assert summary["parameters_not_zero"][1] == 160
    assert "not zero" in capsys.readouterr().out
