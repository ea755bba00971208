"""Plans as tables for people."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from io import StringIO
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from rich.table import Table

    from secateur.thinning.plan import Dim, Plan

MOST = 4
"""Names shown in one cell; the rest is counted."""


class Sliced(Protocol):
    """What knows its slices: a dim of a plan, or units of a coupling."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def slices(self) -> Mapping[tuple[str, int], Any]: ...  # noqa: D102
    @property
    def readers(self) -> Collection[tuple[str, int]]: ...  # noqa: D102


def plan_table(plan: Plan) -> Table:
    """One row per dim: how many of its units stay, and which other modules write the same units.

    Dims of a single unit, which stays, are left out. Long names fold into further lines; nothing is cut off.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("dim", overflow="fold")
    for header in ("kept", "of", "leaves"):
        table.add_column(header, justify="right", no_wrap=True)
    shown = [dim for dim in plan.dims if dim.size > 1 or len(dim.leaving)]
    notes = ["; ".join(filter(None, (_partners(plan, dim), _class(dim)))) for dim in shown]
    if any(notes):
        table.add_column("together with", overflow="fold")
    for dim, note in zip(shown, notes, strict=True):
        share = 1 - len(dim.kept) / dim.size
        table.add_row(
            Text(dim.name),
            str(len(dim.kept)),
            str(dim.size),
            f"{share:.0%}" if share else "-",
            *([Text(note)] if any(notes) else []),
            style="" if share else "dim",
        )
    return table


def _class(dim: Dim) -> str:
    """What is to be said of a dim whose size an operation reads."""
    if not dim.renormalises:
        return ""
    return "compensated" if dim.exact else "renormalises"


def partners(dim: Sliced, ranks: Mapping[str, int]) -> list[str]:
    """The other modules whose weights (or, without any, vectors) are written along the dim's units.

    `ranks`: {parameter or buffer: how many axes it has}.
    """
    written = [name for (name, axis) in dim.slices if (name, axis) not in dim.readers]
    weights = [name for name in written if ranks[name] > 1]
    modules = dict.fromkeys(name.rpartition(".")[0] or name for name in weights or written)
    return [module for module in modules if module != dim.name]


def _partners(plan: Plan, dim: Dim) -> str:
    names = partners(dim, {name: len(shape) for name, shape in plan.shapes.items()})
    more = f", {len(names) - MOST} more" if len(names) > MOST else ""
    return ", ".join(names[:MOST]) + more


def refusal_groups(plan: Plan) -> list[tuple[str, str]]:
    """What stays and why: (places, reason) for each group of axes with the same reasons."""
    grouped: dict[tuple[str, ...], list[str]] = {}
    for refusal in plan.refusals:
        grouped.setdefault(refusal.reasons, []).append(f"{refusal.parameter} axis {refusal.axis}")
    found = []
    for reasons, places in grouped.items():
        shown = ", ".join(places[:MOST]) + (f" and {len(places) - MOST} more" if len(places) > MOST else "")
        found.append((shown, reasons[0] + (f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else "")))
    return found


def plan_text(plan: Plan) -> str:
    """The table and the refusals, as text of at most 110 columns."""
    from rich.console import Console

    buffer = StringIO()
    console = Console(file=buffer, width=110, color_system=None)
    console.print(plan_table(plan))
    if plan.states:
        console.print(str(plan.states), markup=False, highlight=False, soft_wrap=True)
    if plan.refusals:
        console.print("stays:")
        for places, reason in refusal_groups(plan):
            console.print(f"  {places}: {reason}", markup=False, highlight=False, soft_wrap=True)
    for caution in plan.cautions:
        console.print(f"careful: {caution}", markup=False, highlight=False, soft_wrap=True)
    return "\n".join(line.rstrip() for line in buffer.getvalue().strip("\n").splitlines())
