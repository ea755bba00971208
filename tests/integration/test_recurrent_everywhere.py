"""A thin word language model goes wherever the dense one does: on training, into files, other programs and copies."""

from __future__ import annotations

import copy
import io
import pickle
import runpy
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import secateur
from secateur_models.language import WordLanguageModel

WORDS, UNITS, LAYERS = 13, 8, 2
SHARES = {"LSTM": 0.25, "GRU": 0.6}  # 6 and 4 units stay
FORMS = [(kind, tied) for kind in SHARES for tied in (False, True)]
needs_onnx = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("onnx", "onnxscript", "onnxruntime")),
    reason="needs onnx, onnxscript and onnxruntime",
)


def dense(kind: str, tied: bool) -> nn.Module:
    return WordLanguageModel(WORDS, UNITS, UNITS, LAYERS, dropout=0.2, tied=tied, kind=kind)


def words(time: int = 5, columns: int = 3) -> Tensor:
    return torch.randint(WORDS, (time, columns), generator=torch.Generator().manual_seed(time))


def thinned(kind: str, tied: bool) -> tuple[nn.Module, torch.optim.Optimizer, tuple[Any, ...]]:
    """A model that was trained for two steps and thinned, its optimizer, and inputs with states of its size."""
    torch.manual_seed(0)
    model = dense(kind, tied)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(2):
        step(model, optimizer)
    with torch.no_grad():
        states = model.eval()(words())[1]
    plan = secateur.plan(model, (words(), states), {"rnn": SHARES[kind]})
    secateur.thin(model, plan, optimizer)
    assert model.rnn.hidden_size == UNITS - int(SHARES[kind] * UNITS) == len(model.rnn.weight_hh_l0.T)
    return model, optimizer, plan.states.cut_inputs((words(), states))


def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> float:
    model.train()
    torch.manual_seed(1)  # of dropout
    logits, _ = model(words(6)[:-1])
    loss = nn.functional.cross_entropy(logits.flatten(0, 1), words(6)[1:].flatten())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return float(loss.detach())


def results(model: Any, *inputs: Any) -> list[Tensor]:
    """Logits and states, one after another."""
    with torch.no_grad():
        logits, states = model(*inputs)
    return [logits, *(states if isinstance(states, tuple) else (states,))]


