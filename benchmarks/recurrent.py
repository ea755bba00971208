"""Recurrent networks: how exact thinning them is, how much faster they get, and what published schedules do to one.

    python benchmarks/recurrent.py --parts exact            # the whole grid, in float64 and float32
    python benchmarks/recurrent.py --parts cost             # speed-up beside the fall in multiply-adds, in turns
    python benchmarks/recurrent.py --parts schedules --folder .../distiller [--checkpoint base.safetensors --size 650]

*exact*: LSTM, GRU, RNN (tanh, relu), layers 1 to 3, one or two directions, with and without projection, biases, batch
first, tied words, states given and used; and the three cells in a loop. Half of the units of every dim leaves; the
masked and the thin network run on fresh tokens (and fresh states), longer than those the plan saw. Printed is the
largest difference, relative to the largest output: at most 1e-11 in float64 and 1e-5 in float32.

*cost*: embedding and LSTM of tied and of wide networks at half and a quarter of their units; the ratio of the speed-up
to the fall in multiply-adds, which should be at least 0.8.

*schedules*: the word language model follows schedules of Distiller that name `rnn.weight_*`; thresholds and sparsities
epoch by epoch. With a checkpoint of a trained tied network its weights are what is pruned.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

import secateur
from secateur.measure import latency_pair
from secateur.schedule.scheduler import Scheduler
from secateur_models.language import WordLanguageModel

CONSOLE = Console(width=140)
LIMITS = {torch.float64: 1e-11, torch.float32: 1e-5}
LAYERS: dict[str, Callable[..., nn.RNNBase]] = {
    "LSTM": nn.LSTM,
    "GRU": nn.GRU,
    "RNN tanh": nn.RNN,
    "RNN relu": lambda *sizes, **options: nn.RNN(*sizes, nonlinearity="relu", **options),
}
CELLS: dict[str, Callable[..., nn.RNNCellBase]] = {"LSTM": nn.LSTMCell, "GRU": nn.GRUCell, "RNN tanh": nn.RNNCell}
WORDS = 31


class Language(nn.Module):
    """Words, recurrent layers, words; it takes states and returns them."""

    def __init__(self, layer: nn.RNNBase, tied: bool) -> None:
        super().__init__()
        width = (layer.proj_size or layer.hidden_size) * (2 if layer.bidirectional else 1)
        self.encoder, self.rnn, self.decoder = nn.Embedding(WORDS, layer.input_size), layer, nn.Linear(width, WORDS)
        if tied:
            self.decoder.weight = self.encoder.weight

    def forward(self, tokens: Tensor, states: Any = None) -> Any:
        """Tokens to logits and the last states."""
        out, after = self.rnn(self.encoder(tokens), states)
        return self.decoder(out), after


class Loop(nn.Module):
    """Two cells, one behind the other, step by step."""

    def __init__(self, first: nn.RNNCellBase, second: nn.RNNCellBase) -> None:
        super().__init__()
        self.encoder, self.first, self.second = nn.Embedding(WORDS, first.input_size), first, second
        self.decoder = nn.Linear(second.hidden_size, WORDS)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (time, batch) to logits (batch, words) after the last."""
        one = two = None
        for step in self.encoder(tokens):
            one = self.first(step, one)
            two = self.second(one[0] if isinstance(one, tuple) else one, two)
        return self.decoder(two[0] if isinstance(two, tuple) else two)


def grid() -> Iterator[tuple[str, nn.Module, bool]]:
    """(name, network, whether it takes states)."""
    switches = (False, True)
    for kind, layers, both, projected, bias, first in product(LAYERS, (1, 2, 3), *[switches] * 4):
        if projected and kind != "LSTM":
            continue
        options = {"proj_size": 6} if projected else {}
        sizes = {"num_layers": layers, "bidirectional": both, "bias": bias, "batch_first": first}
        for tied in switches:
            width = (6 if projected else 12) * (2 if both else 1)
            if tied and both:
                continue  # the words would be as wide as both directions: that is the untied case with other sizes
            layer = LAYERS[kind](width if tied else 10, 12, **sizes, **options)
            yield kind, Language(layer, tied), True
    for kind, bias in product(CELLS, switches):
        yield f"{kind} cells", Loop(CELLS[kind](10, 12, bias=bias), CELLS[kind](12, 8, bias=bias)), False


