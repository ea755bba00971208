"""What an analysis found: metrics by dim or tensor and level, as a table, CSV, a picture, and ratios that follow."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import field, frozen

from secateur.errors import ConfigError, SecateurError, suggestion
from secateur.sensitivity.journal import DENSE, Point, parsed, to_csv

if TYPE_CHECKING:
    from secateur.sensitivity.suggesting import Joint, Suggestion
    from secateur.summaries.table import Table

Metrics = dict[str, float]
Curve = np.ndarray[Any, np.dtype[np.float64]]


@frozen(eq=False, kw_only=True, repr=False)
class Sensitivity:
    """What becomes of a network's metrics when units of one dim, or elements of one tensor, leave, and nothing else."""

    by: str
    """"dim", "tensor", "filter" or "channel"."""
    dense: Metrics
    """The metrics of the network as it is."""
    points: tuple[Point, ...]
    """One for each name and level, in the order of the network."""
    higher_is_better: bool = True
    """Whether the first metric is better if it is higher."""
    criterion: str = "l1"
    how: str = ""
    """How the network was evaluated, in a sentence."""
    notes: tuple[str, ...] = ()
    joint: Joint | None = field(default=None)
    """Evaluates choices of several dims at once, for `suggest`; a result read from a file has none."""

    @property
    def metric(self) -> str:
        """The first metric: what tables, pictures and suggestions look at."""
        return next(iter(self.dense))

    @property
    def names(self) -> list[str]:
        """The dims or tensors, in the order of the network."""
        return list(dict.fromkeys(point.name for point in self.points))

    @property
    def levels(self) -> list[float]:
        """The levels, ascending."""
        return sorted({point.level for point in self.points})

    @property
    def sizes(self) -> dict[str, int]:
        """{name: its units, or elements}"""
        return {point.name: point.size for point in self.points}

    def values(self, metric: str | None = None) -> Curve:
        """A metric by name and level, shape (names, levels); `ConfigError` for an unknown one."""
        wanted = self._checked(metric)
        at = {(point.name, point.level): point.metrics[wanted] for point in self.points}
        return np.array([[at.get((name, level), np.nan) for level in self.levels] for name in self.names])

    def losses(self) -> dict[str, Curve]:
        """{name: by how much the first metric gets worse at each level}; below 0 where it gets better."""
        sign = 1.0 if self.higher_is_better else -1.0
        rows = sign * (self.dense[self.metric] - self.values())
        return dict(zip(self.names, rows, strict=True))

    def csv(self) -> str:
        """Comma-separated values: name, size, level, leaving, and the metrics; first of the network as it is."""
        whole = Point(DENSE, 0, 0.0, 0, self.dense)
        return to_csv([whole, *self.points], self.dense)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the CSV to a file, in one step; `SecateurError` if it cannot be written."""
        from secateur.checkpoint.files import replacing

        with replacing(path, SecateurError) as temporary:
            temporary.write_text(self.csv(), encoding="utf-8")

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Sensitivity:
        """Read the file that an analysis wrote its results to (`results=`, `-o`), to look at and to plot.

        Raises `SecateurError` if it is no such file, or the analysis did not come to its first result.
        """
        file = Path(path)
        try:
            content = file.read_bytes()
        except OSError as error:
            what = f"it cannot be read ({error.strerror or type(error).__name__})"
            raise SecateurError(what, where=str(path), hint="give a file that secateur sensitivity -o wrote") from error
        settings, _, points = parsed(content[: content.rfind(b"\n") + 1], str(path), file.suffix == ".jsonl")
        dense = next((point.metrics for point in points if point.name == DENSE), None)
        if dense is None:
            raise SecateurError("it holds no result yet", where=str(path), hint="let the analysis run longer")
        return cls(
            by=str(settings.get("by", "dim")),
            dense=dense,
            points=tuple(point for point in points if point.name != DENSE),
            higher_is_better=bool(settings.get("higher is better", True)),
            criterion=str(settings.get("criterion", "l1")),
        )

    def table(self, metric: str | None = None) -> Table:
        """A row for each name, a column for each level."""
        from secateur.summaries.table import Column, Table

        wanted = self._checked(metric)
        form = shape_of(wanted)
        unit = {"dim": "units", "tensor": "elements", "filter": "filters", "channel": "channels"}.get(self.by, "units")
        levels = self.levels
        step = max(len(levels) // 5, 1)  # where it is narrow, every second level is left out first
        columns = [Column(self.by), Column(unit, form=",d", rank=3)]
        columns += [
            Column(f"{level:g}", form=form, rank=0 if i % step == step - 1 else 2) for i, level in enumerate(levels)
        ]
        found = self.values(wanted)
        rows = [
            (name, self.sizes[name], *(None if np.isnan(x) else float(x) for x in row))
            for name, row in zip(self.names, found, strict=True)
        ]
        title = f"{wanted} when that share of one {self.by} leaves; {self.dense[wanted]:{form}} as it is"
        return Table(title=title, columns=columns, rows=rows, notes=[*filter(None, [self.how]), *self.notes])

    def plot(self, path: str | os.PathLike[str], metric: str | None = None) -> None:
        """Draw it as PNG, SVG or PDF: curves for up to fourteen names, a heat map for more.

        Needs matplotlib (`pip install secateur[plots]`). Raises `SecateurError` without it, for another suffix, or if
        the file cannot be written.
        """
        from secateur.sensitivity.plotting import draw

        draw(self, path, self._checked(metric))

    def suggest(self, *, accuracy: float | None = None, macs: float | None = None) -> Suggestion:
        """Ratios by name for a wanted value of the first metric, or a share of the dense MACs; give one of them.

        All dims get as much as costs each, by itself, the same loss of the metric; how much that is, is found by
        trying: the plan is made, its MACs are counted or the masked network is evaluated. What is returned was
        measured to hold, without any fine-tuning. It is a mapping, to be given as `prune=`.

        Raises `PlanError` if no such choice was found within the levels.
        """
        from secateur.sensitivity.suggesting import suggest

        return suggest(self, accuracy, macs)

    def _checked(self, metric: str | None) -> str:
        if metric is not None and metric not in self.dense:
            raise ConfigError(f"no metric named {metric!r}", where="metric", hint=suggestion(metric, self.dense))
        return metric or self.metric

    def __repr__(self) -> str:
        return f"<Sensitivity: {len(self.names)} {self.by}s at {len(self.levels)} levels, {self.metric}>"

    def __str__(self) -> str:
        return str(self.table())


def shape_of(metric: str) -> str:
    """How the numbers of a metric are shown: accuracies are shares."""
    return ".1%" if metric.rpartition("/")[2].startswith(("accuracy", "top")) else ".4g"


def complete(points: Iterable[Point], names: Iterable[str], levels: Iterable[float]) -> list[Point]:
    """Points by name and level, in order."""
    at = {(point.name, point.level): point for point in points}
    return [at[name, level] for name in names for level in levels]
