"""Check the main law on many random networks: `python -m secateur.testing.fuzz --seeds 0:20000 --jobs 2`.

Each seed is one network and one choice of what leaves. A seed that fails is shrunk to a minimal program, which is
printed and can be run as it is. At the end: how many networks, what was wrong, in how many something was
refused, and why.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import define, evolve, field, frozen

from secateur.coupling.engine import UNUSED
from secateur.coupling.facts import MEETS_FIXED
from secateur.coupling.refusals import INDIRECT
from secateur.errors import PlanError, SecateurError
from secateur.testing.networks import Program, random_network
from secateur.testing.shrinking import check_program, shrink
from secateur.thinning.plan import Plan

if TYPE_CHECKING:
    from rich.console import Console

CHUNK = 40
"""Seeds that a process checks at a time."""
SHRUNK = 3
"""Failing seeds of one kind that are shrunk; the others are only named."""
NATURAL = (MEETS_FIXED, INDIRECT, UNUSED, "it is an output of the model", "rows are looked up by index")
"""Reasons that every network gives."""


@frozen
class Failure:
    """One seed that failed: `kind` is the type of what was raised and the beginning of what it says."""

    seed: int
    kind: str
    message: str
    program: str = ""
    """The minimal program, if it was shrunk."""


@define
class Summary:
    """What a run found."""

    networks: int = 0
    pruned: int = 0
    """Networks from which something left."""
    refused: int = 0
    """Networks in which something was refused that is neither an input nor an output."""
    renormalised: int = 0
    reasons: Counter[str] = field(factory=Counter)
    """How many networks gave each reason."""
    failures: list[Failure] = field(factory=list)
    seconds: float = 0.0

    def add(self, other: Summary) -> None:
        """Add what another process found."""
        self.networks += other.networks
        self.pruned += other.pruned
        self.refused += other.refused
        self.renormalised += other.renormalised
        self.reasons += other.reasons
        self.failures += other.failures

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "networks": self.networks,
            "wrong": len(self.failures),
            "pruned": self.pruned,
            "refused": self.refused,
            "renormalised": self.renormalised,
            "seconds": round(self.seconds, 1),
            "reasons": dict(self.reasons.most_common()),
            "failures": [
                {"seed": f.seed, "kind": f.kind, "message": f.message, "program": f.program} for f in self.failures
            ],
        }


def program_of(seed: int, renormalise: float = 0.0) -> Program:
    """The program of a seed; for a share of the seeds its plan renormalises."""
    program = random_network(seed)
    if (seed * 7919) % 1000 < renormalise * 1000:
        return evolve(program, plan=program.plan.replace(")", ", renormalise=True)"))
    return program


def check_seeds(seeds: Sequence[int], renormalise: float = 0.0) -> Summary:
    """Check the law on the network of every seed, in this process."""
    summary = Summary()
    for seed in seeds:
        program = program_of(seed, renormalise)
        summary.networks += 1
        summary.renormalised += "renormalise=True" in program.plan
        try:
            plan = check_program(program)
        except PlanError as error:
            summary.refused += 1
            summary.reasons[f"no plan: {normalised(error.what)}"] += 1
            continue
        except Exception as error:  # noqa: BLE001 - a crash of any kind is a finding
            text = " ".join(str(error).split())
            summary.failures.append(Failure(seed, f"{type(error).__name__}: {normalised(text)[:60]}", text))
            continue
        reasons = set(reasons_of(plan))
        summary.pruned += bool(plan.cuts)
        summary.refused += bool(reasons)
        summary.reasons.update(reasons)
    return summary


def reasons_of(plan: Plan) -> Iterator[str]:
    """The reasons of a plan, without names and places, except those that every network gives."""
    for refusal in plan.refusals:
        for reason in refusal.reasons:
            what, _, where = reason.partition(", in ")
            if not what.startswith(NATURAL):
                operation = where.partition(" at ")[0]
                yield normalised(what) + (f" [{operation}]" if operation else "")


def normalised(text: str) -> str:
    """A message without the names and numbers of one network.

    >>> normalised("the attribute heads3 would have to take two values")
    'the attribute heads# would have to take two values'
    """
    return re.sub(r"(\b|(?<=[a-z]))\d+(\.\d+)?(e[+-]?\d+)?", "#", text)


def shrunk(failure: Failure, renormalise: float = 0.0) -> Failure:
    """The failure with its minimal program."""
    return evolve(failure, program=str(shrink(program_of(failure.seed, renormalise))))


def fuzz(seeds: range, *, jobs: int = 1, renormalise: float = 0.0, console: Console | None = None) -> Summary:
    """Check the law on the networks of many seeds, in several processes, with a bar of progress.

    `renormalise`: the share of plans that may renormalise. Stopped by the user, it gives what it has.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    start, summary = time.perf_counter(), Summary()
    chunks = iter([list(seeds[i : i + CHUNK]) for i in range(0, len(seeds), CHUNK)])
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_one_thread)
    try:
        with Progress(*columns, console=console, transient=True) as progress:
            task = progress.add_task("networks", total=len(seeds))
            pending: set[Future[Summary]] = set()
            while True:
                for chunk in chunks:
                    pending.add(pool.submit(check_seeds, chunk, renormalise))
                    if len(pending) >= 2 * jobs:
                        break
                if not pending:
                    break
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                for each in done:
                    summary.add(each.result())
                text = f"networks, {len(summary.failures)} wrong"
                progress.update(task, completed=summary.networks, description=text)
            progress.update(task, description="shrinking")
            summary.failures = _shrunk_in(pool, summary.failures, renormalise)
    except KeyboardInterrupt:
        pass
    finally:
        pool.shutdown(cancel_futures=True)
    summary.seconds = time.perf_counter() - start
    return summary


