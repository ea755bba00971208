"""`secateur run --resume`: wherever a run stops, it ends with the same bits as if it had never stopped."""

from __future__ import annotations

import json
import os
import shutil
import signal
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from attrs import evolve

from secateur.checkpoint import inspect, read
from secateur.cli.main import main
from secateur.config import load
from secateur.plugins import PluginManager, using
from secateur.training.progress import Progress
from secateur.training.run import Run

PLUGIN = Path(__file__).with_name("squares.py").read_text(encoding="utf-8")

SCHEDULE = """\
version: 1
run:
  model: {name: residual}
  data: {name: squares, batch_size: 10, augment: [crop, flip]}
  optimizer: {class: OPTIMIZER}
  epochs: 6
  checkpoint_every: 1
pruners:
  first: {class: magnitude, dims: ['conv1'], sparsity: 0.25}
  again: {class: magnitude, dims: ['conv1'], sparsity: 0.5}
  seen: {class: magnitude, dims: ['stem'], sparsity: 0.25, criterion: mean_activation}
  elements: {class: level, weights: ['conv2.weight'], sparsity: 0.5}
regularizers:
  lasso: {class: unit_lasso, dims: ['stem'], strength: 0.01}
lr_schedulers:
  steps: {class: MultiStepLR, milestones: [2, 4], gamma: 0.5}
  plateau: {class: ReduceLROnPlateau, patience: 0}
extensions:
  thinner: {class: thinner}
policies:
  - pruner:
      instance_name: first
    epochs: [1]
  - extension: {instance_name: thinner}
    epochs: [2]
  - pruner:
      instance_name: seen
    epochs: [2, 3]
  - pruner:
      instance_name: elements
      args: {mask_on_forward_only: true, use_double_copies: true, mini_batch_pruning_frequency: 3}
    starting_epoch: 1
    ending_epoch: 6
    frequency: 1
  - regularizer: {instance_name: lasso}
    starting_epoch: 0
    ending_epoch: 4
    frequency: 1
  - pruner: {instance_name: again}
    epochs: [3]
  - extension: {instance_name: thinner}
    epochs: [4]
  - lr_scheduler: {instance_name: steps}
    starting_epoch: 0
    ending_epoch: 6
    frequency: 1
  - lr_scheduler: {instance_name: plateau}
    starting_epoch: 3
    ending_epoch: 6
    frequency: 1
"""


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("tiny.py").write_text(PLUGIN)
    Path("s.yaml").write_text(SCHEDULE.replace("OPTIMIZER", "SGD, lr: 0.05, momentum: 0.9"))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield tmp_path
    torch.set_num_threads(threads)


def run(*arguments: str) -> int:
    return main(["--plugin-file", "tiny.py", "run", *arguments])


@cache
def plugins() -> PluginManager:
    return PluginManager.discover(files=["tiny.py"])


def trained(folder: str, checkpoint: Path | None = None) -> Run:
    """Train as `secateur run` does, without the proof at the end."""
    with using(plugins()):
        made = Run(load("s.yaml"), plugins(), Path(folder))
        data = made.load_data()
        if checkpoint is not None:
            made.resume(checkpoint)
        made.train(data, lambda *_: None, lambda _: None)
    return made


