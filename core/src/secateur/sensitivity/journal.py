"""Results in a file, line by line as they come: a run that was stopped goes on where it was.

CSV, or JSON lines if the file's name ends in `.jsonl`. The first line holds the settings, and others are refused.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Mapping
from io import StringIO
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

from secateur.errors import SecateurError

Metrics = dict[str, float]

MARK = "# secateur sensitivity "
DENSE = "(dense)"
"""The name of the row of the network as it is."""
COLUMNS = ("name", "size", "level", "leaving")
REMOVE = "write to another file, or remove it"
WORDS = {"model": "other weights", "data": "other data", "subjects": "other names"}


@frozen
class Point:
    """What one evaluation gave: a dim or tensor, its size, the level, how much left, and the metrics."""

    name: str
    size: int
    level: float
    leaving: int
    metrics: Metrics


def to_csv(points: Iterable[Point], metrics: Iterable[str], *, header: bool = True) -> str:
    """Points as CSV, one a line; numbers are written so that they read back as they are."""
    buffer, names = StringIO(), list(metrics)
    writer = csv.writer(buffer, lineterminator="\n")
    if header:
        writer.writerow([*COLUMNS, *names])
    for point in points:
        numbers = [repr(point.metrics[name]) for name in names]
        writer.writerow([point.name, point.size, repr(point.level), point.leaving, *numbers])
    return buffer.getvalue()


@define
class Journal:
    """One file of results."""

    path: Path
    settings: Mapping[str, Any]
    points: list[Point] = field(factory=list)
    """What it holds."""
    columns: list[str] = field(factory=list)
    """The names of the metrics, once they are known."""

    @property
    def lines(self) -> bool:
        """Whether it holds JSON lines."""
        return self.path.suffix == ".jsonl"

    @classmethod
    def open(cls, path: str | os.PathLike[str], settings: Mapping[str, Any]) -> Journal:
        """Read what there is, or begin. A file made with other settings, or no such file, is a `SecateurError`."""
        made = cls(Path(path), settings)
        try:
            if made.path.exists() and made.path.stat().st_size:
                made._read()
            else:
                front = json.dumps({"settings": dict(settings)}) if made.lines else MARK + json.dumps(dict(settings))
                made.path.write_text(front + "\n", encoding="utf-8")
        except OSError as error:
            raise made._unwritable(error) from error
        return made

    def add(self, points: Iterable[Point]) -> None:
        """Append points, and see to it that they are in the file."""
        new, text = list(points), ""
        if not new:
            return
        header = not self.columns
        self.columns = self.columns or list(new[0].metrics)
        for point in new:
            if set(point.metrics) != set(self.columns):
                what = f"it gave {', '.join(point.metrics)} for {point.name}, and {', '.join(self.columns)} before"
                raise SecateurError(what, where="evaluate", hint="return the same names each time")
        if self.lines:
            for p in new:
                shown = {"name": p.name, "size": p.size, "level": p.level, "leaving": p.leaving, "metrics": p.metrics}
                text += json.dumps(shown) + "\n"
        else:
            text = to_csv(new, self.columns, header=header)
        try:
            with self.path.open("a", encoding="utf-8", newline="") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise self._unwritable(error) from error
        self.points += new

    def _unwritable(self, error: OSError) -> SecateurError:
        what = f"it cannot be written ({error.strerror or type(error).__name__})"
        return SecateurError(what, where=str(self.path), hint="make room or permission, or write elsewhere")

    def _read(self) -> None:
        content = self.path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        settings, self.columns, self.points = parsed(whole, str(self.path), self.lines)
        told = [_difference(key, settings.get(key), value) for key, value in self.settings.items()]
        if other := [text for text in told if text]:
            raise SecateurError(f"it was made with {' and '.join(other)}", where=str(self.path), hint=REMOVE)
        if len(whole) < len(content):  # a line that was being written when the machine stopped
            with self.path.open("r+b") as file:
                file.truncate(len(whole))


def parsed(content: bytes, where: str, lines: bool) -> tuple[dict[str, Any], list[str], list[Point]]:
    """Settings, names of metrics and points of a file; anything else is a `SecateurError` that names the line."""
    number = 1
    try:
        first, *rest = content.decode("utf-8").splitlines()
        settings = json.loads(first)["settings"] if lines else json.loads(first.removeprefix(MARK))
        if not isinstance(settings, dict):
            raise ValueError("no settings")
        points: list[Point] = []
        if lines:
            for number, line in enumerate(rest, 2):  # noqa: B007 - for the message
                e = json.loads(line)
                numbers = {str(key): float(value) for key, value in e["metrics"].items()}
                points.append(Point(str(e["name"]), int(e["size"]), float(e["level"]), int(e["leaving"]), numbers))
            return settings, list(points[0].metrics) if points else [], points
        rows = list(csv.reader(rest))
        names = rows[0][len(COLUMNS) :] if rows else []
        for number, row in enumerate(rows[1:], 3):  # noqa: B007
            name, size, level, leaving, *values = row
            metrics = {key: float(value) for key, value in zip(names, values, strict=True)}
            points.append(Point(name, int(size), float(level), int(leaving), metrics))
    except (ValueError, KeyError, TypeError, AttributeError, UnicodeDecodeError) as error:
        what = f"it is no file of results: line {number} is not understood"
        raise SecateurError(what, where=where, hint=REMOVE) from error
    return settings, names, points


def _difference(key: str, old: Any, new: Any) -> str:
    """How a setting differs from what a file was made with, in words; nothing if it does not."""
    if old == new:
        return ""
    if key in WORDS:
        return WORDS[key]
    return f"{key} {_shown(old)}, not {_shown(new)}"


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(f"{entry:g}" if isinstance(entry, float) else str(entry) for entry in value)
    return str(value)
