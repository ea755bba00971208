"""What the coverage benchmark shows: its progress, a table with a row for each network, and a line for each group."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

if TYPE_CHECKING:
    from torchvision_zoo import Network

Record = dict[str, Any]
MODES = ("exact", "renormalise")
TITLES = ("model", "exact", "left", "MACs", "renormalise", "left", "MACs", "seconds", "Torch-Pruning")


def show(pending: list[Network], records: Iterable[Record]) -> Iterator[Record]:
    """Pass the records on as they come, and show how far the work is and what fails."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(pending[0].name if pending else "nothing to do", total=len(pending))
        for number, record in enumerate(records, 1):
            for complaint in complaints(record):
                progress.console.print(complaint, markup=False, highlight=False, soft_wrap=True)
            following = pending[number].name if number < len(pending) else "done"
            progress.update(task, advance=1, description=following)
            yield record


def complaints(record: Record) -> list[str]:
    """What went wrong with our own pruning of one network."""
    found = [f"{record['model']}, {mode}: {record[mode]['error']}" for mode in MODES if record[mode]["error"]]
    return [*found, f"{record['model']}: {excess(record)}"] if excess(record) else found


def excess(record: Record) -> str:
    """How much more of it stays here than with the other tool, or nothing."""
    ours, theirs = record["renormalise"], record.get("peer", {"error": "not run"})
    if ours["error"] or theirs["error"] or ours["parameters"] <= theirs["parameters"]:
        return ""
    return f"{ours['parameters']:.1%} of the parameters stay, {theirs['parameters']:.1%} with Torch-Pruning"


def report(records: list[Record], markdown: Path | None = None) -> int:
    """Print the table and a line for each group, and write them to a file; return 1 if something is wrong."""
    console = Console(width=None if Console().is_terminal else 150)
    table = Table(title="half of the units of every dim leave; difference of masked and thin, parameters left")
    for title in TITLES:
        table.add_column(title, justify="left" if title in ("model", "Torch-Pruning") else "right", overflow="fold")
    for record in records:
        table.add_row(*map(escape, row(record)), style="red" if complaints(record) else None)
    console.print(table)
    groups = dict.fromkeys(record["group"] for record in records)
    lines = [summary(group, [r for r in records if r["group"] == group]) for group in groups]
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False)
    if markdown is not None:
        written = [f"| {' | '.join(cells)} |" for cells in (TITLES, ["---"] * len(TITLES), *map(row, records))]
        markdown.write_text("\n".join([*written, "", *(f"- {line}" for line in lines), ""]))
    return int(any(complaints(record) for record in records))


def row(record: Record) -> list[str]:
    """The cells of one network."""
    cells = [record["model"]]
    for mode in MODES:
        part = record[mode]
        if "difference" in part:
            cells += [f"{part['difference']:.0e}", f"{part['parameters']:.1%}", f"{part['macs']:.1%}"]
        else:
            cells += ["failed", "", ""]
    parts = [record[mode] for mode in MODES if "macs" in record[mode]]
    cells.append(f"{sum(part['plan_seconds'] + part['thin_seconds'] for part in parts):.1f}")
    theirs = record.get("peer", {"error": "not run"})
    if theirs["error"]:
        return [*cells, theirs["error"][:60]]
    return [*cells, f"{theirs['parameters']:.1%}{', does not train' if theirs.get('training') else ''}"]


def summary(group: str, records: list[Record]) -> str:
    """How many networks of a group are right, and how the other tool fares."""
    parts = []
    for mode in MODES:
        good = [r[mode]["difference"] for r in records if not r[mode]["error"]]
        parts.append(f"{mode} {len(good)}/{len(records)} ok, largest difference {max(good, default=0):.0e}")
    theirs = [r for r in records if "peer" in r]
    worked = [r for r in theirs if not r["peer"]["error"]]
    if theirs:
        less = sum(not excess(r) and not r["renormalise"]["error"] for r in worked)
        parts.append(
            f"Torch-Pruning {len(worked)}/{len(theirs)} ok; we leave at most what it leaves in {less} of these"
        )
    return f"{group}: {'; '.join(parts)}"
