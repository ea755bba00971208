"""`secateur plugins`: which plugins there are, what they add, and why one does not work."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from secateur.cli import console
from secateur.plugins import PluginRow, current
from secateur.records import Command

if TYPE_CHECKING:
    import argparse

    from rich.table import Table

COLOURS: Final = {"loaded": "green", "disabled": "dim", "failed": "bold red"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("--json", action="store_true", help="print JSON: a list with one object per plugin")
    parser.add_argument(
        "--check",
        action="store_true",
        help="call every registration hook, look for clashes of names; exit status 1 if anything is wrong",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print one row per plugin. Status 1 with `--check` if a plugin failed or two clash, else 0."""
    plugins = current()
    clashes = plugins.check() if arguments.check else ()
    rows = plugins.rows
    out = console.stdout()
    if arguments.json:
        text = json.dumps([row.to_dict() for row in rows], indent=2)
        out.print(text, soft_wrap=True, markup=False)
    else:
        out.print(table(rows))
    for clash in clashes:
        console.complain("error", clash, style="bold red")
    wrong = bool(clashes) or any(row.status == "failed" for row in rows)
    return int(arguments.check and wrong)


def table(rows: Sequence[PluginRow]) -> Table:
    """Lay rows out for people. Long texts fold into further lines; nothing is cut off.

    Hooks and reason share the last column: a row seldom has both, and 80 columns must do.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    result = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for header in ("name", "status", "dist", "version", "hooks / reason"):
        result.add_column(header, overflow="fold", no_wrap=header == "status")
    for row in rows:
        hooks = ", ".join(hook.removeprefix("secateur_") for hook in row.hooks)
        result.add_row(
            Text(row.name, "bold"),
            Text(row.status, COLOURS[row.status]),
            Text(row.dist),
            Text(row.version),
            Text("\n".join(filter(None, [hooks, row.reason]))),
        )
    return result


COMMAND: Final = Command(
    name="plugins",
    summary="List the plugins: loaded, disabled or failed, and why.",
    configure=configure,
    run=run,
    order=90,
)
