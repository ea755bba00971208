"""Draw an analysis: curves where there are few names, a heat map where there are many."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from secateur.errors import ConfigError, SecateurError
from secateur.sensitivity.results import shape_of

if TYPE_CHECKING:
    from secateur.sensitivity.results import Sensitivity

SUFFIXES: Final = (".png", ".svg", ".pdf")
MOST_CURVES: Final = 14
"""As many curves as can be told apart."""
MARKERS: Final = "osD^vP*X<>hpd8"
COLOURS: Final = "viridis"
"""Of even lightness steps, and told apart by the colour-blind."""
UNITS: Final = {"dim": "units of one dim", "tensor": "elements of one tensor"}
INK: Final = "#222222"


def check_path(path: str | os.PathLike[str]) -> Path:
    """A file that can be drawn to; `ConfigError` for another suffix, `SecateurError` without matplotlib."""
    file = Path(path)
    if file.suffix.lower() not in SUFFIXES:
        what = f"{file.suffix!r} is no kind of picture it can be drawn as"
        raise ConfigError(what, where=str(path), hint=f"end its name in {', '.join(SUFFIXES)}")
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        hint = "pip install 'secateur[plots]'"
        raise SecateurError("matplotlib, which draws it, is not installed", where="plot", hint=hint) from error
    return file


def draw(found: Sensitivity, path: str | os.PathLike[str], metric: str) -> None:
    """Draw one metric of an analysis to a PNG, SVG or PDF."""
    file = check_path(path)
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from secateur.checkpoint.files import replacing

    style: dict[Any, Any] = {
        "font.size": 9,
        "svg.fonttype": "none",
        "pdf.fonttype": 42,
        "text.color": INK,
        "axes.labelcolor": INK,
    }
    with rc_context({**style, "axes.edgecolor": "#888888", "xtick.color": INK, "ytick.color": INK}):
        figure = Figure(layout="constrained")
        FigureCanvasAgg(figure)
        if len(found.names) <= MOST_CURVES:
            _curves(figure, found, metric)
        else:
            _heat_map(figure, found, metric)
        kind = file.suffix.lower().lstrip(".")
        with replacing(path, SecateurError) as temporary:
            dated = {"Date": None} if kind == "svg" else {"CreationDate": None} if kind == "pdf" else None
            figure.savefig(temporary, format=kind, dpi=150, facecolor="white", metadata=dated)


def _label(found: Sensitivity) -> str:
    whose = UNITS.get(found.by, f"{found.by}s of one weight")
    by = f", lowest {found.criterion} first" if found.by == "dim" else ", smallest first"
    return f"share of the {whose} that is zero{by}"


def _curves(figure: Any, found: Sensitivity, metric: str) -> None:
    from matplotlib import colormaps

    figure.set_size_inches(8.4, 4.6)
    axes = figure.add_subplot()
    values, levels, names = found.values(metric), [0.0, *found.levels], found.names
    colours = colormaps[COLOURS](np.linspace(0.0, 0.88, len(names)))
    whole = found.dense[metric]
    axes.axhline(whole, color="#888888", linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    for i, name in enumerate(names):
        style = "-" if i % 2 == 0 else (0, (5, 1.5))
        axes.plot(
            levels,
            [whole, *values[i]],
            label=name,
            color=colours[i],
            linestyle=style,
            marker=MARKERS[i % len(MARKERS)],
            markersize=4.5,
            markeredgecolor="white",
            markeredgewidth=0.4,
            linewidth=1.5,
            zorder=2 + i,
        )
    axes.set_xlabel(_label(found))
    axes.set_ylabel(metric)
    axes.set_xlim(0, 1)
    _percent(axes.xaxis, ".1%")
    _percent(axes.yaxis, shape_of(metric))
    axes.grid(color="#e4e4e4", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    title = f"{found.by}s, input to output"
    legend = axes.legend(
        loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=8, title=title, handlelength=3.2
    )
    legend._legend_box.align = "left"


def _heat_map(figure: Any, found: Sensitivity, metric: str) -> None:
    from matplotlib import colormaps

    values, names, levels = found.values(metric), found.names, found.levels
    rows, columns = values.shape
    longest = max(len(name) for name in names)
    small = 7.0 if rows <= 80 else 5.5
    figure.set_size_inches(
        min(max(2.2 + 0.068 * longest + 0.42 * columns, 5.0), 16.0), min(1.5 + rows * (small + 3.4) / 72, 60.0)
    )
    axes = figure.add_subplot()
    finite = values[np.isfinite(values)]
    ends = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    low, high = min(ends[0], found.dense[metric]), max(ends[1], found.dense[metric])
    first = metric == found.metric
    better = found.higher_is_better if first else metric not in ("loss", "perplexity")
    shades = colormaps[COLOURS if better else f"{COLOURS}_r"].with_extremes(bad="#dddddd")
    image = axes.imshow(values, aspect="auto", cmap=shades, vmin=low, vmax=high, interpolation="nearest")
    axes.set_yticks(range(rows), names, fontsize=small)
    step = max(round(columns / 12), 1)
    axes.set_xticks(range(0, columns, step), [f"{level:.0%}" for level in levels[::step]], fontsize=8)
    axes.set_xticks(np.arange(columns + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(rows + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=0.5)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel(_label(found), fontsize=8, loc="right" if longest > 30 else "center")
    form = shape_of(metric)
    bar = figure.colorbar(image, ax=axes, fraction=0.05, pad=0.02, aspect=max(rows * 0.6, 12))
    bar.outline.set_visible(False)
    _percent(bar.ax.yaxis, form)
    bar.ax.axhline(found.dense[metric], color="#d55e00", linewidth=2)
    axes.set_title(f"{metric} ({found.dense[metric]:{form}} as it is, the orange line)", fontsize=9, loc="left")


def _percent(axis: Any, form: str) -> None:
    from matplotlib.ticker import PercentFormatter

    if form == ".1%":
        axis.set_major_formatter(PercentFormatter(xmax=1, decimals=None))
