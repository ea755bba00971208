"""Show that no kill, no damaged file and no second writer costs a checkpoint.

Kills: a child process trains, thins and saves in a loop and is killed by SIGKILL at a random moment, again and again;
after each kill the file must load into a fresh dense network, be one of the two states that the child had promised or
was just writing, and the next child goes on from it. Mutations: a good checkpoint is truncated, flipped, overwritten,
and rewritten in hostile ways with a checksum that is right (`hostile.py`); every load must end in a `CheckpointError`
that leaves network and optimizer as they were, or load all of it. No load may run code, write a file, or take more
than a limited amount of memory. Writers: two processes save to one file at once while a third one loads it.

    python benchmarks/robustness.py --kills 500 --mutations 2000

The exit status is 1 if anything was lost, undetected or half-changed.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent))

import hostile
from killing import adam, forked, kills, network, step, warm, writers

import secateur
from secateur.errors import CheckpointError
from secateur.plugins import current

MEMORY = 1 << 30
"""Bytes that loading a mutated file of some 100 kB may take beyond what the process has."""
FORBIDDEN = (
    "pickle.find_class",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "os.remove",
    "os.rename",
    "os.mkdir",
    "os.truncate",
    "subprocess.Popen",
    "socket.connect",
    "ctypes.dlopen",
    "code.__new__",
    "compile",
)
"""Audit events of Python that no load may cause."""


# -- mutations --------------------------------------------------------------------------------------------------------


def state(model: nn.Module, optimizer: torch.optim.Optimizer) -> Any:
    """All that must not change by a load that fails; comparable."""
    tensors = {name: (id(t), t.detach().numpy().tobytes()) for name, t in model.state_dict(keep_vars=True).items()}
    attributes = [(name, sorted(map(str, vars(module))), repr(module)) for name, module in model.named_modules()]
    moments = [
        [(key, value.numpy().tobytes() if isinstance(value, Tensor) else value) for key, value in held.items()]
        for held in optimizer.state.values()
    ]
    groups = [{**group, "params": list(map(id, group["params"]))} for group in optimizer.param_groups]
    return tensors, attributes, moments, groups, torch.get_rng_state().numpy().tobytes(), random.getstate()


def mutations(
    count: int, folder: Path, trials: Callable[[range], Iterator[int] | range], seed: int = 0
) -> dict[str, Any]:
    """Load mutated files, some dozens in each child process; counts by kind of mutation, and what went wrong."""
    good = folder / "good.safetensors"
    model = network()
    optimizer = adam(model)
    inputs = torch.randn(4, 3, 8, 8)
    step(model, optimizer, inputs)
    secateur.thin(model, secateur.plan(model, (inputs,)), optimizer)
    step(model, optimizer, inputs)
    rates = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 4])
    secateur.save(good, model, optimizer, lr_schedulers=rates, position={"epoch": 1}, extra={"note": [1.5, "x", None]})
    content = good.read_bytes()
    log = folder / "log"
    told: dict[str, Any] = {"kinds": {}, "wrong": []}
    batch = 50
    for first in trials(range(0, count, batch)):
        log.write_text("")
        wanted = range(first, min(first + batch, count))
        pid = forked(lambda wanted=wanted: _load_all(content, wanted, folder / "mutated.safetensors", log, seed))
        _, status = os.waitpid(pid, 0)
        lines = [line.split("\t") for line in log.read_text().splitlines()]
        for kind, outcome, what in lines:
            told["kinds"].setdefault(kind, Counter())[outcome] += 1
            if outcome == "wrong":
                told["wrong"].append(f"{kind}: {what}")
        if status or len(lines) != len(wanted):
            told["wrong"].append(f"the process died with status {status} after {lines[-1:]}")
    return told


def _load_all(content: bytes, numbers: range, path: Path, log: Path, seed: int) -> None:
    """Load mutated files; a line for each in the log."""
    events: list[str] = []
    listening = [False]

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if listening[0] and (event in FORBIDDEN or (event == "open" and "w" in str(arguments[1]))):
            events.append(event)

    model = network(9)
    optimizer = adam(model)
    step(model, optimizer, torch.ones(2, 3, 8, 8))
    rates = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 4])
    path.write_bytes(content)
    fresh = network(9)
    secateur.load(path, fresh, adam(fresh), rng=True)  # what torch imports late is imported now
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, resource.RLIM_INFINITY))
    sys.addaudithook(audit)
    with log.open("a", encoding="utf-8") as lines:
        for number in numbers:
            kind, mutated, sealed = hostile.mutation(content, random.Random(seed * 1_000_003 + number))
            path.write_bytes(mutated)
            before = state(model, optimizer)
            events.clear()
            listening[0] = True
            try:
                secateur.load(path, model, optimizer, lr_schedulers=rates, rng=True)
                outcome, what = "loaded", ""
            except CheckpointError as error:
                outcome, what = "refused", str(error)
            except Exception as error:  # noqa: BLE001 - any way to fail is a finding
                outcome, what = "wrong", f"{type(error).__name__}: {error} of {number}"
            listening[0] = False
            if events:
                outcome, what = "wrong", f"it caused {events} of {number}"
            elif outcome == "refused" and state(model, optimizer) != before:
                outcome, what = "wrong", f"half-changed by {number}: {what}"
            elif outcome == "loaded" and mutated != content and not sealed:
                outcome, what = "wrong", f"damage was not detected, of {number}"
            if outcome == "loaded":
                model(torch.zeros(2, 3, 8, 8))
                model = network(9)
                optimizer = adam(model)
                step(model, optimizer, torch.ones(2, 3, 8, 8))
                rates = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 4])
            lines.write(f"{kind}\t{outcome}\t{' '.join(what.split())[:300]}\n")
            lines.flush()


# -- the program ------------------------------------------------------------------------------------------------------


def main() -> int:
    """Run what was asked for, print the figures; 1 if anything went wrong."""
    parser = argparse.ArgumentParser(description="Kill, mutate, and write twice: no checkpoint is lost.")
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--mutations", type=int, default=2000)
    parser.add_argument("--writes", type=int, default=200, help="saves by each of two writers")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    current()  # plugins are found once, before any child
    console = Console()
    wrong: list[str] = []

    def shown(what: str) -> Callable[[range], Any]:
        return lambda numbers: track(numbers, what, console=console, transient=True)

    with tempfile.TemporaryDirectory(prefix="secateur-robustness-") as name:
        folder = Path(name)
        warm(folder)
        if args.kills:
            told = kills(args.kills, folder, shown("killing"), args.seed)
            console.print(
                f"{told['kills']} kills ({', '.join(f'{n} {phase}' for phase, n in told['phases'].items())}), "
                f"{told['saved']} checkpoints written: {len(told['lost'])} lost; {told['leftovers']} temporary folders "
                f"left by kills, {told['left in the end']} after the next save"
            )
            wrong += told["lost"] + ["temporary folders stay"] * bool(told["left in the end"])
        if args.writes:
            told = writers(args.writes, folder)
            console.print(f"two writers, {told['saves']} saves: {told['loads']} loads, {len(told['wrong'])} wrong")
            wrong += told["wrong"]
        if args.mutations:
            told = mutations(args.mutations, folder, shown("mutating"), args.seed)
            console.print(table(told["kinds"]))
            wrong += told["wrong"]
    for line in wrong[:20]:
        console.print(line, style="red", markup=False)
    return int(bool(wrong))


def table(kinds: dict[str, Counter[str]]) -> Table:
    """How loads of mutated files ended, by kind."""
    made = Table("mutation", "files", "refused", "loaded", "wrong")
    rows = sorted(kinds.items())
    for kind, ends in [*rows, ("all", sum((ends for _, ends in rows), Counter()))]:
        made.add_row(kind, *(str(number) for number in (ends.total(), ends["refused"], ends["loaded"], ends["wrong"])))
    return made


if __name__ == "__main__":
    sys.exit(main())