def kept(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Keep a copy of each checkpoint that a run writes from now on."""
    copies: list[Path] = []
    save = Run.save

    def saving(self: Run, progress: Progress) -> None:
        save(self, progress)
        copies.append(Path(f"kept-{len(copies)}.safetensors"))
        shutil.copy(self.output / "checkpoint.safetensors", copies[-1])

    monkeypatch.setattr(Run, "save", saving)
    return copies


def results(folder: str) -> list[dict[str, Any]]:
    found = json.loads(Path(folder, "summary.json").read_text())["epochs"]
    return [{key: value for key, value in epoch.items() if key != "seconds"} for epoch in found]


@pytest.mark.parametrize("optimizer", ["SGD, lr: 0.05, momentum: 0.9", "AdamW, lr: 0.01, amsgrad: true"])
def test_every_place_to_stop_leads_to_the_same_bits(
    optimizer: str, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("s.yaml").write_text(SCHEDULE.replace("OPTIMIZER", optimizer))
    with monkeypatch.context() as patch:
        copies = kept(patch)
        whole = trained("whole")
    assert len(copies) == 6 * 4 + 6  # after each of four mini-batches, and after each epoch
    assert len(inspect("whole/checkpoint.safetensors")["steps"]) == 2
    expected = whole.model.state_dict()
    Path("s.yaml").write_text(Path("s.yaml").read_text().replace("  checkpoint_every: 1\n", ""))
    for copy in copies:
        torch.manual_seed(99)  # whatever the process did before
        again = trained("again", copy)
        found = again.model.state_dict()
        for name, tensor in expected.items():
            assert torch.equal(found[name], tensor), (copy, inspect(copy)["position"]["step"], name)
        assert str(again.optimizer.state_dict()) == str(whole.optimizer.state_dict())
        assert [evolve(r, seconds=0) for r in again.results] == [evolve(r, seconds=0) for r in whole.results]
        assert again.differences == whole.differences


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_and_the_end_of_a_job_save_and_say_how_to_go_on(
    number: signal.Signals,
    status: int,
    files: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import secateur.training.trainer as trainer

    assert run("s.yaml", "--output", "whole") == 0
    Path("s.yaml").write_text(Path("s.yaml").read_text().replace("  checkpoint_every: 1\n", ""))
    calls, step = [], trainer._step

    def interrupted(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 10:
            os.kill(os.getpid(), number)  # in the middle of a mini-batch
        return step(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "_step", interrupted)
        assert run("s.yaml", "--output", "out") == status
    error = capsys.readouterr().err
    assert "interrupted: saved out/checkpoint.safetensors at epoch 2, step 2; go on with  " in error
    assert "secateur --plugin-file tiny.py run s.yaml --output out --resume\n" in error
    assert not Path("out/thin.safetensors").exists()
    assert run("s.yaml", "--output", "out", "--resume") == 0
    shown = capsys.readouterr()
    assert "going on at epoch 2, step 2" in shown.out
    assert "note" not in shown.err
    expected, found = (read(f"{folder}/thin.safetensors").tensors for folder in ("whole", "out"))
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_a_second_signal_does_not_wait() -> None:
    from secateur.training.interrupt import SIGNALS, Interrupt

    before = [signal.getsignal(number) for number in SIGNALS]
    with Interrupt() as interrupt:
        os.kill(os.getpid(), signal.SIGTERM)
        assert interrupt.asked
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_more_epochs_than_before(files: Path) -> None:
    text = Path("s.yaml").read_text()
    assert run("s.yaml", "--output", "whole") == 0
    Path("s.yaml").write_text(text.replace("epochs: 6\n  check", "epochs: 5\n  check"))
    assert run("s.yaml", "--output", "out") == 0
    Path("s.yaml").write_text(text)
    assert run("s.yaml", "--output", "out", "--resume") == 0
    assert results("out") == results("whole")


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run("s.yaml", *arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error.removeprefix("error: ").strip()


def test_a_checkpoint_that_will_be_replaced_is_mentioned(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("s.yaml", "--output", "out") == 0
    assert "note" not in capsys.readouterr().err
    assert run("s.yaml", "--output", "out") == 0
    text = "note: out/checkpoint.safetensors of an earlier run will be replaced; --resume goes on from it"
    assert text in capsys.readouterr().err


def test_what_cannot_be_gone_on_from(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, "--output", "none", "--resume").startswith(
        "none/checkpoint.safetensors: there is no such file; "
    )
    assert run("s.yaml", "--output", "out") == 0
    capsys.readouterr()
    assert refused(capsys, "--output", "out", "--resume", "out/thin.safetensors") == (
        "out/thin.safetensors: it is a checkpoint, but none of a run that can go on; "
        "give the file checkpoint.safetensors in the output folder of a run"
    )
    text = Path("s.yaml").read_text()
    Path("s.yaml").write_text(text.replace("epochs: 6\n", "epochs: 6\n  seed: 3\n"))
    assert "run.seed was None in the run that it is of, now it is 3" in refused(capsys, "-o", "out", "--resume")
    Path("s.yaml").write_text(text.replace("epochs: 6\n  check", "epochs: 5\n  check"))
    assert "it goes on at the begin of epoch 6, the run has 5 epochs; raise run.epochs" in refused(
        capsys, "-o", "out", "--resume"
    )
    Path("s.yaml").write_text(text.replace("  - pruner: {instance_name: again}\n    epochs: [3]\n", ""))
    assert "the state is of a schedule with the policies" in refused(capsys, "-o", "out", "--resume")


def test_checkpoint_every_is_a_number_of_mini_batches(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("s.yaml").write_text(Path("s.yaml").read_text().replace("checkpoint_every: 1", "checkpoint_every: 0"))
    assert refused(capsys, "--output", "out") == "s.yaml:7: run.checkpoint_every: must be at least 1, got 0"


def test_a_checkpoint_says_who_cut_what_and_when(files: Path) -> None:
    assert run("s.yaml", "--output", "out") == 0
    made = [step["made"] for step in inspect("out/thin.safetensors")["steps"]]
    assert [(said["epoch"], said["step"], said["policy"]) for said in made] == [
        (2, 0, "extension thinner"),
        (4, 0, "extension thinner"),
    ]
    assert made[0]["pruners"][0] == "first"
    assert made[0]["schedule"].endswith("s.yaml")
    assert made[0]["when"].endswith("+00:00")
