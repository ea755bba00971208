"""`secateur diff`: how two checkpoints differ, in recipe, shapes, weights, optimizer and position."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from secateur.cli import console
from secateur.cli.inspect_command import brief, plain_table, printable
from secateur.records import Command

if TYPE_CHECKING:
    import argparse

    from rich.console import Console


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("first", help="a checkpoint")
    parser.add_argument("second", help="another one")
    parser.add_argument("--most", type=int, default=20, metavar="N", help="rows of each table (default: 20)")
    parser.add_argument("--json", action="store_true", help="print JSON, all of it")


def run(args: argparse.Namespace) -> int:
    """Show what differs. Status 0 if nothing does, else 1, as of `diff`."""
    from secateur.checkpoint import diff

    told = diff(args.first, args.second)
    out = console.stdout()
    if args.json:
        out.print(json.dumps(told, indent=2, default=_shown), soft_wrap=True, markup=False)
    elif told["same"]:
        out.print("both hold the same")
    else:
        show(out, told, args.most)
    return int(not told["same"])


def show(out: Console, told: dict[str, Any], most: int) -> None:
    """Print what differs, the largest differences of weights first."""
    steps = told["steps"]
    if steps["first"] or steps["second"]:
        what = f"thinnings: {steps['common']} in common, then {steps['first']} in the first, {steps['second']} in the"
        out.print(f"{what} second", markup=False)
    rows = [(name, str(tuple(a)), str(tuple(b))) for name, (a, b) in told["shapes"].items()]
    rows += [(name, "there", "missing") for name in told["only"]["first"]]
    rows += [(name, "missing", "there") for name in told["only"]["second"]]
    _table(out, ("shape of", "first", "second"), rows, most)
    gaps = [(name, f"{gap['absolute']:.3g}", f"{gap['relative']:.3g}") for name, gap in told["weights"].items()]
    _table(out, ("largest difference of", "absolute", "relative"), gaps, most)
    if told["equal"] or gaps:
        out.print(f"weights: {told['equal']} tensors equal to the bit, {len(gaps)} not", markup=False)
    for title in ("optimizer", "training"):
        entries = [(place, _short(a), _short(b)) for place, a, b in told[title]]
        _table(out, (title, "first", "second"), entries, most)
    first, second = told["position"]
    if str(first) != str(second):
        for name, position in (("first", first), ("second", second)):
            out.print(printable(f"position of the {name}: {brief(position)}"), soft_wrap=True, markup=False)


def _table(out: Console, headers: tuple[str, ...], rows: list[tuple[str, str, str]], most: int) -> None:
    if not rows:
        return
    from rich.text import Text

    table = plain_table(*headers)
    for row in rows[:most]:
        table.add_row(*(Text(printable(cell)) for cell in row))
    out.print(table)
    if len(rows) > most:
        out.print(f"{len(rows) - most} more; --most {len(rows)} shows all", style="dim")


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)[:60]


def _shown(value: Any) -> Any:
    return f"tensor of shape {tuple(value.shape)}" if hasattr(value, "shape") else str(value)


COMMAND: Final = Command(
    name="diff",
    summary="Show how two checkpoints differ.",
    configure=configure,
    run=run,
    order=51,
)
