"""`secateur run` on text: truncated back-propagation, clipping, perplexity, units that leave, states that go round."""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from attrs import evolve

from secateur.checkpoint import inspect
from secateur.cli.main import main
from secateur.config import load
from secateur.plugins import PluginManager, using
from secateur.records import TextSplit
from secateur.training.progress import Progress
from secateur.training.run import Run
from secateur.training.tasks.language import LanguageModelling
from secateur_models.language import WordLanguageModel

PLUGIN = '''\
"""A text in which the next word mostly follows from the last."""

import torch

from secateur import hookimpl
from secateur.records import DatasetEntry, TextSplit

LENGTHS = {"train": 900, "valid": 200, "test": 210}


def load(split, words=23):
    generator = torch.Generator().manual_seed(len(split))
    tokens, last = [], 0
    for jump in torch.randint(6, (LENGTHS[split],), generator=generator).tolist():
        last = (last * 5 + 2 + max(jump - 3, 0)) % words
        tokens.append(last)
    return TextSplit(tokens=torch.tensor(tokens))


@hookimpl
def secateur_datasets():
    sizes = lambda words=23: {"vocabulary": words}
    return [DatasetEntry(name="jumps", load=load, task="language", splits=tuple(LENGTHS), sizes=sizes, offline=True)]
'''

SCHEDULE = """\
version: 1
run:
  model: {name: word_lm, args: {embedding: 12, hidden: 12, tied: true, kind: LSTM}}
  data: {name: jumps, batch_size: 10, bptt: 20}
  optimizer: {class: Adam, lr: 0.02}
  clip_grad_norm: 0.05
  epochs: 5
  checkpoint_every: 1
pruners:
  half: {class: agp, dims: "*", criterion: l2, initial_sparsity: 0.1, final_sparsity: 0.5}
regularizers:
  lasso: {class: unit_lasso, dims: "*", strength: 0.001}
extensions:
  thinner: {class: thinner}
lr_schedulers:
  plateau: {class: ReduceLROnPlateau, patience: 0, factor: 0.5}
policies:
  - pruner: {instance_name: half}
    starting_epoch: 1
    ending_epoch: 3
    frequency: 1
  - regularizer: {instance_name: lasso}
    starting_epoch: 0
    ending_epoch: 3
    frequency: 1
  - extension: {instance_name: thinner}
    epochs: [3]
  - lr_scheduler: {instance_name: plateau}
    starting_epoch: 0
    ending_epoch: 5
    frequency: 1
"""


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("jumps.py").write_text(PLUGIN)
    Path("s.yaml").write_text(SCHEDULE)
    return tmp_path


def run(*arguments: str) -> int:
    return main(["--plugin-file", "jumps.py", "run", *arguments])


@cache
def plugins() -> PluginManager:
    return PluginManager.discover(files=["jumps.py"])


def trained(folder: str, checkpoint: Path | None = None) -> Run:
    with using(plugins()):
        made = Run(load("s.yaml"), plugins(), Path(folder))
        data = made.load_data()
        if checkpoint is not None:
            made.resume(checkpoint)
        made.train(data, lambda *_: None, lambda _: None)
    return made


def text(words: int) -> TextSplit:
    return TextSplit(tokens=torch.arange(words))


