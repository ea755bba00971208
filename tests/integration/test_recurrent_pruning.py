"""Hidden units of word language models: what a unit is, how it is scored and shrunk, and that thinning changes nothing.

Intrinsic sparse structures, Wen et al., ICLR 2018: unit k is row k of every gate of each layer with its biases, column
k of the recurrent matrices, of the next layer, and of what reads the output.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import secateur
from secateur.thinning.planner import couple
from secateur_models.language import WordLanguageModel

GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}
UNITS, WORDS, LAYERS = 8, 13, 2
FORMS = [(kind, tied) for kind in ("LSTM", "GRU", "RNN_TANH") for tied in (False, True)]
OPTIMIZERS: dict[str, tuple[Callable[[Any], torch.optim.Optimizer], float]] = {
    "SGD, clipped": (lambda parameters: torch.optim.SGD(parameters, lr=1.0, momentum=0.5, weight_decay=1e-3), 0.25),
    "Adam": (lambda parameters: torch.optim.Adam(parameters, lr=0.02), math.inf),
}
SLOW = {"Adam, slow": (lambda parameters: torch.optim.Adam(parameters, lr=1e-7), math.inf)}


def language_model(kind: str, tied: bool) -> nn.Module:
    torch.manual_seed(3)
    return WordLanguageModel(WORDS, UNITS, UNITS, LAYERS, dropout=0.0, tied=tied, kind=kind).double()


def text(length: int, columns: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randint(WORDS, (length, columns), generator=generator)


def with_states(model: nn.Module, tokens: Tensor) -> tuple[Any, ...]:
    with torch.no_grad():
        return tokens, model(tokens)[1]


def detached(states: Any) -> Any:
    return tuple(state.detach() for state in states) if isinstance(states, tuple) else states.detach()


def hidden_dim(model: nn.Module) -> Any:
    dims = {dim.name: dim for dim in couple(model, with_states(model, text(4))).dims}
    assert set(dims) <= {"rnn", "encoder"}
    return dims["rnn"]


def by_hand(kind: str, tied: bool, unit: int) -> dict[tuple[str, int], list[int]]:
    """What belongs to a hidden unit."""
    rows = [gate * UNITS + unit for gate in range(GATES[kind])]
    found: dict[tuple[str, int], list[int]] = {("encoder.weight" if tied else "decoder.weight", 1): [unit]}
    for layer in range(LAYERS):
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            found[f"rnn.{name}_l{layer}", 0] = rows
        found[f"rnn.weight_hh_l{layer}", 1] = [unit]
        if layer or tied:  # the first layer reads words
            found[f"rnn.weight_ih_l{layer}", 1] = [unit]
    return found


@pytest.mark.parametrize(("kind", "tied"), FORMS)
def test_a_unit_is_an_intrinsic_sparse_structure(kind: str, tied: bool) -> None:
    dim = hidden_dim(language_model(kind, tied))
    assert len(dim) == UNITS
    for unit in range(UNITS):
        assert {place: indices[unit].tolist() for place, indices in dim.slices.items()} == by_hand(kind, tied, unit)


def slices(model: nn.Module, kind: str, tied: bool, unit: int, written: bool = False) -> Tensor:
    """The elements of a unit, one after another: all, or those of the weights that only write it."""
    parameters = dict(model.named_parameters())
    places = by_hand(kind, tied, unit).items()
    picked = [
        parameters[name].index_select(axis, torch.tensor(indices)).flatten()
        for (name, axis), indices in places
        if not written or (axis == 0 and "weight" in name)
    ]
    return torch.cat(picked).detach()


@pytest.mark.parametrize(("kind", "tied"), FORMS)
def test_criteria_of_magnitude(kind: str, tied: bool) -> None:
    model = language_model(kind, tied)
    inputs, order = with_states(model, text(4)), {}
    for name, written, power in (("l1", True, 1), ("l2", True, 2), ("group_l1", False, 1), ("group_l2", False, 2)):
        order[name] = [float(slices(model, kind, tied, unit, written).norm(power)) for unit in range(UNITS)]
        plan = secateur.plan(model, inputs, {"rnn": 0.5}, criterion=name)
        (dim,) = (dim for dim in plan.dims if dim.name == "rnn")
        assert dim.leaving.tolist() == sorted(np.argsort(order[name])[:4].tolist()), name


SCHEDULE = """
version: 1
{instances}
extensions: {{thinner: {{class: thinner}}}}
policies:
{policies}
"""
AGP = "pruners: {units: {class: agp, dims: [rnn], criterion: %s, initial_sparsity: 0.1, final_sparsity: 0.5}}"
DUE = "  - {pruner: {instance_name: units}, starting_epoch: 0, ending_epoch: 4, frequency: 1}\n"
LASSO = "regularizers: {lasso: {class: %s, strength: 0.002, dims: rnn}}\n"
LASSO_DUE = "  - {regularizer: {instance_name: lasso}, starting_epoch: 0, ending_epoch: 7, frequency: 1}\n"
THIN = "  - {extension: {instance_name: thinner}, epochs: [2, 4]}\n"


def train(
    folder: Path, model: nn.Module, optimizer: str, instances: str, policies: str, epochs: int = 6
) -> tuple[list[float], secateur.Scheduler]:
    """Truncated back-propagation through time, with states carried from window to window; the losses."""
    (folder / "schedule.yaml").write_text(SCHEDULE.format(instances=instances, policies=policies))
    make, clip = (OPTIMIZERS | SLOW)[optimizer]
    made = make(model.parameters())
    tokens, window, losses = text(31), 6, []
    scheduler = secateur.Scheduler.from_yaml(
        folder / "schedule.yaml", model, made, example_inputs=with_states(model, tokens[:window])
    )
    for epoch in range(epochs):
        scheduler.on_epoch_begin(epoch)
        states = None
        for step in range(5):
            scheduler.on_minibatch_begin(epoch, step, 5)
            logits, states = model(tokens[step * window : (step + 1) * window], states)
            states = detached(states)
            targets = tokens[step * window + 1 : (step + 1) * window + 1]
            plain = nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
            loss = scheduler.before_backward(plain)
            made.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), clip)
            made.step()
            scheduler.on_minibatch_end(epoch, step, 5)
            losses.append(float(loss.detach()))
        scheduler.on_epoch_end(epoch)
    return losses, scheduler


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(("kind", "tied"), FORMS)
def test_training_goes_on_as_that_of_the_masked_network(tmp_path: Path, kind: str, tied: bool, optimizer: str) -> None:
    instances = LASSO % "unit_lasso" + AGP % "group_l2"
    dense, thin = (language_model(kind, tied) for _ in range(2))
    expected, masking = train(tmp_path, dense, optimizer, instances, LASSO_DUE + DUE)
    losses, scheduler = train(tmp_path, thin, optimizer, instances, LASSO_DUE + DUE + THIN)
    assert thin.rnn.hidden_size == UNITS // 2
    assert (dense.rnn.hidden_size, len(scheduler.reports)) == (UNITS, 2)
    assert losses == pytest.approx(expected, rel=1e-10)
    assert losses[-1] < losses[0]
    secateur.thin(dense, masking.plan())
    for name, parameter in dense.named_parameters():
        torch.testing.assert_close(thin.get_parameter(name), parameter, rtol=1e-9, atol=1e-11, msg=name)


SMALL = "regularizers: {lasso: {class: unit_lasso, strength: 0.002, dims: rnn, threshold: 1.0e-4}}\n"
SMALL_DUE = "  - {regularizer: {instance_name: lasso, args: {keep_mask: true}}, epochs: [0]}\n"
THIN_NEXT = "  - {extension: {instance_name: thinner}, epochs: [1]}\n"


@pytest.mark.parametrize(("kind", "tied"), FORMS)
def test_units_of_which_every_element_is_small_leave(tmp_path: Path, kind: str, tied: bool) -> None:
    model = language_model(kind, tied)
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for (name, axis), indices in [entry for unit in (1, 5, 6) for entry in by_hand(kind, tied, unit).items()]:
            parameters[name].index_fill_(axis, torch.tensor(indices), 1e-6)
        parameters["rnn.weight_hh_l1"][0, 6] = 0.5  # of unit 6 one element is large, in the column that reads it
    _, scheduler = train(tmp_path, model, "Adam, slow", SMALL, SMALL_DUE + THIN_NEXT, epochs=2)
    assert model.rnn.hidden_size == UNITS - 2
    (dim,) = (dim for dim in scheduler.reports[0].plan.dims if dim.name == "rnn")
    assert dim.leaving.tolist() == [1, 5]


def test_one_unit_stays_of_those_that_are_small(tmp_path: Path) -> None:
    model = language_model("GRU", tied=True)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1e-6)
        model.rnn.bias_hh_l0[3] = 1e-5
    train(tmp_path, model, "Adam, slow", SMALL, SMALL_DUE + THIN_NEXT, epochs=2)
    assert model.rnn.hidden_size == 1


# ------------------------------------------------------------------------------------- units that are zero already


def zeroed(kind: str, tied: bool, *places: tuple[str, int, list[int]]) -> nn.Module:
    model = language_model(kind, tied).eval()
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, axis, indices in places:
            parameters[name].index_fill_(axis, torch.tensor(indices), 0)
    return model


def whole(kind: str, tied: bool, *units: int) -> list[tuple[str, int, list[int]]]:
    """All slices of some units."""
    return [(*place, indices) for unit in units for place, indices in by_hand(kind, tied, unit).items()]


@pytest.mark.parametrize(("kind", "tied"), FORMS)
def test_units_of_zeros_leave_with_their_states(kind: str, tied: bool) -> None:
    words = [] if tied else [("encoder.weight", 1, [2, 5]), ("rnn.weight_ih_l0", 1, [2, 5])]
    model = zeroed(kind, tied, *whole(kind, tied, 1, 4), *words)
    tokens, states = with_states(model, text(4))
    given = tuple(torch.randn_like(s) for s in states) if isinstance(states, tuple) else torch.randn_like(states)
    wanted = model(tokens, given)[0]
    plan = secateur.plan_zeros(model, (tokens, given))
    expected = {"rnn": [1, 4]} | ({} if tied else {"encoder": [2, 5]})
    assert {dim.name: dim.leaving.tolist() for dim in plan.dims} == expected
    report = secateur.thin(model, plan)
    assert report.difference is not None
    assert report.difference.relative < 1e-12
    torch.testing.assert_close(model(*plan.states.cut_inputs((tokens, given)))[0], wanted, rtol=1e-11, atol=1e-13)
    assert model.rnn.hidden_size == UNITS - 2


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN_TANH"])
@pytest.mark.parametrize("silenced", ["rows", "columns"])
def test_units_that_are_zero_in_part_stay(kind: str, silenced: str) -> None:
    """With zero rows an LSTM's unit passes on the state it was given; without readers it could leave: not found."""
    places = [place for place in whole(kind, False, 1, 4) if (place[1] == 1) == (silenced == "columns")]
    model = zeroed(kind, False, *places)
    plan = secateur.plan_zeros(model, with_states(model, text(4)))
    assert not plan.cuts
