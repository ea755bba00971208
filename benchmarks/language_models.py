"""Prune a word language model in every way there is, thin it, and compare with a small one trained as long.

The text is WikiText-2's, of which only two of three files are used, so that two cores are enough: networks are trained
on the text of `valid.txt` (217,646 words), whose words are the vocabulary; the first eighth of the lines of `test.txt`
judges epochs, the rest is the test. `--text` names the folder, it is not part of this repository.

All networks are tied LSTMs of two layers. One dense network is trained for some epochs (`base`); from there, each row
is trained for as many epochs more:

    dense       as it is
    agp70 …     AGP over single weights of the recurrent matrices and the embedding (Zhu & Gupta 2017)
    baidu       the threshold that rises, with q the 90th percentile of |w| of the base (Narang et al. 2017)
    …-rnn       the same over the recurrent matrices alone
    iss2, iss4  hidden units: group lasso over all their slices, AGP over units by the L2 norm of the same slices, and
                thinning to a half and a quarter of the multiply-adds of the whole network (Wen et al. 2018)
    small2, …   dense networks of the thin sizes, trained from scratch for both phases: as long, or as many words

Each row is a run of `secateur run` by a schedule that is written beside its results, so that what was done can be read
there. A row that is done is not done again. Perplexity is of the test text in one pass, in 10 columns. Whether two rows
differ is said twice: by the standard error of the difference of their mean losses over blocks of 350 words of all of
that text (paired, from 10,000 bootstrap samples), and by the spread between seeds, for rows that have several.

    python benchmarks/language_models.py --text .../wikitext-2 --output runs/lm --size 200 --seed 0 --seed 1
    python benchmarks/language_models.py --text .../wikitext-2 --output runs/lm --size 650 --table

`--rows dense iss2` runs only some, `--table` runs nothing and prints what there is.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from attrs import frozen
from rich.console import Console
from rich.table import Table

import secateur
from secateur.measure import latency_pair
from secateur.records import TextSplit
from secateur.summaries import percentiles
from secateur.training.tasks.language import LanguageModelling
from secateur_models import text_folder
from secateur_models.language import WordLanguageModel

BPTT = 35
BOOTSTRAPS = 10_000
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "100000000000"}
"""One thread; and memory is used again: glibc gives large blocks back after each step, to get them page by page."""
CONSOLE = Console(width=150, soft_wrap=True)


@frozen
class Setting:
    """How networks of one size are trained."""

    hidden: int
    epochs: tuple[int, int]
    """Of the base, and of each row after it."""
    rate: float
    dropout: float
    lasso: float
    batch: int = 20


SETTINGS = {
    200: Setting(200, (5, 10), 2e-3, 0.5, 1e-4),
    650: Setting(650, (2, 6), 1e-3, 0.6, 1e-4),
}
ROWS = (
    "base",
    "dense",
    "agp70",
    "agp80",
    "agp90",
    "baidu",
    "agp90-rnn",
    "baidu-rnn",
    "iss2",
    "iss4",
    "small2-base",
    "small2",
    "small4-base",
    "small4",
)


def prepare(text: Path, folder: Path) -> Path:
    """Lay out the two files as a corpus of three; returns its folder."""
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    lines = (text / "test.txt").read_text(encoding="utf-8").splitlines(keepends=True)
    eighth = len(lines) // 8
    (corpus / "train.txt").write_text((text / "valid.txt").read_text(encoding="utf-8"), encoding="utf-8")
    (corpus / "valid.txt").write_text("".join(lines[:eighth]), encoding="utf-8")
    (corpus / "test.txt").write_text("".join(lines[eighth:]), encoding="utf-8")
    return corpus


def macs(vocabulary: int, hidden: int) -> int:
    """Multiply-adds of a word in a tied network of two LSTM layers (an embedding has none)."""
    return 2 * 8 * hidden * hidden + vocabulary * hidden


def width_for(vocabulary: int, hidden: int, factor: int) -> int:
    """The largest width whose multiply-adds are the wanted part."""
    return max(n for n in range(1, hidden) if macs(vocabulary, n) * factor <= macs(vocabulary, hidden))


class Rows:
    """The schedules of one size and seed."""

    def __init__(self, corpus: Path, folder: Path, size: int, seed: int) -> None:
        self.setting, self.seed, self.corpus = SETTINGS[size], seed, corpus
        self.folder = folder / f"{size}-seed{seed}"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.vocabulary = text_folder.sizes(path=corpus)["vocabulary"]
        self.first, self.second = self.setting.epochs
        self.ramp = max(2, round(0.6 * self.second))
        """Epochs in which pruning goes on; the rest is fine-tuning."""

    def run(self, row: str) -> None:
        """Do a row, unless it is done."""
        output = self.folder / row
        if (output / "summary.json").exists():
            return
        schedule = self.folder / f"{row}.yaml"
        schedule.write_text(yaml.safe_dump(self.schedule(row), sort_keys=False))
        command = [sys.executable, "-m", "secateur", "run", str(schedule), "--output", str(output)]
        if (output / "checkpoint.safetensors").exists():
            command.append("--resume")
        CONSOLE.rule(f"{self.setting.hidden} units, seed {self.seed}: {row}")
        subprocess.run(command, check=True, env=os.environ | ENVIRONMENT)

    def schedule(self, row: str) -> dict[str, Any]:
        """The schedule of a row."""
        factor = int(row[5]) if row.startswith("small") else None
        width = self.setting.hidden if factor is None else self.narrow(factor)
        is_base = row.endswith("base")
        base = None if is_base else "base" if factor is None else f"small{factor}-base"
        made: dict[str, Any] = {"version": 1, "run": self.section(width, base)}
        policies: list[dict[str, Any]] = []
        if not is_base:
            made["lr_schedulers"] = {"cosine": {"class": "CosineAnnealingLR", "T_max": self.second}}
            policies.append({"lr_scheduler": {"instance_name": "cosine"}, **window(self.second)})
        for name, key, text in self.pruning(row):
            made.setdefault(f"{key}s", {})[name] = text
            when = {"epochs": [self.ramp]} if key == "extension" else window(self.ramp)
            policies.append({key: {"instance_name": name}, **when})
        return {**made, "policies": policies} if policies else made

    def section(self, width: int, base: str | None) -> dict[str, Any]:
        """The section `run`; `base` is the row whose weights it begins with."""
        setting = self.setting
        arguments = {"embedding": width, "hidden": width, "tied": True, "dropout": setting.dropout}
        model: dict[str, Any] = {"name": "word_lm", "args": arguments}
        if base is not None:
            model["checkpoint"] = str(self.folder / base / "thin.safetensors")
        return {
            "model": model,
            "data": {
                "name": "text_folder",
                "args": {"path": str(self.corpus)},
                "batch_size": setting.batch,
                "bptt": BPTT,
            },
            "optimizer": {"class": "Adam", "lr": setting.rate},
            "clip_grad_norm": 1.0,
            "autocast": "bfloat16",
            "epochs": self.first if base is None else self.second,
            "seed": self.seed,
        }

    def pruning(self, row: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """(name, kind, text) of the pruners, regularizers and extensions of a row."""
        method, _, only = row.partition("-")
        if method.startswith("agp"):
            shares = {"initial_sparsity": 0.05, "final_sparsity": int(method[3:]) / 100}
            weights = ["rnn.weight_*", *([] if only else ["encoder.weight"])]
            yield "agp", "pruner", {"class": "level", **shares, "weights": weights}
        elif method == "baidu":
            for name, q in self.quantiles().items():
                if not name.startswith(only):
                    continue
                text = {
                    "class": "baidu_rnn",
                    "q": round(q, 5),
                    "ramp_epoch_offset": self.ramp // 2,
                    "ramp_slope_mult": 2,
                }
                yield name.replace(".", "_"), "pruner", {**text, "weights": [name]}
        elif row.startswith("iss"):
            hidden = self.setting.hidden
            shares = {"initial_sparsity": 0.05, "final_sparsity": (hidden - self.narrow(int(row[3:]))) / hidden}
            yield "units", "pruner", {"class": "agp", "dims": "*", "criterion": "group_l2", **shares}
            yield "lasso", "regularizer", {"class": "unit_lasso", "dims": "*", "strength": self.setting.lasso}
            yield "thinner", "extension", {"class": "thinner"}

    def quantiles(self) -> dict[str, float]:
        """The 90th percentile of |w| of the matrices of the base, as Baidu's pruner wants it."""
        model = WordLanguageModel(self.vocabulary, self.setting.hidden, self.setting.hidden, tied=True)
        secateur.load(self.folder / "base" / "thin.safetensors", model)
        table = percentiles(model, 90.0)
        return {str(row[0]): float(row[-1]) for row in table.rows}

    def network(self, row: str) -> WordLanguageModel:
        """What a row came to."""
        width = self.narrow(int(row[5])) if row.startswith("small") else self.setting.hidden
        model = WordLanguageModel(self.vocabulary, width, width, tied=True, dropout=self.setting.dropout)
        return secateur.load(self.folder / row / "thin.safetensors", model).eval()

    def done(self, row: str) -> bool:
        """Whether there is a result."""
        return (self.folder / row / "summary.json").exists()

    def narrow(self, factor: int) -> int:
        """The width of a network with so many times fewer multiply-adds."""
        return width_for(self.vocabulary, self.setting.hidden, factor)


