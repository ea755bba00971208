"""What a run shows on the way and at the end: a progress bar, a line per epoch, a table before and after."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from secateur.training.tasks.base import Metric
from secateur.training.trainer import EpochResult, ThinningResult

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from secateur.training.run import Result, Summary


class Display:
    """Shows a run on a console; also usable as a context around the training."""

    def __init__(self, console: Console, epochs: int, metric: Metric, judged: str) -> None:
        self.console, self.epochs, self.metric, self.judged = console, epochs, metric, judged
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
        train, judged = f"train {self.metric.short}", f"{self.judged} {self.metric.short}"
        head = f"epoch      lr    loss {train:>10} {judged:>10}  pruned   zeros  parameters     time"
        self.console.print(f"[bold]{head}[/bold]")
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
            show = self.metric.show
            self.console.print(
                f"{result.epoch:5d} {result.learning_rate:7.4f} {result.train.loss:7.4f} "
                f"{show(result.train.metric):>10} {show(result.valid.metric):>10} {result.masked_share:7.1%} "
                f"{result.sparsity:7.1%} {result.parameters:11,d} {result.seconds:7.1f}s"
            )
        elif isinstance(result, ThinningResult):
            judged = f"{self.judged} {self.metric.name} {self.metric.show(result.valid.metric)}"
            text = f"[green]thinned[/green] {result.report}; {judged}"
            self.console.print(text, soft_wrap=True)


def summary_table(summary: Summary) -> RenderableType:
    """Before and after, and the two proofs: masked equals thinned, the checkpoint reloads."""
    table = Table(title="before and after", title_justify="left")
    for column in ("", "dense", "thin", "thin / dense"):
        table.add_column(column, justify="left" if not column else "right")

    def row(name: str, before: float, after: float, shape: str) -> None:
        table.add_row(name, format(before, shape), format(after, shape), f"{after / before:.1%}" if before else "-")

    row("parameters", *summary.parameters, ",d")
    if summary.live[1] < summary.parameters[1]:
        row("not zero", *summary.live, ",d")
    row(f"MACs per {summary.per}", *summary.macs, ",d")
    timed = " x ".join(str(size) for size in summary.latency_inputs)
    before, after = (f"{1e3 * timing.median:.2f}" for timing in (summary.latency.a, summary.latency.b))
    same = summary.difference is None and summary.macs[0] == summary.macs[1]
    table.add_row(f"latency of {timed} (ms)", before, after, "same" if same else f"{1 / summary.latency.ratio:.1%}")
    table.caption, table.caption_justify = "latency: the medians, and that of the ratios of runs in turns", "left"
    name, show = summary.metric.name, summary.metric.show
    dense = "-" if summary.dense is None else show(summary.dense)
    which = "final" if summary.dense is None else "best dense, final"
    if summary.valid is None:
        table.add_row(f"test {name} ({which})", dense, show(summary.final.metric), "")
    else:
        table.add_row(f"valid {name} ({which})", dense, show(summary.valid.metric), "")
        table.add_row(f"test {name}", "", show(summary.final.metric), "")
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
