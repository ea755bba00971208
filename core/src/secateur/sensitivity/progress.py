"""The progress bar of an analysis, on stderr."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Report = Callable[[str, int], None]


@contextmanager
def bar(shown: bool, total: int, known: int) -> Iterator[Report]:
    """Yield `report(what, done)`, which moves the bar on; without a bar it does nothing. `known`: done before."""
    if not shown:
        yield lambda what, done: None
        return
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True), transient=True) as shower:
        task = shower.add_task("the network as it is", total=total, completed=known)
        yield lambda what, done: shower.update(task, description=what, advance=done)
