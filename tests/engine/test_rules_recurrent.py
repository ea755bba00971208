"""Recurrent layers: unit k is row k of every gate, column k of what reads it, entry k of the state."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import secateur
from secateur.measure.counts import count_macs
from secateur.plugins import current
from secateur.thinning.planner import couple, make_plan

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
KINDS: dict[str, Callable[..., nn.Module]] = {
    "lstm": nn.LSTM,
    "gru": nn.GRU,
    "tanh": nn.RNN,
    "relu": lambda *sizes, **options: nn.RNN(*sizes, nonlinearity="relu", **options),
    "projected": lambda *sizes, **options: nn.LSTM(*sizes, proj_size=4, **options),
}


class Language(nn.Module):
    """A word language model: a table, a recurrent layer, a decoder."""

    def __init__(self, layer: nn.Module, tied: bool = False) -> None:
        super().__init__()
        self.table, self.layer = nn.Embedding(11, layer.input_size), layer  # type: ignore[arg-type]
        width = (layer.proj_size or layer.hidden_size) * (2 if layer.bidirectional else 1)  # type: ignore[operator]
        self.decoder = nn.Linear(width, 11)  # type: ignore[arg-type]
        if tied:
            self.decoder.weight = self.table.weight

    def forward(self, tokens: Tensor) -> Tensor:
        made, _ = self.layer(self.table(tokens))
        return self.decoder(made)


class Around(nn.Module):
    """A layer with a linear layer before it and one after it; a function says how it is called."""

    def __init__(self, layer: nn.Module, call: Callable[..., Tensor], width: int, inputs: int = 6) -> None:
        super().__init__()
        self.write, self.layer, self.read, self.body = nn.Linear(5, inputs), layer, nn.Linear(width, 3), call

    def forward(self, x: Tensor) -> Tensor:
        return self.read(self.body(self.layer, self.write(x)))


def tokens() -> Tensor:
    return torch.tensor([[1, 4, 4, 9], [0, 10, 2, 2], [5, 6, 7, 8]])


GRID = list(product(KINDS, (1, 2, 3), (False, True), (False, True), (False, True)))


@pytest.mark.parametrize("kind", KINDS)
def test_units_leave(law: Any, kind: str) -> None:
    for _, layers, both, bias, first in (entry for entry in GRID if entry[0] == kind):
        layer = KINDS[kind](6, 8, num_layers=layers, bidirectional=both, bias=bias, batch_first=first)
        thinned = law(Language(layer), (tokens(),), seeds=2)
        thin, width = thinned.layer, 2 if kind == "projected" else 4
        assert (thin.input_size, thin.hidden_size) == (3, 4)
        assert thin.proj_size == (2 if kind == "projected" else 0)
        gates = GATES[type(thin).__name__]
        for name, parameter in thin.named_parameters():
            reads = 3 if "l0" in name else width * (1 + both)
            due = {"weight_ih": (4 * gates, reads), "weight_hh": (4 * gates, width), "weight_hr": (2, 4)}
            assert tuple(parameter.shape) == due.get(name[:9], (4 * gates,)), name
        assert thinned.decoder.in_features == width * (1 + both)
        assert all(a is b for a, b in zip(thin._flat_weights, thin.parameters(), strict=True))
        thin.flatten_parameters()


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("layers", [1, 2])
def test_a_tied_table_leaves_with_the_units(law: Any, kind: str, layers: int) -> None:
    layer = getattr(nn, kind)(8, 8, layers, dropout=0.3 * (layers - 1))
    thinned = law(Language(layer, tied=True), (tokens(),), {"table.weight": (11, 4)}, seeds=3)
    assert thinned.decoder.weight is thinned.table.weight
    assert (thinned.layer.input_size, thinned.layer.hidden_size, thinned.decoder.in_features) == (4, 4, 4)


def stepwise(layer: nn.Module, x: Tensor) -> Tensor:
    state: Any = None
    for step in x.unbind(1):
        state = layer(step, state)
    return state[0] if isinstance(state, tuple) else state


def one_by_one(layer: nn.Module, x: Tensor) -> Tensor:
    made, state = [], None
    for step in x.unbind(1):
        state = layer(step, state)
        made.append(state[1] if isinstance(state, tuple) else state)
    return torch.stack(made, 1)


CELLS: dict[str, Callable[..., nn.Module]] = {
    "lstm": nn.LSTMCell,
    "gru": nn.GRUCell,
    "tanh": nn.RNNCell,
    "relu": lambda *sizes, **options: nn.RNNCell(*sizes, nonlinearity="relu", **options),
}


@pytest.mark.parametrize("body", [stepwise, one_by_one])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", CELLS)
def test_units_of_cells_leave(law: Any, kind: str, bias: bool, body: Any) -> None:
    cell = CELLS[kind](6, 8, bias=bias)
    gates = {"lstm": 4, "gru": 3}.get(kind, 1)
    due = {"layer.weight_ih": (4 * gates, 3), "layer.weight_hh": (4 * gates, 4), "read.weight": (3, 4)}
    thinned = law(Around(cell, body, 8), law.normal(2, 4, 5), due, seeds=2)
    assert (thinned.layer.input_size, thinned.layer.hidden_size) == (3, 4)


def last(layer: nn.Module, x: Tensor) -> Tensor:
    return layer(x)[1][-1]


def both_ends(layer: nn.Module, x: Tensor) -> Tensor:
    _, (hidden, cell) = layer(x)
    return torch.cat([hidden[-2], hidden[-1], cell[-1]], 1)


def packed(layer: nn.Module, x: Tensor, enforce_sorted: bool = True) -> Tensor:
    lengths = torch.tensor([4, 3, 1]) if enforce_sorted else torch.tensor([1, 4, 2])
    made, _ = layer(pack_padded_sequence(x, lengths, layer.batch_first, enforce_sorted))  # type: ignore[arg-type]
    return pad_packed_sequence(made, layer.batch_first)[0]  # type: ignore[arg-type]


def attended(layer: nn.Module, x: Tensor) -> Tensor:
    made, state = layer(x)
    query = state[0][-1] if isinstance(state, tuple) else state[-1]
    weights = (made @ query.unsqueeze(-1)).softmax(1)
    return (made * weights).sum(1)


def given_zeros(layer: nn.Module, x: Tensor) -> Tensor:
    state = torch.zeros(1, x.shape[0], layer.hidden_size, dtype=x.dtype)  # type: ignore[call-overload]
    return layer(x, (state, state))[0]


def new_zeros(layer: nn.Module, x: Tensor) -> Tensor:
    return layer(x, x.new_zeros(layer.num_layers, len(x), layer.hidden_size))[0]  # type: ignore[call-overload]


def continued(layer: nn.Module, x: Tensor) -> Tensor:
    first, state = layer(x)
    second, _ = layer(x.flip(1), state)
    return first + second


CALLS: dict[str, tuple[nn.Module, Callable[..., Tensor], int]] = {
    "the last state": (nn.GRU(6, 8, 2, batch_first=True), last, 8),
    "states of both directions": (nn.LSTM(6, 8, 2, bidirectional=True, batch_first=True), both_ends, 24),
    "packed": (nn.LSTM(6, 8, bidirectional=True, batch_first=True), packed, 16),
    "packed, time first": (nn.GRU(6, 8, 2), lambda m, x: packed(m, x.transpose(0, 1)), 8),
    "packed, unsorted": (nn.RNN(6, 8, batch_first=True), lambda m, x: packed(m, x, enforce_sorted=False), 8),
    "packed with a projection": (nn.LSTM(6, 8, proj_size=4, batch_first=True), packed, 4),
    "one sequence": (nn.LSTM(6, 8), lambda m, x: m(x[0])[0], 8),
    "attention": (nn.LSTM(6, 8, batch_first=True), attended, 8),
    "zeros given": (nn.LSTM(6, 8, batch_first=True), given_zeros, 8),
    "new zeros given": (nn.GRU(6, 8, 2, batch_first=True), new_zeros, 8),
    "continued": (nn.GRU(6, 8, batch_first=True), continued, 8),
    "a sigmoid after it": (nn.LSTM(6, 8, batch_first=True), lambda m, x: m(x)[0].sigmoid(), 8),
    "an even state": (nn.GRU(6, 8, batch_first=True), lambda m, x: m(x, m(x)[1].cos())[0], 8),
    "a positive state": (nn.RNN(6, 8, batch_first=True), lambda m, x: m(x, m(x)[1].exp())[0], 8),
    "a cell state that is not zero": (
        nn.LSTM(6, 8, batch_first=True),
        lambda m, x: m(x, (m(x)[1][0], m(x)[1][1].cos()))[0],
        8,
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_units_leave_however_it_is_called(law: Any, name: str) -> None:
    layer, body, width = CALLS[name]
    thinned = law(Around(layer, body, width), law.normal(3, 4, 5), {"read.weight": (3, width // 2)}, seeds=3)
    assert (thinned.layer.input_size, thinned.layer.hidden_size) == (3, 4)


class Learned(nn.Module):
    """An initial state that is learned, or made by an encoder."""

    def __init__(self, encodes: bool) -> None:
        super().__init__()
        self.encodes = encodes
        self.first = nn.Linear(5, 8) if encodes else nn.ParameterList([torch.zeros(1, 1, 8)])
        self.layer, self.read = nn.GRU(5, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        state = self.first(x[:1]).tanh() if self.encodes else self.first[0].expand(-1, x.shape[1], -1).contiguous()  # type: ignore[operator,index]
        return self.read(self.layer(x, state)[0])


@pytest.mark.parametrize("encodes", [True, False])
def test_initial_states_leave_with_the_units(law: Any, encodes: bool) -> None:
    name = "first.weight" if encodes else "first.0"
    due = {name: (4, 5) if encodes else (1, 1, 4), "layer.weight_hh_l0": (12, 4), "read.weight": (3, 4)}
    law(Learned(encodes), law.normal(4, 2, 5), due)


def test_states_made_from_the_input_leave_with_the_units(law: Any) -> None:
    class Stated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.read, self.units = nn.GRU(5, 8), nn.Linear(8, 3), 8

        def forward(self, x: Tensor) -> Tensor:
            return self.read(self.layer(x, x.new_zeros(1, x.shape[1], self.units))[0])

    thinned = law(Stated(), law.normal(4, 2, 5), {"read.weight": (3, 4)})
    assert (thinned.units, thinned.layer.hidden_size) == (4, 4)


def test_layers_one_after_another_leave_by_themselves(law: Any) -> None:
    class Stacked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.read = nn.LSTM(5, 8), nn.LSTM(8, 12), nn.Linear(12, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.read(self.b(self.a(x)[0])[0])

    model = Stacked()
    thinned = law(model, law.normal(4, 2, 5), {"b.weight_ih_l0": (24, 4), "b.weight_hh_l0": (24, 6)})
    assert (thinned.a.hidden_size, thinned.b.input_size, thinned.b.hidden_size) == (4, 4, 6)
    assert [(dim.name, dim.size) for dim in law.plan(model, law.normal(4, 2, 5)).dims] == [("a", 8), ("b", 12)]


class Stateful(nn.Module):
    """A word language model that takes its state and returns it."""

    def __init__(self, layer: nn.Module, width: int = 8, returns: str = "both") -> None:
        super().__init__()
        self.table, self.layer, self.decoder = nn.Embedding(11, 6), layer, nn.Linear(width, 11)
        self.returns = returns

    def forward(self, tokens: Tensor, state: Any) -> Any:
        made, state = self.layer(self.table(tokens), state)
        after = tuple(s.detach() for s in state) if isinstance(state, tuple) else state
        return {"both": (self.decoder(made), after), "result": self.decoder(made), "state": after}[self.returns]


def state_of(*shapes: tuple[int, ...]) -> Any:
    states = tuple(torch.randn(shape, dtype=torch.float64) for shape in shapes)
    return states if len(states) > 1 else states[0]


STATEFUL: dict[str, tuple[Callable[[], nn.Module], Any, int]] = {
    "lstm": (lambda: nn.LSTM(6, 8, 2), ((2, 4, 8), (2, 4, 8)), 8),
    "gru": (lambda: nn.GRU(6, 8, 2, bidirectional=True), ((4, 4, 8),), 16),
    "tanh": (lambda: nn.RNN(6, 8), ((1, 4, 8),), 8),
    "relu": (lambda: nn.RNN(6, 8, nonlinearity="relu", bias=False), ((1, 4, 8),), 8),
    "projected": (lambda: nn.LSTM(6, 8, proj_size=4), ((1, 4, 4), (1, 4, 8)), 4),
}


@pytest.mark.parametrize("kind", STATEFUL)
def test_states_that_go_round_become_smaller(law: Any, kind: str) -> None:
    make, shapes, width = STATEFUL[kind]
    model, inputs = Stateful(make(), width), (tokens(), state_of(*shapes))
    thinned = law(model, inputs, {"decoder.weight": (11, width // 2)}, seeds=6)
    plan = law.plan(model, inputs)
    (given,) = plan.states.cut_inputs(inputs)[1:]
    assert [s.shape[-1] for s in (given if isinstance(given, tuple) else (given,))] == [s[-1] // 2 for s in shapes]
    _, state = thinned(tokens(), given)
    thinned(tokens(), state)  # it goes round
    count = sum(shape[-1] for shape in shapes) // 2
    places = ", ".join(str(place + 1) for place in range(len(shapes)))
    assert f"become smaller: {count} entries leave the inputs {places} (tensors counted from 0)" in str(plan)
    saved = type(plan).from_dict(plan.to_dict())
    assert saved.states.to_dict() == plan.states.to_dict() != law.plan(model, inputs, 0.0).states.to_dict()


class Steps(nn.Module):
    """A cell that is called once, with its state from outside; `units` is the size of states that users make."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.next, self.read = nn.LSTMCell(5, 8), nn.GRUCell(8, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor, states: dict[str, Any]) -> Any:
        hidden, cell = self.cell(x, (states["hidden"], states["cell"]))
        last = self.next(hidden, states["last"])
        return {"y": self.read(last), "hidden": hidden, "cell": cell, "last": last}