def exact() -> bool:
    """Print the largest differences over the grid."""
    worst: dict[tuple[str, torch.dtype], float] = {}
    counts: dict[str, int] = {}
    for dtype in LIMITS:
        for number, (kind, model, stateful) in enumerate(grid()):
            torch.manual_seed(number)
            for parameter in model.parameters():
                nn.init.normal_(parameter, std=0.5)
            model = model.to(dtype).eval()
            found = difference(model, stateful)
            worst[kind, dtype] = max(worst.get((kind, dtype), 0.0), found)
            counts[kind] = counts.get(kind, 0) + (dtype == torch.float64)
    table = Table(title="masked and thin, half of the units gone: largest difference relative to the largest output")
    for column in ("", "networks", *(str(dtype).removeprefix("torch.") for dtype in LIMITS)):
        table.add_column(column, justify="left" if not column else "right")
    for kind, count in counts.items():
        table.add_row(kind, str(count), *(f"{worst[kind, dtype]:.1e}" for dtype in LIMITS))
    CONSOLE.print(table)
    return all(value <= LIMITS[dtype] for (_, dtype), value in worst.items())


def difference(model: nn.Module, stateful: bool) -> float:
    """Between the masked network and the thin one, on tokens and states that the plan did not see."""
    inputs = fresh(model, stateful, 4)
    plan = secateur.plan(model, inputs, prune=0.5, criterion="l2")
    if not plan.cuts:
        raise SystemExit(f"nothing leaves {model}: {plan}")
    masked = secateur.masked(model, plan).eval()
    inputs = fresh(model, stateful, 9)
    with torch.no_grad():
        expected = plan.states.cut_outputs(flat(masked(*plan.states.masked_inputs(inputs))))
        secateur.thin(model, plan)
        got = flat(model.eval()(*plan.states.cut_inputs(inputs)))
    largest = max(float(tensor.abs().max()) for tensor in expected)
    return max(float((a - b).abs().max()) for a, b in zip(expected, got, strict=True)) / largest


def fresh(model: nn.Module, stateful: bool, time: int) -> tuple[Any, ...]:
    """Random tokens, 3 texts of some length, and random states."""
    batch_first = stateful and model.rnn.batch_first
    tokens = torch.randint(WORDS, (3, time) if batch_first else (time, 3))
    if not stateful:
        return (tokens,)
    with torch.no_grad():
        states = model(tokens)[1]
    drawn = tuple(torch.randn_like(state) for state in (states if isinstance(states, tuple) else (states,)))
    return (tokens, drawn if isinstance(states, tuple) else drawn[0])


def flat(outputs: Any) -> list[Tensor]:
    """The tensors of nested outputs."""
    return torch.utils._pytree.tree_leaves(outputs)


