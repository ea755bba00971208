"""How a plan made from zeros is shown: what is silenced, which constants were folded, and what stays all the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from secateur.thinning.plan import Plan

MOST = 12
"""Ranges of units shown in one cell; the rest is counted."""


def show_zeros(out: Console, plan: Plan) -> None:
    """Print three tables, each if there is anything in it."""
    if plan.silenced is None:
        return
    silenced = [dim for dim in plan.dims if len(dim.leaving)]
    if silenced:
        table = _table("silenced", "units", "of", "which")
        for dim in silenced:
            table.add_row(dim.name, str(len(dim.leaving)), str(dim.size), ranges(dim.leaving))
        out.print(table)
    if plan.folds:
        table = _table("constants folded into", "numbers", "of", "largest")
        for name, numbers in plan.folds.items():
            count = int((numbers != 0).sum())
            table.add_row(name, str(count), str(len(numbers)), f"{abs(numbers).max():.3g}")
        out.print(table)
    if plan.silenced.remnants:
        table = _table("silenced, but not exactly", "units", "effect", "why")
        for left in plan.silenced.remnants:
            said = f"{left.reason}; {'accepted' if left.accepted else 'stays'}"
            table.add_row(left.dim, str(len(left.units)), f"{left.effect:.1e}", said)
        out.print(table)
        out.print(
            "effect: largest change of the outputs on the example inputs, relative to the largest output; "
            "--accept X removes what changes them by at most X",
            style="dim",
        )


def _table(name: str, *headers: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(name, overflow="fold")
    for header in headers[:2]:
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column(headers[2], overflow="fold")
    return table


def ranges(units: Any) -> str:
    """Sorted units, neighbours together.

    >>> import numpy as np
    >>> ranges(np.array([0, 1, 2, 7]))
    '0-2, 7'
    """
    from secateur.thinning.ranges import to_ranges

    found = [f"{first}" if stop == first + 1 else f"{first}-{stop - 1}" for first, stop in to_ranges(units)]
    more = f", {len(found) - MOST} more" if len(found) > MOST else ""
    return ", ".join(found[:MOST]) + more
