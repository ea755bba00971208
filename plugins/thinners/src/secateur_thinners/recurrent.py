"""Recurrent layers: LSTM, GRU and Elman networks, over whole sequences or step by step.

Hidden unit k is row k of every gate in the matrices and biases of a layer, column k of its recurrent matrix, entry k of
its state. With its rows zero a unit of an LSTM keeps the cell state c = f * c + i * g = c / 2, one of a GRU h / 2, and
one of an Elman network is tanh(0) = relu(0) = 0: so it is silent if its initial state is. A projection (LSTM) makes
h = W_hr * (o * tanh(c)): what is projected is then read in place of the hidden units. All layers and directions of
one call share one state tensor and one hidden size, so that unit k of each leaves together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from attrs import frozen

from secateur.coupling.labels import Axis, Labels, fixed
from secateur.coupling.site import Site, plain
from secateur.graph.ir import Ref
from secateur.hookspecs import hookimpl
from secateur.records import LayerAdapter, OpRule
from secateur_thinners.table import rule

if TYPE_CHECKING:
    from secateur.graph.ir import Graph, Op

GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}
"""Blocks of rows in the matrices of each kind: i f g o; r z n; one."""
STEPS = "the recurrence runs along it"
STATES = "each layer and direction has a state of its own"
GIVEN = "its state is an input of the model, which would have to return it beside results, and only pass it on"
NARROWER = "the units of a layer with a projection must stay more than what they are projected to"
PADDED = "sequences of several lengths are packed along it"


@frozen(eq=False)
class Weights:
    """The parameters of one layer in one direction."""

    input: Labels
    recurrent: Labels
    biases: tuple[Labels, ...]
    projection: Labels | None

    @property
    def silent(self) -> bool:
        """Whether all rows of the units that leave are zero."""
        return all(tensor[0].zero for tensor in (self.input, self.recurrent, *self.biases))


@frozen(eq=False)
class State:
    """The axes of a state: `hidden` of the units themselves, `given` of what a layer gives and reads again."""

    hidden: Axis
    given: Axis

    @classmethod
    def of(cls, site: Site, kind: str, tensors: Sequence[Labels], weights: Sequence[Weights]) -> State:
        """The state of a call: h, or h and c."""
        for reason, hint in filter(None, (_stays(site, tensor) for tensor in tensors)):
            for one in weights:
                site.fix(one.recurrent[1], reason, hint)
        given = tensors[0][-1]
        if weights[0].projection is not None:
            return cls(tensors[1][-1], given)
        hidden = given
        for other in tensors[1:]:
            hidden = site.tie(hidden, other[-1])
        carried = {"lstm": tensors[-1][-1].zero, "gru": given.zero}.get(kind, True)
        hidden = Axis(hidden.atoms, carried, free=hidden.free)
        return cls(hidden, hidden)

    def silenced(self, weights: Sequence[Weights]) -> State:
        """The state after a step: zero where all rows that write it are, and where it was."""
        silent = all(one.silent for one in weights)
        hidden = self.hidden if silent else self.hidden.nonzero()
        projections = [one.projection for one in weights if one.projection is not None]
        given = Axis(self.given.atoms, all(p[0].zero for p in projections)) if projections else hidden
        return State(hidden, given)


def _stays(site: Site, state: Labels) -> tuple[str, str] | None:
    """Why the units of a state stay, and what to do about it; None if they do not, or an earlier step said so."""
    if state[-1].free or len(state[-1]) == 1:
        return None
    if state.name in site.graph.inputs:
        return GIVEN, ""
    op = site.graph.producer.get(state.name)
    if op is None or op.kind.removesuffix("_cell") in GATES:
        return None
    return f"its initial state stays, which {op.kind} makes at {op.place}", "take its size from the layer"


def step(site: Site, kind: str, read: Axis, state: State, weights: Weights) -> None:
    """One layer in one direction: it reads its input and its state, and writes its state."""
    rows = site.merge(fixed(GATES[kind]), state.hidden)
    for tensor in (weights.input, weights.recurrent, *weights.biases):
        site.tie(rows, tensor[0])
    site.contract(read, weights.input[1], reads=site.learned(weights.input))
    site.contract(state.given, weights.recurrent[1], reads=site.learned(weights.recurrent))
    if weights.projection is not None:
        site.contract(state.hidden, weights.projection[1], reads=site.learned(weights.projection))
        site.tie(state.given, weights.projection[0])
        site.exceed(state.hidden, state.given, NARROWER)


def sequence(site: Site) -> list[Sequence[Axis]]:
    """A whole sequence, padded [time, batch, channels] or packed [entries, channels], through all layers.

    Returns what the last layer gives, and the states [layers * directions, batch, units] after the last step.
    """
    kind = site.op.kind
    data, batch_sizes, states, parameters, biased, directions = _arguments(site)
    packed = batch_sizes is not None
    tensors = states if isinstance(states, tuple) else (states,)
    if len(data) != (2 if packed else 3) or any(len(tensor) != 3 for tensor in tensors):
        raise NotImplementedError(f"{kind} of a tensor of {len(data)} axes")
    groups = list(_weights(parameters, biased, len(parameters) // (tensors[0].shape[0])))
    state = State.of(site, kind, tensors, groups)
    after = state.silenced(groups)
    read = data[-1]
    for start in range(0, len(groups), directions):
        for weights in groups[start : start + directions]:
            step(site, kind, read, state, weights)
        read = site.merge(fixed(directions), after.given)
    for tensor in tensors:
        site.fix(tensor[0], STATES)
    if packed:
        batch = fixed(tensors[0].shape[1])
        for axis in (data[0], *(tensor[1] for tensor in tensors)):
            site.fix(axis, PADDED)
        made: list[Sequence[Axis]] = [[fixed(len(data[0])), read]]
    else:
        time = 1 if plain(site["args"][-1]) else 0
        site.fix(data[time], STEPS)
        batch = data[1 - time]
        for tensor in tensors:
            batch = site.tie(batch, tensor[1])
        batch = batch.nonzero()
        places = [fixed(len(data[time])), batch]
        made = [[*(places[::-1] if time else places), read]]
    layers = fixed(len(groups))
    made.append([layers, batch, after.given])
    return [*made, [layers, batch, after.hidden]] if kind == "lstm" else made


def _arguments(site: Site) -> tuple[Labels, Labels | None, Any, tuple[Labels, ...], bool, int]:
    """(data, batch sizes if it is packed, states, parameters, whether there are biases, directions) of a call."""
    arguments = site["args"]
    if len(arguments) != 9:
        raise NotImplementedError(f"{site.op.kind} with {len(arguments)} arguments instead of 9")
    if isinstance(arguments[3], tuple):
        data, sizes, states, parameters, biased, _, _, _, both = arguments
    else:
        data, states, parameters, biased, _, _, _, both, _ = arguments
        sizes = None
    return data, sizes, states, parameters, bool(plain(biased)), 2 if plain(both) else 1


def _weights(parameters: Sequence[Labels], biased: bool, each: int) -> Iterator[Weights]:
    """The parameters of each layer and direction, `each` of them: two matrices, biases, perhaps a projection."""
    for start in range(0, len(parameters), each):
        matrices, rest = parameters[start : start + 2], list(parameters[start + 2 : start + each])
        biases = (rest.pop(0), rest.pop(0)) if biased else ()
        yield Weights(matrices[0], matrices[1], biases, rest[0] if rest else None)


def states(op: Op) -> tuple[Sequence[str], Sequence[str]]:
    """The states that a call takes, and those that it gives: all that a cell does, all but the first of a layer."""
    if op.kind.endswith("_cell"):
        taken = op.kwargs["hx"] if "hx" in op.kwargs else op.args[1]
        return [ref.name for ref in _refs(taken)], op.outputs
    packed = len(op.args) > 3 and not isinstance(op.args[3], bool)
    return [ref.name for ref in _refs(op.args[1 + packed : 2 + packed])], op.outputs[1:]


def cell(site: Site) -> Any:
    """One step of one layer: the input is [batch, channels], each state [batch, units]."""
    kind = site.op.kind.removesuffix("_cell")
    data, states = site["input"], site["hx"]
    tensors = states if isinstance(states, tuple) else (states,)
    if any(len(tensor) != 2 for tensor in (data, *tensors)):
        raise NotImplementedError(f"{kind} of a tensor of {len(data)} axes")
    biases = tuple(site[name] for name in ("b_ih", "b_hh") if site[name] is not None)
    weights = Weights(site["w_ih"], site["w_hh"], biases, None)
    state = State.of(site, kind, tensors, [weights])
    step(site, kind, data[-1], state, weights)
    batch = data[0]
    for tensor in tensors:
        batch = site.tie(batch, tensor[0])
    made = [batch.nonzero(), state.silenced([weights]).hidden]
    return [made for _ in site.shapes] if len(site.shapes) > 1 else made


def pack(site: Site) -> list[Sequence[Axis]]:
    """Padded sequences [time, batch, ...] become [entries, ...], and how many of them there are at each time."""
    data = site["input"]
    for axis in data.axes[:2]:
        site.fix(axis, PADDED)
    return [[fixed(site.shape[0]), *data.axes[2:]], [fixed(length) for length in site.shapes[1]]]


def pad(site: Site) -> list[Sequence[Axis]]:
    """Packed sequences become padded ones again, and their lengths."""
    data = site["input"]
    site.fix(data[0], PADDED)
    rest = data.axes[1:] if plain(site["padding_value"]) == 0 else [axis.nonzero() for axis in data.axes[1:]]
    return [[*(fixed(length) for length in site.shape[:2]), *rest], [fixed(length) for length in site.shapes[1]]]


def recurrent_macs(op: Op, graph: Graph) -> int:
    """Every entry of every matrix, for each entry of each sequence."""
    shape = graph.values[op.inputs[0]].shape
    steps = 1
    for length in shape[:-1]:
        steps *= length
    matrices = {leaf.name for leaf in _refs(op.args) if graph.values[leaf.name].kind == "parameter"}
    lengths = [graph.values[name].shape for name in matrices]
    return steps * sum(shape[0] * shape[1] for shape in lengths if len(shape) == 2)


def _refs(argument: Any) -> Iterator[Ref]:
    if isinstance(argument, Ref):
        yield argument
    elif isinstance(argument, tuple | list):
        for entry in argument:
            yield from _refs(entry)


@hookimpl
def secateur_op_rules() -> list[OpRule]:
    """Rules for recurrent layers and cells, and for packed sequences."""
    layers = tuple(GATES)
    return [
        OpRule(name="recurrent", ops=layers, signature="*args", apply=sequence, macs=recurrent_macs, states=states),
        OpRule(
            name="recurrent_cell",
            ops=tuple(f"{kind}_cell" for kind in layers),
            signature="input, hx, w_ih, w_hh, b_ih=None, b_hh=None",
            apply=cell,
            macs=recurrent_macs,
            states=states,
        ),
        rule("pack_padded_sequence", "input, lengths, batch_first=False", pack),
        rule("pad_packed_sequence", "input|data, batch_sizes, batch_first, padding_value, total_length", pad),
    ]


@hookimpl
def secateur_layer_adapters() -> list[LayerAdapter]:
    """The sizes that recurrent layers and their cells hold."""
    home = "torch.nn.modules.rnn."
    layer = {
        "input_size": "weight_ih_l0:1",
        "hidden_size": "weight_hr_l0:1|weight_hh_l0:1",
        "proj_size": "weight_hr_l0:0",
    }
    step_by_step = {"input_size": "weight_ih:1", "hidden_size": "weight_hh:1"}
    return [
        LayerAdapter(name="recurrent", types=tuple(home + name for name in ("LSTM", "GRU", "RNN")), mirrors=layer),
        LayerAdapter(
            name="recurrent_cell",
            types=tuple(home + name for name in ("LSTMCell", "GRUCell", "RNNCell")),
            mirrors=step_by_step,
        ),
    ]