class Encoded(nn.Module):
    """Embedding and recurrent layers alone."""

    def __init__(self, model: WordLanguageModel) -> None:
        super().__init__()
        self.encoder, self.rnn = model.encoder, model.rnn

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (time, batch) to (time, batch, hidden)."""
        return self.rnn(self.encoder(tokens))[0]


def cost(turns: int) -> None:
    """Print speed-ups beside the fall in multiply-adds."""
    table = Table(
        title=f"two LSTM layers, 35 words: times faster, medians of {turns} turns; threads: {torch.get_num_threads()}"
    )
    for column in ("units", "left", "batch", "multiply-adds", "faster", "ratio", "a net built so", "to it"):
        table.add_column(column, justify="right")
    for hidden, share, batch in product((200, 650, 1500), (0.5, 0.75), (1, 20)):
        dense = WordLanguageModel(10_000, hidden, hidden, tied=True).eval()
        thin = WordLanguageModel(10_000, hidden, hidden, tied=True).eval()
        tokens = torch.randint(10_000, (35, batch))
        secateur.thin(thin, secateur.plan(thin, (tokens, thin(tokens)[1]), prune=share), verify=False)
        left = thin.rnn.hidden_size
        built = WordLanguageModel(10_000, left, left, tied=True).eval()
        fewer = (hidden / left) ** 2
        faster = latency_pair(Encoded(dense), Encoded(thin), (tokens,), turns).ratio
        natural = latency_pair(Encoded(dense), Encoded(built), (tokens,), turns).ratio
        cells = (
            f"1/{fewer:.1f}",
            f"{faster:.2f}",
            f"{faster / fewer:.2f}",
            f"{natural:.2f}",
            f"{faster / natural:.2f}",
        )
        table.add_row(str(hidden), str(left), str(batch), *cells)
    CONSOLE.print(table)


def schedules(folder: Path, checkpoint: Path | None, size: int, vocabulary: int) -> None:
    """Follow each schedule that names the matrices of an LSTM, and print what it does."""
    for path in sorted(folder.glob("schedules/**/*.yaml")):
        if "rnn.weight" in path.read_text():
            follow(path, checkpoint, size, vocabulary)


def follow(path: Path, checkpoint: Path | None, size: int, vocabulary: int) -> None:
    """Call the callbacks of every epoch, without moving a weight."""
    torch.manual_seed(0)
    model = WordLanguageModel(vocabulary, size, size, tied=True)
    if checkpoint is not None:
        secateur.load(checkpoint, model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    scheduler = Scheduler.from_yaml(path, model, optimizer, (torch.randint(vocabulary, (5, 2)),))
    names = [name for name, value in model.named_parameters() if value.dim() == 2]
    table = Table(title=f"{path.name}: sparsity of {size} units (threshold)")
    for column in ("epoch", *names):
        table.add_column(column, justify="right")
    ends = max(policy.window.bounds[1] for policy in scheduler.schedule.policies)
    for epoch in range(ends):
        scheduler.on_epoch_begin(epoch)
        decided = {
            name: run.instance.threshold(run.moment) if hasattr(run.instance, "threshold") else None
            for run in scheduler.runs
            if run.moment is not None and run.policy.window.moment(epoch) is not None
            for pattern in run.instance.weights
            for name in scheduler.network.resolve(pattern)
        }
        scheduler.on_minibatch_begin(epoch, 0, 1)
        scheduler.on_minibatch_end(epoch, 0, 1)
        scheduler.on_epoch_end(epoch, metrics={"loss": 0.0})
        if decided:
            values = dict(model.named_parameters())
            table.add_row(str(epoch), *(said(values[name], decided, name) for name in names))
    CONSOLE.print(table)


def said(value: Tensor, decided: dict[str, float | None], name: str) -> str:
    """Sparsity, and the threshold if one was set now."""
    sparsity = f"{1 - int(torch.count_nonzero(value)) / value.numel():.4f}"
    threshold = decided.get(name)
    return sparsity if threshold is None else f"{sparsity} ({threshold:.4f})"


def main() -> int:
    """Do the parts that were asked for; 1 if something is less exact than promised."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=("exact", "cost", "schedules"), default=["exact", "cost"])
    parser.add_argument("--turns", type=int, default=30)
    parser.add_argument("--folder", type=Path, help="the folder with Distiller's schedules")
    parser.add_argument("--checkpoint", type=Path, help="a trained tied network")
    parser.add_argument("--size", type=int, default=650)
    parser.add_argument("--vocabulary", type=int, default=33_278)
    arguments = parser.parse_args()
    good = "exact" not in arguments.parts or exact()
    if "cost" in arguments.parts:
        cost(arguments.turns)
    if "schedules" in arguments.parts:
        if arguments.folder is None:
            parser.error("give --folder")
        schedules(arguments.folder, arguments.checkpoint, arguments.size, arguments.vocabulary)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