def _shrunk_in(pool: ProcessPoolExecutor, failures: list[Failure], renormalise: float) -> list[Failure]:
    seen: Counter[str] = Counter()
    futures: list[Future[Failure] | Failure] = []
    for failure in sorted(failures, key=lambda failure: failure.seed):
        seen[failure.kind] += 1
        wanted = seen[failure.kind] <= SHRUNK
        futures.append(pool.submit(shrunk, failure, renormalise) if wanted else failure)
    return [each.result() if isinstance(each, Future) else each for each in futures]


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def report(summary: Summary, console: Console) -> None:
    """Print what a run found."""
    from rich import box
    from rich.table import Table

    for failure in summary.failures:
        console.rule(f"seed {failure.seed}")
        console.print(failure.message, markup=False, soft_wrap=True)
        if failure.program:
            console.print(failure.program, markup=False, soft_wrap=True)
    count = max(summary.networks, 1)
    console.print(
        f"{summary.networks:,} networks in {summary.seconds:.0f} s ({summary.networks / max(summary.seconds, 1e-9):.0f}"
        f" per second), {summary.renormalised:,} with renormalising; wrong: {len(summary.failures)}; "
        f"something left in {summary.pruned / count:.1%}, something was refused in {summary.refused / count:.1%}"
    )
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("networks", justify="right")
    table.add_column("what was refused, and why")
    for reason, number in summary.reasons.most_common(40):
        table.add_row(str(number), reason)
    if summary.reasons:
        console.print(table, markup=False)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; the exit status is 1 if anything was wrong."""
    from rich.console import Console

    parser = argparse.ArgumentParser(prog="python -m secateur.testing.fuzz", description=__doc__)
    parser.add_argument("--seeds", default="0:1000", help="FIRST:LAST, without the last, or one seed (0:1000)")
    parser.add_argument("--jobs", type=int, default=1, help="processes (1)")
    parser.add_argument("--renormalise", type=float, default=0.0, help="share of plans that may renormalise (0)")
    parser.add_argument("--show", action="store_true", help="print the programs of the seeds and check nothing")
    parser.add_argument("--json", type=Path, help="also write what was found to this file")
    arguments = parser.parse_args(argv)
    first, _, last = arguments.seeds.partition(":")
    try:
        seeds = range(int(first), int(last) if last else int(first) + 1)
    except ValueError:
        parser.error(f"--seeds: expected FIRST:LAST, got {arguments.seeds!r}")
    console = Console(highlight=False)
    if arguments.show:
        for seed in seeds:
            console.print(str(program_of(seed, arguments.renormalise)), markup=False, soft_wrap=True)
        return 0
    try:
        summary = fuzz(seeds, jobs=arguments.jobs, renormalise=arguments.renormalise, console=Console(stderr=True))
    except SecateurError as error:
        parser.error(str(error))
    report(summary, console)
    if arguments.json:
        arguments.json.write_text(json.dumps(summary.to_dict(), indent=2) + "\n", encoding="utf-8")
    return int(bool(summary.failures))


if __name__ == "__main__":
    sys.exit(main())