class Encoded(torch.nn.Module):
    """The embedding and the recurrent layers alone."""

    def __init__(self, model: WordLanguageModel) -> None:
        super().__init__()
        self.encoder, self.rnn = model.encoder, model.rnn

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens (time, batch) to (time, batch, hidden)."""
        return self.rnn(self.encoder(tokens))[0]


def losses(rows: Rows, row: str, tokens: torch.Tensor) -> np.ndarray[Any, Any]:
    """The mean loss of each window of the text but the last, which is short, (windows,); kept beside the row."""
    kept = rows.folder / row / "losses.npy"
    if not kept.exists():
        task, model, found, carried = LanguageModelling(BPTT), rows.network(row), [], None
        with torch.no_grad():
            for batch in task.windows(TextSplit(tokens=tokens), 10):
                made = task.forward(model, batch, carried)
                carried = made.carried
                found.append(float(made.loss))
        np.save(kept, np.array(found[:-1]))
    return np.load(kept)


def error_of_mean(differences: np.ndarray[Any, Any]) -> float:
    """The standard error of the mean by the bootstrap."""
    drawn = np.random.default_rng(0).integers(len(differences), size=(BOOTSTRAPS, len(differences)))
    return float(differences[drawn].mean(1).std())


def lstm_macs(width: int) -> int:
    """Multiply-adds of a word in two LSTM layers."""
    return 2 * 8 * width * width


def speed(dense: torch.nn.Module, thin: torch.nn.Module, batch: int, vocabulary: int) -> float:
    """How many times faster, in turns."""
    tokens = torch.randint(vocabulary, (BPTT, batch), generator=torch.Generator().manual_seed(0))
    return latency_pair(dense, thin, (tokens,), repeats=40).ratio


def show(seeds: list[Rows]) -> None:
    """Print the table."""
    first = seeds[0]
    text = text_folder.load("test", path=first.corpus).tokens
    kept: dict[tuple[str, int], np.ndarray[Any, Any]] = {}
    table = Table(title=f"two LSTM layers of {first.setting.hidden} units, tied; {len(text):,} words of test")
    for column in (
        "",
        "parameters",
        "not zero",
        "MACs",
        "LSTM MACs",
        "test perplexity",
        "log ppl - dense",
        "to its small one",
    ):
        table.add_column(column, justify="left" if not column else "right")
    timings = Table(title="times faster than dense (times fewer multiply-adds), medians of 40 turns")
    for column in ("", *(f"{what}, batch {batch}" for what in ("network", "LSTM") for batch in (1, 20))):
        timings.add_column(column, justify="left" if not column else "right")
    for rows, row in product(seeds, ROWS):
        if rows.done(row):
            kept[row, rows.seed] = losses(rows, row, text)
    for row in ROWS:
        done = [rows for rows in seeds if rows.done(row)]
        if not done or (row.startswith("small") and row.endswith("base")):
            continue
        model = done[0].network(row)
        width = model.rnn.hidden_size
        share = macs(first.vocabulary, width) / macs(first.vocabulary, first.setting.hidden)
        parameters = sum(parameter.numel() for parameter in model.parameters())
        live = sum(int(torch.count_nonzero(parameter)) for parameter in model.parameters())
        results = [json.loads((rows.folder / row / "summary.json").read_text()) for rows in done]
        perplexities = ", ".join(f"{result['final_perplexity']:.1f}" for result in results)
        peer = f"small{row[3:]}" if row.startswith("iss") else ""
        table.add_row(
            row,
            f"{parameters:,}",
            f"{live / parameters:.1%}",
            f"{share:.1%}",
            f"{lstm_macs(width) / lstm_macs(first.setting.hidden):.1%}",
            perplexities,
            apart(kept, row, "dense"),
            apart(kept, row, peer),
        )
        if width != first.setting.hidden and first.done("dense"):
            dense = first.network("dense")
            cells = [f"{speed(dense, model, batch, first.vocabulary):.2f} ({1 / share:.2f})" for batch in (1, 20)]
            fewer = lstm_macs(first.setting.hidden) / lstm_macs(width)
            alone = [f"{speed(Encoded(dense), Encoded(model), b, first.vocabulary):.2f} ({fewer:.2f})" for b in (1, 20)]
            timings.add_row(row, *cells, *alone)
    CONSOLE.print(table)
    CONSOLE.print(timings)


def apart(kept: dict[tuple[str, int], np.ndarray[Any, Any]], row: str, other: str) -> str:
    """The mean difference of the losses, and its standard error, for each seed that has both rows."""
    pairs = [(kept[row, seed], kept[other, seed]) for name, seed in kept if name == row and (other, seed) in kept]
    return ", ".join(f"{(a - b).mean():+.3f} ± {error_of_mean(a - b):.3f}" for a, b in pairs) if row != other else ""


def main() -> int:
    """Run the rows that were asked for, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path, required=True, help="folder with valid.txt and test.txt of WikiText-2")
    parser.add_argument("--output", type=Path, default=Path("runs/language"))
    parser.add_argument("--size", type=int, choices=SETTINGS, default=200)
    parser.add_argument("--seed", type=int, action="append")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--table", action="store_true", help="run nothing, print the table of what there is")
    arguments = parser.parse_args()
    corpus = prepare(arguments.text, arguments.output)
    made = [Rows(corpus, arguments.output, arguments.size, seed) for seed in arguments.seed or [0]]
    if not arguments.table:
        for rows in made:
            for row in arguments.rows:
                rows.run(row)
    show(made)
    return 0


def window(end: int) -> dict[str, int]:
    """Every epoch of the first ones."""
    return {"starting_epoch": 0, "ending_epoch": end, "frequency": 1}


if __name__ == "__main__":
    sys.exit(main())