def assert_equal(made: list[Tensor], wanted: list[Tensor], tolerance: float = 0.0) -> None:
    assert len(made) == len(wanted)
    for a, b in zip(made, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def assert_whole(model: nn.Module) -> None:
    """What `nn.LSTM` remembers of its parameters is what they are."""
    assert all(a is b for a, b in zip(model.rnn._flat_weights, model.rnn.parameters(), strict=True))
    model.rnn.flatten_parameters()
    assert (model.encoder.weight is model.decoder.weight) == (model.rnn.input_size == model.rnn.hidden_size)


@pytest.mark.parametrize(("kind", "tied"), FORMS)
def test_it_is_saved_loaded_and_trained_on(tmp_path: Path, kind: str, tied: bool) -> None:
    model, optimizer, inputs = thinned(kind, tied)
    secateur.save(tmp_path / "thin.safetensors", model, optimizer=optimizer)
    fresh = dense(kind, tied)
    again = torch.optim.Adam(fresh.parameters(), lr=0.02)
    assert secateur.load(tmp_path / "thin.safetensors", fresh, optimizer=again) is fresh
    assert_equal(results(fresh.eval(), *inputs), results(model.eval(), *inputs))
    assert_whole(fresh)
    losses = [step(model, optimizer) for _ in range(8)]
    assert [step(fresh, again) for _ in range(8)] == losses
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(("kind", "tied"), FORMS)
def test_it_is_copied_and_pickled(kind: str, tied: bool) -> None:
    model, optimizer, inputs = thinned(kind, tied)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    copies = [copy.deepcopy(model), pickle.loads(pickle.dumps(model)), torch.load(file, weights_only=False)]
    wanted = results(model.eval(), *inputs)
    for each in copies:
        assert_equal(results(each.eval(), *inputs), wanted)
        assert_whole(each)
        plan = secateur.plan(each, inputs, {"rnn": 0.5})  # and it is thinned again
        secateur.thin(each, plan)
        assert each.rnn.hidden_size == -(-model.rnn.hidden_size // 2)
    assert_equal(results(model.eval(), *inputs), wanted)
    step(model, optimizer)


@pytest.mark.parametrize(("kind", "tied"), FORMS)
def test_it_is_a_program_of_torch(tmp_path: Path, kind: str, tied: bool) -> None:
    model, _, (tokens, states) = thinned(kind, tied)
    model.eval()
    path = tmp_path / "thin.pt2"
    assert secateur.export_torch(path, model, (tokens, states)).passed
    program = torch.export.load(path).module()
    after = program(tokens, states)[1]
    assert_equal(results(program, tokens, after), results(model, tokens, after))
    secateur.export_torch(path, model, (tokens, states), dynamic_batch=True, batch_axis=1)
    program, more = torch.export.load(path).module(), words(columns=7)
    after = model(more)[1]
    assert_equal(results(program, more, after), results(model, more, after), 1e-6)
    secateur.export_torch(path, model, (tokens,), dynamic_batch=True, batch_axis=1)
    assert_equal(results(torch.export.load(path).module(), more), results(model, more), 1e-6)


@needs_onnx
def test_steps_of_time_cannot_be_left_open(tmp_path: Path) -> None:
    model, _, (tokens, states) = thinned("LSTM", tied=False)
    for name, export in (("thin.pt2", secateur.export_torch), ("thin.onnx", secateur.export_onnx)):
        for inputs in ((tokens,), (tokens, states)):
            with pytest.raises(secateur.CheckpointError) as caught:
                export(tmp_path / name, model, inputs, dynamic_batch=True)
            assert str(caught.value) == (
                f"{tmp_path / name}: torch takes the length of axis 0 for a constant in every input; say "
                "which axis the batch is (batch_axis; 1 where time is in front, whose steps are fixed), or fix it"
            )
    assert not list(tmp_path.iterdir())


@needs_onnx
@pytest.mark.parametrize(("kind", "tied"), FORMS)
def test_it_is_onnx(tmp_path: Path, kind: str, tied: bool) -> None:
    import onnxruntime

    model, _, (tokens, states) = thinned(kind, tied)
    path, states_too = tmp_path / "thin.onnx", tied
    given = (tokens, states) if states_too else (tokens,)
    found = secateur.export_onnx(path, model, given, dynamic_batch=True, batch_axis=1)
    assert found is not None
    assert found.passed
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    more = words(columns=7)
    after = results(model.eval(), more)[1:] if states_too else []
    names = [entry.name for entry in session.get_inputs()]
    made = session.run(None, {name: tensor.numpy() for name, tensor in zip(names, [more, *after], strict=True)})
    state = tuple(after) if len(after) > 1 else next(iter(after), None)
    assert_equal([torch.from_numpy(np.asarray(array)) for array in made], results(model, more, state), 1e-5)


@pytest.mark.parametrize(("kind", "tied"), FORMS)
def test_it_is_rebuilt_by_a_python_file(tmp_path: Path, kind: str, tied: bool) -> None:
    model, _, inputs = thinned(kind, tied)
    weights = secateur.export_python(tmp_path / "thin.py", model)
    rebuilt = runpy.run_path(str(tmp_path / "thin.py"))["thin"](dense(kind, tied))
    rebuilt.load_state_dict(load_file(weights))
    assert_equal(results(rebuilt.eval(), *inputs), results(model.eval(), *inputs))
    assert (rebuilt.decoder.weight is rebuilt.encoder.weight) == tied
    assert rebuilt.rnn.hidden_size == model.rnn.hidden_size


@pytest.mark.parametrize("kind", SHARES)
def test_it_is_compiled(kind: str) -> None:
    model, _, inputs = thinned(kind, tied=True)
    model.eval()
    compiled = torch.compile(model, backend="aot_eager")
    assert_equal(results(compiled, *inputs), results(model, *inputs), 1e-6)
