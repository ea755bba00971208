"""Logs of a run: CSV files and TensorBoard's scalars, whole after an interruption, and nothing twice."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import torch

from secateur.cli.main import main
from secateur.config import load
from secateur.plugins import PluginManager, using
from secateur.training.config import RunConfig
from secateur.training.loggers.base import Logs, StepLog
from secateur.training.loggers.making import FOLDERS
from secateur.training.progress import Progress
from secateur.training.run import Run

PLUGIN = Path(__file__).with_name("squares.py").read_text(encoding="utf-8")

SCHEDULE = """\
version: 1
run:
  model: {name: tiny}
  data: {name: squares, batch_size: 10}
  optimizer: {class: Adam, lr: 0.02}
  epochs: 5
  log: [csv, tensorboard]
  log_every: 2
pruners:
  half: {class: magnitude, dims: ['0'], sparsity: 0.5}
  elements: {class: level, weights: ['5.weight'], sparsity: 0.25}
extensions:
  thinner: {class: thinner}
policies:
  - pruner: {instance_name: half}
    epochs: [1]
  - pruner: {instance_name: elements}
    epochs: [3]
  - extension: {instance_name: thinner}
    epochs: [2]
"""
STEPS = 4
"""Mini-batches of an epoch."""
NAMES = ("steps.csv", "epochs.csv", "tensors.csv", "dims.csv")
needs_tensorboard = pytest.mark.skipif(
    importlib.util.find_spec("tensorboard") is None, reason="tensorboard is not installed"
)


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("tiny.py").write_text(PLUGIN)
    Path("s.yaml").write_text(SCHEDULE.replace("[csv, tensorboard]", "[csv]"))
    return tmp_path


def run(*arguments: str) -> int:
    return main(["--plugin-file", "tiny.py", "run", "s.yaml", *arguments])


def rows(path: str) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def stopped_after(steps: int, output: str) -> None:
    """Begin a run and stop it after so many mini-batches, as Ctrl-C would."""
    from secateur.training.resuming import Stopped

    done = [0]

    def step(*_: int) -> None:
        done[0] += 1

    plugins = PluginManager.discover(files=["tiny.py"])
    with using(plugins):
        prepared = Run(load("s.yaml"), plugins, Path(output))
        with pytest.raises(Stopped):
            prepared.train(prepared.load_data(), step, lambda result: None, lambda: done[0] >= steps)


def test_csv_files_tell_of_losses_masks_and_dims() -> None:
    assert run("-o", "out") == 0
    steps = rows("out/log/steps.csv")
    assert [(row["epoch"], row["step"]) for row in steps] == [(str(e), str(s)) for e in range(5) for s in (2, 4)]
    assert all(float(row["loss"]) > 0 and float(row["learning_rate"]) == 0.02 for row in steps)
    epochs = rows("out/log/epochs.csv")
    assert list(epochs[0]) == [
        "epoch", "learning_rate", "train_loss", "test_loss", "train_accuracy", "test_accuracy", "masked_share",
        "sparsity", "parameters", "seconds",
    ]  # fmt: skip
    assert [row["parameters"] for row in epochs] == ["268", "268", "136", "136", "136"]
    mean = (float(steps[0]["loss"]) + float(steps[1]["loss"])) / 2
    assert float(epochs[0]["train_loss"]) == pytest.approx(mean)
    tensors = {(row["epoch"], row["tensor"]): row for row in rows("out/log/tensors.csv")}
    assert float(tensors["0", "0.weight"]["sparsity"]) == 0
    assert float(tensors["1", "0.weight"]["sparsity"]) == 0.5
    assert tensors["2", "0.weight"]["elements"] == "108"
    assert float(tensors["4", "5.weight"]["sparsity"]) == 0.25
    dims = [(row["dim"], row["size"], row["kept"], row["masked"]) for row in rows("out/log/dims.csv")]
    assert dims == [("0", "8", "8", "0"), ("0", "8", "8", "4"), *[("0", "8", "4", "0")] * 3]


@pytest.mark.parametrize("steps", [1, 4, 5, 11])  # 1, 5 and 11 are amid what one row tells of
def test_logs_go_on_without_gap_or_repetition(steps: int) -> None:
    assert run("-o", "whole") == 0
    stopped_after(steps, "cut")
    for name in NAMES:  # what was written after the last checkpoint, before the process was killed
        with open(f"cut/log/{name}", "a", encoding="utf-8") as file:
            file.write({"steps.csv": "4,4,9.9,9.9\n", "epochs.csv": "4" + ",9" * 9 + "\n"}.get(name, "4,x,9,9,9\n"))
    assert run("-o", "cut", "--resume") == 0
    for name in NAMES:
        whole, cut = rows(f"whole/log/{name}"), rows(f"cut/log/{name}")
        assert len(whole) == len(cut)
        for row, other in zip(whole, cut, strict=True):
            assert row | {"seconds": 0} == other | {"seconds": 0}


def test_a_run_that_begins_anew_begins_its_logs_anew() -> None:
    assert run("-o", "out") == 0
    stopped_after(3, "out")
    assert [row["step"] for row in rows("out/log/steps.csv")] == ["2"]
    assert rows("out/log/epochs.csv") == []


def test_logs_that_were_not_wanted_before_begin_with_the_epochs_that_were() -> None:
    text = Path("s.yaml").read_text()
    Path("s.yaml").write_text(text.replace("log: [csv]", "log: []"))
    stopped_after(2 * STEPS, "out")
    assert not Path("out/log").exists()
    Path("s.yaml").write_text(text)
    assert run("-o", "out", "--resume") == 0
    assert [row["epoch"] for row in rows("out/log/epochs.csv")] == ["0", "1", "2", "3", "4"]
    assert {row["epoch"] for row in rows("out/log/dims.csv")} == {"1", "2", "3", "4"}  # epoch 1 ended after the stop


def test_a_log_that_is_none_is_refused_before_training(capsys: pytest.CaptureFixture[str]) -> None:
    stopped_after(STEPS + 1, "out")
    Path("out/log/steps.csv").write_text("epoch,step,loss,learning_rate\nx,y,1,1\n")
    assert run("-o", "out", "--resume") == 2
    said = capsys.readouterr().err
    assert "error: out/log/steps.csv: the log of the run that goes on cannot be read (" in said
    assert "remove it, or leave csv out of run.log" in said


def test_a_logger_that_does_not_exist(capsys: pytest.CaptureFixture[str]) -> None:
    Path("s.yaml").write_text(SCHEDULE.replace("[csv, tensorboard]", "[cvs]"))
    assert run("-o", "out") == 2
    assert "error: s.yaml:7: run.log[0]: " in capsys.readouterr().err


def test_tensorboard_that_is_not_installed_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "secateur.training.loggers.making.find_spec", lambda name: None if name == "tensorboard" else found(name)
    )
    Path("s.yaml").write_text(SCHEDULE)
    assert run("-o", "out") == 2
    assert capsys.readouterr().err == (
        "error: s.yaml:7: run.log: tensorboard is not installed; pip install 'secateur[tensorboard]', or log: [csv]\n"
    )
    assert not Path("out").exists()


def scalars(folder: str) -> dict[str, list[tuple[int, float]]]:
    """{tag: (mini-batch, value)} as TensorBoard shows them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(folder, size_guidance={"scalars": 0})
    read.Reload()
    return {tag: [(each.step, each.value) for each in read.Scalars(tag)] for tag in read.Tags()["scalars"]}


