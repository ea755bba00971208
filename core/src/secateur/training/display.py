"""What a run shows on the way and at the end: a progress bar, a line per epoch, a table before and after."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from secateur.training.trainer import EpochResult, ThinningResult

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from secateur.training.run import Result, Summary

HEADER = "epoch     lr    loss  train   test  pruned  parameters     time"


class Display:
    """Shows a run on a console; also usable as a context around the training."""

    def __init__(self, console: Console, epochs: int) -> None:
        self.console, self.epochs = console, epochs
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._task = self._progress.add_task("training", total=None)

    def __enter__(self) -> Display:
        self.console.print(f"[bold]{HEADER}[/bold]")
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def step(self, epoch: int, step: int, steps: int) -> None:
        """Move the bar."""
        self._progress.update(
            self._task,
            total=self.epochs * steps,
            completed=epoch * steps + step + 1,
            description=f"epoch {epoch}",
        )

    def result(self, result: Result) -> None:
        """Print the line of an epoch, or of a thinning."""
        if isinstance(result, EpochResult):
            self.console.print(
                f"{result.epoch:5d} {result.learning_rate:6.4f} {result.train_loss:7.4f} {result.train_accuracy:6.1%} "
                f"{result.test_accuracy:6.1%} {result.masked_share:7.1%} {result.parameters:11,d} "
                f"{result.seconds:7.1f}s"
            )
        elif isinstance(result, ThinningResult):
            text = f"[green]thinned[/green] {result.report}; test {result.test_accuracy:.1%}"
            self.console.print(text, soft_wrap=True)


def summary_table(summary: Summary) -> RenderableType:
    """Before and after, and the two proofs: masked equals thinned, the checkpoint reloads."""
    table = Table(title="before and after", title_justify="left")
    for column in ("", "dense", "thin", "thin / dense"):
        table.add_column(column, justify="left" if not column else "right")

    def row(name: str, before: float, after: float, shape: str) -> None:
        table.add_row(name, format(before, shape), format(after, shape), f"{after / before:.1%}" if before else "-")

    row("parameters", *summary.parameters, ",d")
    row("MACs per example", *summary.macs, ",d")
    batch = summary.latency_batch
    row(f"latency of {batch} examples (ms)", summary.latency.a.median * 1e3, summary.latency.b.median * 1e3, ".2f")
    dense = "-" if summary.dense_accuracy is None else f"{summary.dense_accuracy:.1%}"
    table.add_row("test accuracy (best dense, final)", dense, f"{summary.final.accuracy:.1%}", "")
    return table


def proof_panel(summary: Summary, model_name: str) -> RenderableType:
    """The measured differences, in words."""
    if summary.difference is None:
        proof = "nothing was thinned by this schedule"
    else:
        proof = (
            f"masked versus thinned: largest difference {summary.difference.relative:.1e} relative, "
            f"{summary.difference.absolute:.1e} absolute"
        )
    loaded = f"{summary.checkpoint} loads into a fresh dense {model_name}"
    reload = f"{loaded}: largest difference {summary.reloaded.relative:.1e}"
    return Panel(f"{proof}\n{reload}", title="proof", title_align="left")


def next_step(summary: Summary) -> str:
    """What was written, and how to use it."""
    folder = summary.checkpoint.parent
    return (
        f"wrote {summary.checkpoint} (weights, recipe and optimizer state) and {folder / 'summary.json'}\n"
        f"load it with  secateur.load({str(summary.checkpoint)!r}, a fresh dense model)"
    )