def test_states_of_cells_become_smaller(law: Any) -> None:
    states = {"hidden": state_of((2, 8)), "cell": state_of((2, 8)), "last": state_of((2, 6))}
    inputs = {"x": law.normal(2, 5), "states": states}
    thinned = law(Steps(), inputs, {"cell.weight_hh": (16, 4), "next.weight_hh": (9, 3)}, seeds=6)
    assert (thinned.cell.hidden_size, thinned.next.input_size, thinned.next.hidden_size) == (4, 4, 3)


@pytest.mark.parametrize("returns", ["result", "state"])
def test_states_that_do_not_go_round_stay(law: Any, returns: str) -> None:
    model, inputs = Stateful(nn.GRU(6, 8), returns=returns), (tokens(), state_of((1, 4, 8)))
    reason = "its state is an input of the model, which would have to return it"
    law.refuses(model, inputs, "layer.weight_hh_l0", reason, "in gru at layer", axis=1)
    assert not law.plan(model, inputs).states


def test_states_that_are_only_returned_stay_with_a_hint(law: Any) -> None:
    model = Stateful(nn.GRU(6, 8))
    hint = "(give a state among the example inputs, and what goes round becomes smaller with the layer)"
    law.refuses(model, (tokens(), None), "layer.weight_hh_l0", "it is an output of the model", hint, axis=1)