@needs_tensorboard
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_shows_the_same_and_nothing_twice() -> None:
    Path("s.yaml").write_text(SCHEDULE)
    assert run("-o", "whole") == 0
    whole = scalars("whole/tensorboard")
    ends = [STEPS * n for n in range(1, 6)]
    assert [step for step, _ in whole["loss/test"]] == ends
    assert [step for step, _ in whole["minibatches/loss"]] == [2, *range(4, 21, 2)]
    assert [value for _, value in whole["units/0"]] == [8, 4, 4, 4, 4]
    assert [value for _, value in whole["sparsity/0.weight"]] == [0, 0.5, 0, 0, 0]
    assert [value for _, value in whole["pruned/parameters"]] == [268, 268, 136, 136, 136]
    assert {"loss/train", "accuracy/train", "accuracy/test", "pruned/zeros", "epoch/learning_rate"} <= set(whole)

    stopped_after(2 * STEPS + 1, "cut")
    stale(Path("cut/tensorboard"))
    assert run("-o", "cut", "--resume") == 0
    cut = scalars("cut/tensorboard")
    assert {tag: [step for step, _ in found] for tag, found in cut.items()} == {
        tag: [step for step, _ in found] for tag, found in whole.items()
    }
    assert cut["accuracy/test"] == whole["accuracy/test"]

    stopped_after(STEPS + 1, "cut")  # anew
    assert scalars("cut/tensorboard")["loss/test"] == whole["loss/test"][:1]


def stale(folder: Path) -> None:
    """What was written after the last checkpoint, before the process was killed."""
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder)) as writer:
        for step in (10, 12):
            writer.add_scalar("minibatches/loss", 99.0, step)


def test_losses_are_means_over_the_mini_batches_between() -> None:
    class Keeper:
        def __init__(self) -> None:
            self.logs: list[StepLog] = []

        def step(self, log: StepLog) -> None:
            self.logs.append(log)

        def epoch(self, log: Any) -> None: ...

        def close(self) -> None: ...

    keeper = Keeper()
    logs = Logs([keeper], 2, 5)
    progress = Progress()
    for _ in range(2):
        for step in range(1, 6):
            progress.step, progress.loss, progress.seen = step, progress.loss + step * 10.0, progress.seen + 10
            logs.minibatch(progress, 0.1)
        progress = progress.next_epoch(torch.get_rng_state())
        logs.minibatch(progress, 0.1)
    told = [(log.position.done, log.loss) for log in keeper.logs]
    assert told == [(2, 1.5), (4, 3.5), (6, 3.0), (8, 2.5), (10, 4.5)]
    assert Logs([], 2, 5).__bool__() is False


def test_every_kind_has_a_folder() -> None:
    (literal,) = get_args(get_type_hints(RunConfig)["log"])
    assert get_args(literal) == tuple(FOLDERS)