def test_a_run_learns_thins_and_proves(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    longer = (
        SCHEDULE.replace("  clip_grad_norm: 0.05\n", "")
        .replace("epochs: 5", "epochs: 12")
        .replace("patience: 0", "patience: 9")
    )
    Path("s.yaml").write_text(longer.replace("checkpoint_every: 1", "checkpoint_every: 100"))
    assert run("s.yaml", "-o", "out") == 0
    shown = capsys.readouterr().out
    for words in ("train ppl", "valid ppl", "MACs per word", "latency of 20 x 10 (ms)", "test perplexity", "thinned"):
        assert words in shown
    summary = json.loads(Path("out/summary.json").read_text())
    assert summary["metric"] == "perplexity"
    assert summary["macs_per_word"] == [2 * 8 * 12 * 12 + 23 * 12, 2 * 8 * 6 * 6 + 23 * 6]
    assert summary["masked_versus_thinned"]["relative"] <= 1e-5
    assert summary["reloaded"]["absolute"] == 0
    first, last = summary["epochs"][0], summary["epochs"][-1]
    assert first["train_perplexity"] == pytest.approx(math.exp(first["train_loss"]))
    assert last["valid_perplexity"] < 0.8 * first["valid_perplexity"]
    assert summary["final_perplexity"] < 18
    assert summary["dense_perplexity"] == first["valid_perplexity"]


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN_TANH"])
def test_every_place_to_stop_leads_to_the_same_bits(kind: str, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a criterion that waits for activations, so that it is thinned amid an epoch, while states go round."""
    changed = SCHEDULE.replace("kind: LSTM", f"kind: {kind}").replace("criterion: l2", "criterion: taylor")
    changed = changed.replace("class: agp", "class: magnitude").replace("initial_sparsity: 0.1, final_", "")
    Path("s.yaml").write_text(changed.replace("epochs: [3]", "epochs: [2]"))
    copies: list[Path] = []
    save = Run.save

    def saving(self: Run, progress: Progress) -> None:
        save(self, progress)
        copies.append(Path(f"kept-{len(copies)}.safetensors"))
        (self.output / "checkpoint.safetensors").rename(copies[-1])

    with monkeypatch.context() as patch:
        patch.setattr(Run, "save", saving)
        whole = trained("whole")
    assert len(copies) == 5 * 5 + 5
    assert whole.model.rnn.hidden_size < 12
    expected = whole.model.state_dict()
    Path("s.yaml").write_text(Path("s.yaml").read_text().replace("  checkpoint_every: 1\n", ""))
    for copy in copies[::4] if kind == "LSTM" else copies[12:15]:  # epoch 2 is the one amid which it is thinned
        again = trained("again", copy)
        found = again.model.state_dict()
        for name, tensor in expected.items():
            assert torch.equal(found[name], tensor), (copy, inspect(copy)["position"]["step"], name)
        assert [evolve(r, seconds=0) for r in again.results] == [evolve(r, seconds=0) for r in whole.results]


def test_windows_are_the_columns_of_the_text() -> None:
    task = LanguageModelling(bptt=4)
    windows = list(task.windows(text(32), 3))  # three columns of ten, two words are left out
    assert [tuple(window.inputs.shape) for window in windows] == [(4, 3), (4, 3), (1, 3)]
    assert windows[0].inputs[:, 1].tolist() == [10, 11, 12, 13]
    assert windows[0].targets[:, 1].tolist() == [11, 12, 13, 14]
    assert windows[2].targets[:, 2].tolist() == [29]
    assert task.steps(text(32), 3) == 3


def test_evaluation_is_one_pass_with_states_and_leaves_the_model_as_it_was() -> None:
    model = WordLanguageModel(40, 8, 8, 2, 0.5).train()
    data = TextSplit(tokens=torch.randint(40, (200,)))
    found = LanguageModelling(bptt=6).evaluate(model, data)
    assert model.training
    laid = data.tokens.view(10, 20).t()
    with torch.no_grad():
        logits = model.eval()(laid[:-1])[0]
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), laid[1:].flatten())
    assert found.loss == pytest.approx(float(loss), abs=1e-6)
    assert found.metric == pytest.approx(math.exp(float(loss)), rel=1e-5)
    assert LanguageModelling().score(1e6, 0, 1).metric == math.inf


def test_gradients_are_clipped(files: Path) -> None:
    norms = []
    prepared = Run(load("s.yaml"), plugins(), Path("out"))
    data = prepared.load_data()
    prepared.optimizer.register_step_pre_hook(
        lambda *_: norms.append(float(torch.stack([p.grad.norm() for p in prepared.model.parameters()]).norm()))
    )
    prepared.train(data, lambda *_: None, lambda _: None)
    assert max(norms) == pytest.approx(0.05, rel=1e-3)


def test_what_is_masked_does_not_count_in_the_norm_that_is_clipped(files: Path) -> None:
    text = SCHEDULE.replace(
        '{class: agp, dims: "*", criterion: l2, initial', "{class: level, weights: encoder.weight, initial"
    )
    Path("s.yaml").write_text(text)
    norms = []
    prepared = Run(load("s.yaml"), plugins(), Path("out"))
    weight, parameters = prepared.model.encoder.weight, list(prepared.model.parameters())

    def look(*_: Any) -> None:
        masked = weight.detach() == 0
        norms.append(float(torch.stack([p.grad.norm() for p in parameters]).norm()))
        assert not weight.grad[masked].any()
        seen.add(float(masked.float().mean()))

    seen: set[float] = set()
    prepared.optimizer.register_step_pre_hook(look)
    prepared.train(prepared.load_data(), lambda *_: None, lambda _: None)
    assert max(seen) == pytest.approx(0.5, abs=0.01)
    assert norms == pytest.approx([0.05] * len(norms), rel=1e-3)  # of what is left


BAD: dict[str, Any] = {
    "batch": ("batch_size: 10", "batch_size: 600", "a text of 900 words cannot be laid into 600 columns"),
    "bptt": ("bptt: 20", "bptt: 0", "run.data.bptt: must be at least 1, got 0"),
    "augment": (
        "bptt: 20",
        "augment: [flip]",
        "augment is for images, 'jumps' is for the task language",
    ),
    "seed": ("epochs: 5", "epochs: 5\n  seed: 99999999999999999999", "run.seed: must be from 0 to 2**63 - 1, got"),
    "clip": ("clip_grad_norm: 0.05", "clip_grad_norm: 0", "run.clip_grad_norm: must be above 0, got 0"),
    "autocast": ("clip_grad_norm: 0.05", "autocast: float8", "run.autocast: "),
    "data": ("bptt: 20", "bptt: 20, args: {letters: 3}", "run.data: the data set 'jumps' refuses its arguments: "),
    "model": (
        "{name: word_lm, args: {embedding: 12, hidden: 12, tied: true, kind: LSTM}}",
        "{name: resnet20_cifar}",
        "run.model: the model 'resnet20_cifar' does not fit the data set 'jumps': ",
    ),
    "names of arguments": (
        "kind: LSTM}",
        "kidn: LSTM}",
        "run.model: the model 'word_lm' refuses its arguments: there is no argument 'kidn'; did you mean 'kind'?",
    ),
    "values of arguments": (
        "kind: LSTM}",
        "kind: lstm}",
        "error: s.yaml:3: run.model: kind: no recurrent layer named 'lstm'; did you mean 'LSTM'?",
    ),
    "vocabulary": (
        "kind: LSTM}",
        "kind: LSTM, vocabulary: 11}",
        "'word_lm' does not fit the data set 'jumps': its vocabulary is smaller than that of the text, 23 words",
    ),
    "images": (
        "{name: jumps, batch_size: 10, bptt: 20}",
        "{name: digits}",
        "run.model: the model 'word_lm' does not fit the data set 'digits': example_inputs: the forward of Word",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_mistake_is_one_line(name: str, files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new, message = BAD[name]
    Path("s.yaml").write_text(SCHEDULE.replace(old, new))
    assert run("s.yaml", "-o", "out") == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("error:") == 1
    assert len(error) < 600


def test_what_a_regularizer_adds_is_no_perplexity(files: Path) -> None:
    found = {}
    for strength in (0.0, 1e-9):  # so weak that training is the same
        big = SCHEDULE.replace("strength: 0.001", f"strength: {strength}").replace("epochs: 5", "epochs: 4")
        Path("s.yaml").write_text(big.replace("ending_epoch: 5", "ending_epoch: 4"))
        found[strength] = trained(f"out{strength}").results[0].train
    assert found[0.0].loss == pytest.approx(found[1e-9].loss, abs=1e-6)
    Path("s.yaml").write_text(SCHEDULE.replace("strength: 0.001", "strength: 100.0"))
    assert trained("heavy").results[0].train.loss < 10  # the lasso alone comes to hundreds
