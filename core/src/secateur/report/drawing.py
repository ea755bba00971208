"""Charts as numbers that a template writes down as SVG: every place is a share of the plot, in percent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from attrs import frozen

from secateur.report.axes import Scale, scaled, whole
from secateur.report.content import Chart, Series, Unit
from secateur.report.spelling import alike, decimals, spelled

INNER = 1000
"""Width and height of the coordinates that lines are drawn in."""
MOST_DOTS = 60
"""Lines of more values are drawn without a dot for each."""
Tick = tuple[float, str]


@frozen
class Line:
    """One line: its path in coordinates of `INNER`, and its dots with the words that stand for them."""

    name: str
    path: str
    dots: tuple[tuple[float, float, str], ...]


@frozen
class Drawing:
    """One chart, ready to be written down."""

    chart: Chart
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]
    marks: tuple[tuple[float, str], ...]
    logarithmic: bool
    summary: str
    """The chart in words, for those who do not see it."""
    data: dict[str, Any]
    """What the script shows for the place that is pointed at."""


def draw(chart: Chart) -> Drawing | None:
    """Lay a chart out; None if it has no finite value."""
    values = [value for series in chart.series for value in finite(series.values)]
    if not values or not chart.x:
        return None
    scale, ticks = scaled(values, chart.from_zero)
    first, last = min(chart.x), max(chart.x)
    across = Scale(first, last) if last > first else Scale(first - 0.5, first + 0.5)
    xs = [round(100 * across.share(x), 3) for x in chart.x]
    return Drawing(
        chart=chart,
        x_ticks=tuple((round(100 * across.share(x), 3), f"{x:g}") for x in whole(first, last)),
        y_ticks=tuple(
            (round(100 - 100 * scale.share(y), 3), text)
            for y, text in zip(ticks, labels(ticks, chart.unit), strict=True)
        ),
        lines=tuple(_line(series, xs, chart, scale) for series in chart.series),
        marks=tuple(
            (round(100 * across.share(mark.x), 3), mark.label) for mark in chart.marks if first <= mark.x <= last
        ),
        logarithmic=scale.logarithmic,
        summary=_summary(chart),
        data={
            "x": [round(x, 3) for x in xs],
            "at": [f"{chart.x_label} {x:g}" for x in chart.x],
            "rows": [
                {"name": series.name, "y": [_height(v, scale) for v in series.values], "text": _texts(series, chart)}
                for series in chart.series
            ],
        },
    )


def labels(ticks: Sequence[float], unit: Unit) -> list[str]:
    """The ticks in words, all with as many decimals as the finest needs, unless they are far apart.

    >>> labels([0.0, 0.25, 0.5], "share"), labels([0.9, 0.925, 0.95], "share")
    (['0\\u202f%', '25\\u202f%', '50\\u202f%'], ['90.0\\u202f%', '92.5\\u202f%', '95.0\\u202f%'])
    >>> labels([0.01, 0.1, 1.0, 10.0], "number")
    ['0.01', '0.1', '1', '10']
    """
    if unit in ("count", "bytes", "seconds"):
        return alike(ticks, unit)
    factor, end = (100.0, "\u202f%") if unit == "share" else (1.0, "")
    shown = [tick * factor for tick in ticks]
    known = [abs(tick) for tick in shown if tick]
    if known and (max(known) > 20 * min(known) or min(known) < 1e-3):
        return [f"{tick:.4g}{end}" if abs(tick) < 1e4 else f"{tick:,.0f}{end}" for tick in shown]
    return [f"{tick:,.{decimals(shown)}f}{end}" for tick in shown]


def finite(values: Sequence[float | None]) -> list[float]:
    """The values that can be drawn."""
    return [value for value in values if value is not None and math.isfinite(value)]


def ruler(marks: Sequence[tuple[float, str]], low: float = -16, high: float = 0) -> list[tuple[float, str]]:
    """Where small numbers lie on a logarithmic ruler from 10^low to 10^high, in percent; zero lies at its begin.

    >>> ruler([(1e-8, "measured"), (0.0, "none")])
    [(50.0, 'measured'), (0.0, 'none')]
    """
    place = Scale(10.0**low, 10.0**high, True)
    inside = [(min(max(value, 10.0**low), 10.0**high) if math.isfinite(value) else 10.0**high, t) for value, t in marks]
    return [(round(100 * place.share(value), 2), text) for value, text in inside]


def _line(series: Series, xs: Sequence[float], chart: Chart, scale: Scale) -> Line:
    texts = _texts(series, chart)
    path, dots, pen = [], [], "M"
    for x, value, text in zip(xs, series.values, texts, strict=True):
        height = _height(value, scale)
        if height is None:
            pen = "M"
            continue
        path.append(f"{pen}{x * INNER / 100:.1f} {height * INNER / 100:.1f}")
        dots.append((x, height, f"{series.name}: {text}"))
        pen = "L"
    return Line(series.name, "".join(path), tuple(dots) if len(dots) <= MOST_DOTS else ())


def _height(value: float | None, scale: Scale) -> float | None:
    if value is None or not math.isfinite(value) or (scale.logarithmic and value <= 0):
        return None
    return round(100 - 100 * scale.share(value), 3)


def _texts(series: Series, chart: Chart) -> list[str]:
    return [spelled(value, chart.unit) for value in series.values]


def _summary(chart: Chart) -> str:
    """Each line from its first value to its last."""
    said = []
    for series in chart.series:
        known = [(x, v) for x, v in zip(chart.x, series.values, strict=True) if finite([v])]
        if known:
            (begin, first), (end, last) = known[0], known[-1]
            said.append(
                f"{series.name} from {spelled(first, chart.unit)} at {chart.x_label} {begin:g} "
                f"to {spelled(last, chart.unit)} at {chart.x_label} {end:g}"
            )
    return f"{chart.title}: {'; '.join(said)}."
