"""Plans as tables for people."""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from secateur.thinning.plan import Plan


def plan_table(plan: Plan) -> Table:
    """One row per dim: kept of all units, and what a unit consists of."""
    from rich.table import Table

    table = Table(title="plan", title_justify="left")
    table.add_column("dim", overflow="fold")
    table.add_column("kept", justify="right")
    table.add_column("of", justify="right")
    table.add_column("a unit is", overflow="fold")
    for dim in plan.dims:
        writers = [(name, axis, i.shape[1]) for (name, axis), i in dim.slices.items() if (name, axis) not in dim.readers]
        first = writers[0] if writers else next((n, a, i.shape[1]) for (n, a), i in dim.slices.items())
        more = len(dim.slices) - 1
        text = f"{first[2]} of {first[0]} axis {first[1]}" + (f" and {more} more" if more else "")
        style = "bold" if len(dim.kept) < dim.size else None
        table.add_row(dim.name, str(len(dim.kept)), str(dim.size), text, style=style)
    return table


def refusal_lines(plan: Plan) -> list[str]:
    """What stays and why, one line for each group of axes with the same reasons."""
    grouped: dict[tuple[str, ...], list[str]] = {}
    for refusal in plan.refusals:
        grouped.setdefault(refusal.reasons, []).append(f"{refusal.parameter} axis {refusal.axis}")
    lines = []
    for reasons, places in grouped.items():
        shown = ", ".join(places[:3]) + (f" and {len(places) - 3} more" if len(places) > 3 else "")
        lines.append(f"{shown}: {reasons[0]}" + (f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""))
    return lines


def plan_text(plan: Plan) -> str:
    """The table and the refusals, as text of at most 110 columns."""
    from rich.console import Console

    buffer = StringIO()
    console = Console(file=buffer, width=110, color_system=None)
    console.print(plan_table(plan))
    if plan.refusals:
        console.print("stays:")
        for line in refusal_lines(plan):
            console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
    return buffer.getvalue().rstrip()
