"""SimpleNet, MobileNet v1 and the word language model have the layers, names and counts of their publications."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

import secateur
from secateur.cli.models import build_model, example_inputs
from secateur.errors import ConfigError
from secateur_models import small

ENTRIES = {entry.name: entry for entry in small.secateur_models()}


def macs(model: nn.Module, x: Tensor) -> int:
    found: list[int] = []

    def count(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        assert isinstance(module, (nn.Conv2d, nn.Linear))
        found.append(output.numel() * math.prod(module.weight.shape[1:]))

    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.register_forward_hook(count)
    model(x)
    return sum(found)


def weights(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters() if p.dim() in (2, 4))


@pytest.mark.parametrize(
    ("name", "shape", "expected_weights", "expected_macs"),
    [
        ("simplenet_mnist", (1, 28, 28), 500 + 25_000 + 400_000 + 5_000, 288_000 + 1_600_000 + 400_000 + 5_000),
        ("mobilenet_v1", (3, 224, 224), 4_209_088, 568_740_352),
    ],
)
def test_weights_and_macs(name: str, shape: tuple[int, ...], expected_weights: int, expected_macs: int) -> None:
    assert ENTRIES[name].input_shape == shape
    with torch.device("meta"):
        model = ENTRIES[name].build().eval()
        assert weights(model) == expected_weights
        assert macs(model, torch.zeros(1, *shape)) == expected_macs


def test_names_of_simplenet() -> None:
    model = ENTRIES["simplenet_mnist"].build()
    layers = [name for name, module in model.named_modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
    assert layers == ["conv1", "conv2", "fc1", "fc2"]
    assert model(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


def test_names_of_mobilenet() -> None:
    with torch.device("meta"):
        model = ENTRIES["mobilenet_v1"].build()
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters() if p.dim() > 1}
    expected = {"model.0.0.weight", "fc.weight"} | {f"model.{i}.{j}.weight" for i in range(1, 14) for j in (0, 3)}
    assert shapes.keys() == expected
    assert shapes["model.4.0.weight"] == (128, 1, 3, 3)
    assert shapes["model.4.3.weight"] == (256, 128, 1, 1)
    assert shapes["model.13.3.weight"] == (1024, 1024, 1, 1)


def test_a_narrow_mobilenet_runs() -> None:
    model = ENTRIES["mobilenet_v1"].build(num_classes=5, width=0.25)
    assert model(torch.randn(2, 3, 64, 64)).shape == (2, 5)
    with pytest.raises(ConfigError) as caught:
        ENTRIES["mobilenet_v1"].build(width=0.01)
    assert str(caught.value) == "width: a width of 0.01 leaves no channels; give 1 for the network of the paper"


def test_the_large_tied_language_model_counts_its_words_once() -> None:
    with torch.device("meta"):
        model = ENTRIES["word_lm"].build(embedding=1500, hidden=1500, tied=True)
    assert weights(model) == 33_278 * 1500 + 2 * 2 * 4 * 1500 * 1500 == 85_917_000
    assert [name for name, p in model.named_parameters() if p.dim() == 2] == [
        "encoder.weight",
        *(f"rnn.weight_{part}_l{layer}" for layer in (0, 1) for part in ("ih", "hh")),
    ]


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN_TANH", "RNN_RELU"])
@pytest.mark.parametrize("layers", [1, 2])
def test_language_models_go_on_from_their_state(kind: str, layers: int) -> None:
    model = ENTRIES["word_lm"].build(vocabulary=11, embedding=6, hidden=8, layers=layers, kind=kind).double().eval()
    tokens = torch.arange(10).reshape(5, 2)
    whole, after = model(tokens)
    first, state = model(tokens[:2])
    second, last = model(tokens[2:], state)
    assert whole.shape == (5, 2, 11)
    torch.testing.assert_close(torch.cat([first, second]), whole)
    assert isinstance(after, tuple) == isinstance(last, tuple) == (kind == "LSTM")
    assert (after[0] if isinstance(after, tuple) else after).shape == (layers, 2, 8)


def test_dropout_acts_on_words_and_outputs() -> None:
    model = ENTRIES["word_lm"].build(vocabulary=11, embedding=8, hidden=8, dropout=0.9, tied=True)
    torch.manual_seed(0)
    tokens = torch.zeros(5, 2, dtype=torch.int64)
    assert not torch.equal(model(tokens)[0], model(tokens)[0])
    assert torch.equal(model.eval()(tokens)[0], model(tokens)[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"kind": "LSTN"},
            "kind: no recurrent layer named 'LSTN'; did you mean 'LSTM'? (known: GRU, LSTM, RNN_RELU, RNN_TANH)",
        ),
        ({"layers": 0}, "layers: 0 is no size; give an integer of at least 1"),
        (
            {"tied": True, "hidden": 100},
            "tied: words embedded in 200 numbers cannot share weights with a hidden state of 100; "
            "give embedding and hidden the same size",
        ),
    ],
)
def test_bad_language_models_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ENTRIES["word_lm"].build(**arguments)
    assert str(caught.value) == message


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_the_command_line_knows_words_and_states(kind: str) -> None:
    built = build_model("word_lm", ["vocabulary=11", "embedding=6", "hidden=8", f"kind={kind}"])
    tokens, states = example_inputs(built, [])
    assert tokens.shape == (35, 1)
    assert [tuple(state.shape) for state in (states if kind == "LSTM" else [states])] == [(2, 1, 8)] * (
        1 + (kind == "LSTM")
    )
    assert built.model(tokens, states)[0].shape == (35, 1, 11)
    (tokens,) = example_inputs(built, ["5,2:int64"])
    assert built.model(tokens)[0].shape == (5, 2, 11)


def test_units_of_mobilenet_and_simplenet_leave() -> None:
    simple = ENTRIES["simplenet_mnist"].build()
    plan = secateur.plan(simple, torch.zeros(1, 1, 28, 28), prune={"conv1": 0.1, "conv2": 0.2})
    secateur.thin(simple, plan)
    assert weights(simple) == 18 * 25 + 40 * 18 * 25 + 640 * 500 + 5_000 == 343_450
    assert macs(simple, torch.zeros(1, 1, 28, 28)) == 1_736_200
    narrow = ENTRIES["mobilenet_v1"].build(num_classes=5, width=0.25)
    secateur.thin(narrow, secateur.plan(narrow, torch.zeros(1, 3, 64, 64), prune={"model.13.3": 0.1}))
    assert narrow.fc.in_features == 256 - 25