def test_what_the_model_returns_of_a_layer_stays(law: Any) -> None:
    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.write, self.layer = nn.Linear(5, 6), nn.LSTM(6, 8)

        def forward(self, x: Tensor, state: Any) -> Any:
            return self.layer(self.write(x), state)

    inputs = (law.normal(3, 4, 5), state_of((1, 4, 8), (1, 4, 8)))
    law.refuses(Bare(), inputs, "layer.weight_hh_l0", "it is an output of the model, in lstm at layer", axis=1)


def test_a_state_that_something_else_reads_stays(law: Any) -> None:
    class Mixed(Stateful):
        def forward(self, tokens: Tensor, state: Any) -> Any:
            made, after = self.layer(self.table(tokens), state)
            return self.decoder(made + state.cos()), after

    model, inputs = Mixed(nn.GRU(6, 8)), (tokens(), state_of((1, 4, 8)))
    law.refuses(model, inputs, "layer.weight_hh_l0", "beside results, and only pass it on", axis=1)


def test_a_state_of_a_written_size_stays(law: Any) -> None:
    class Written(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.read = nn.GRU(5, 8), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.read(self.layer(x, torch.zeros(1, x.shape[1], 8, dtype=x.dtype))[0])

    reason = "its initial state stays, which zeros makes at the model itself (tests/engine/test_rules_recurrent.py:"
    hint = "(take its size from the layer)"
    law.refuses(Written(), law.normal(4, 2, 5), "layer.weight_hh_l0", reason, hint, axis=1)


def test_what_the_recurrence_runs_along_stays(law: Any) -> None:
    class Along(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.write, self.layer, self.read = nn.Conv1d(2, 8, 1), nn.GRU(7, 6, batch_first=True), nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.read(self.layer(self.write(x))[0][:, -1])

    law.refuses(Along(), law.normal(3, 2, 7), "write.weight", "the recurrence runs along it, in gru at layer")


def test_channels_may_be_the_batch(law: Any) -> None:
    class Batched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.write, self.layer, self.read = nn.Conv1d(2, 8, 1), nn.GRU(1, 6), nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            batch, channels, time = (h := self.write(x)).shape
            made, _ = self.layer(h.permute(2, 0, 1).reshape(time, batch * channels, 1))
            return self.read(made.sum(-1).view(time, batch, channels))

    law(Batched(), law.normal(3, 2, 7), {"write.weight": (4, 2, 1), "read.weight": (2, 4)}, seeds=6)


def test_packed_entries_stay(law: Any) -> None:
    class Entries(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.write, self.layer, self.read = nn.Conv1d(2, 3, 1), nn.RNN(7, 6, batch_first=True), nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            packed = pack_padded_sequence(self.write(x), torch.tensor([3, 2]), True)
            return self.read(pad_packed_sequence(self.layer(packed)[0], True, padding_value=1.0)[0])

    law.refuses(Entries(), law.normal(2, 2, 7), "write.weight", "sequences of several lengths are packed along it")
    assert law.plan(Entries().double(), law.normal(2, 2, 7)).attributes["layer", "hidden_size"] == (6, 3)


def test_a_projection_stays_narrower(law: Any) -> None:
    class Projected(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.read = nn.LSTM(5, 8, proj_size=4), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.read(self.layer(x)[0])

    model, x = Projected().double().eval(), law.normal(4, 2, 5)
    plan = law.plan(model, x, {"layer": 0.75, "layer:2": 0.0})
    assert [(dim.name, len(dim.kept)) for dim in plan.dims] == [("layer", 5), ("layer:2", 4)]
    law.exact(model, plan, (x,))
    coupling = couple(model, (x,))
    with pytest.raises(secateur.PlanError, match="must stay more than what they are projected to"):
        make_plan(model, coupling, [np.arange(4), np.arange(0)], (x,))


def test_weights_that_are_normalised_leave_too(law: Any) -> None:
    layer = nn.utils.parametrizations.weight_norm(nn.LSTM(6, 8), "weight_hh_l0")
    model, x = law.randomised(Around(layer, lambda m, x: m(x)[0], 8)), law.normal(4, 2, 5)
    plan = law.plan(model, x)
    masked = secateur.masked(model, plan)
    secateur.thin(model, plan)
    assert model.layer.weight_hh_l0.shape == (16, 4)
    with torch.no_grad():
        assert law.relative([masked(x)], [model(x)]) < 1e-11


def test_units_without_any_weights_left_are_found(law: Any) -> None:
    model, x = law.randomised(Around(nn.LSTM(6, 8), lambda m, x: m(x)[0], 8)), law.normal(4, 2, 5)
    with torch.no_grad():
        for name, parameter in model.layer.named_parameters():
            parameter.view(4, 8, -1)[:, [2, 5]] = 0
            if name == "weight_hh_l0":
                parameter[:, [2, 5]] = 0
        model.read.weight[:, [2, 5]] = 0
    plan = secateur.plan_zeros(model, (x,))
    (dim,) = (dim for dim in plan.dims if dim.name == "layer")
    assert dim.leaving.tolist() == [2, 5]
    secateur.thin(model, plan)
    assert model.layer.hidden_size == 6


@pytest.mark.parametrize("cell", [False, True])
def test_the_export_builder_sees_them_too(law: Any, cell: bool) -> None:
    layer = nn.GRUCell(6, 8) if cell else nn.LSTM(6, 8, 2, bidirectional=True)
    body = (lambda m, x: m(x[0])) if cell else (lambda m, x: m(x)[0])
    model, x = law.randomised(Around(layer, body, 8 if cell else 16)), law.normal(4, 2, 5)
    plan = law.plan(model, x, builder="export")
    assert plan.attributes["layer", "hidden_size"] == (8, 4)
    law.exact(model, plan, (x,))


def test_multiply_adds_of_recurrent_layers() -> None:
    graph = secateur.trace(Language(nn.LSTM(6, 8, 2, bidirectional=True, proj_size=4)), (tokens(),))
    layers = 2 * (32 * 6 + 32 * 4 + 4 * 8) + 2 * (32 * 8 + 32 * 4 + 4 * 8)
    assert count_macs(graph, current().op_rules) == 4 * (layers + 8 * 11)  # of one of three examples


def test_a_schedule_goes_on_with_smaller_states(tmp_path: Path, law: Any) -> None:
    (tmp_path / "schedule.yaml").write_text(
        "version: 1\n"
        "pruners: {units: {class: agp, dims: '*', criterion: l1, initial_sparsity: 0.2, final_sparsity: 0.5}}\n"
        "extensions: {thinner: {class: thinner}}\n"
        "policies:\n"
        "  - {pruner: {instance_name: units}, starting_epoch: 0, ending_epoch: 3, frequency: 1}\n"
        "  - {extension: {instance_name: thinner}, epochs: [1, 3]}\n"
    )
    model = law.randomised(Stateful(nn.LSTM(6, 8, 2)))
    inputs = (tokens(), state_of((2, 4, 8), (2, 4, 8)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    scheduler = secateur.Scheduler.from_yaml(tmp_path / "schedule.yaml", model, optimizer, example_inputs=inputs)
    for epoch in range(4):
        model.train()
        scheduler.on_epoch_begin(epoch)
        for step in range(2):
            scheduler.on_minibatch_begin(epoch, step, 2)
            made, _ = model(*scheduler.network.inputs)
            loss = scheduler.before_backward(made.square().mean())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.on_minibatch_end(epoch, step, 2)
        scheduler.on_epoch_end(epoch)
    assert len(scheduler.reports) == 2
    assert model.layer.hidden_size == scheduler.network.inputs[1][0].shape[-1] == 4


def test_inputs_without_the_states_of_a_plan_are_refused(law: Any) -> None:
    model, inputs = law.randomised(Stateful(nn.GRU(6, 8))), (tokens(), state_of((1, 4, 8)))
    plan = law.plan(model, inputs)
    for given, what in ((None, "there is no such tensor"), (state_of((1, 4, 2)), r"it has the shape \(1, 4, 2\)")):
        with pytest.raises(secateur.ThinError, match=f"input tensor 1: the plan cuts a recurrent state.*{what}"):
            secateur.thin(model, plan, example_inputs=(tokens(), given))
    assert model.layer.hidden_size == 8
