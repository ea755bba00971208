"""`secateur plugins`: which plugins there are, what they add, and why one does not work.

`secateur plugins check NAME` tries the laws of the contract kit on what a plugin adds.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from secateur.cli import console
from secateur.errors import SecateurError
from secateur.plugins import PluginRow, current
from secateur.records import Command

if TYPE_CHECKING:
    import argparse

    from rich.table import Table

OUTCOMES: Final = {"ok": "green", "broken": "bold red", "not tried": "dim"}
COLOURS: Final = {"loaded": "green", "disabled": "dim", "failed": "bold red"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("action", nargs="?", choices=["check"], help="check: try the laws of the contract on a plugin")
    parser.add_argument("name", nargs="?", help="the plugin to check")
    parser.add_argument("--json", action="store_true", help="print JSON: a list with one object per plugin")
    parser.add_argument(
        "--check",
        action="store_true",
        help="call every registration hook, look for clashes of names; exit status 1 if anything is wrong",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print one row per plugin, or check one.

    Status 1 with `--check` if a plugin failed or two clash, with `check NAME` if a law is broken, else 0.
    """
    if arguments.action == "check":
        return check(arguments.name, as_json=arguments.json)
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


def check(name: str | None, *, as_json: bool = False) -> int:
    """Try every law on every record of a plugin, one line each. Status 1 if one is broken."""
    if name is None:
        names = [row.name for row in current().rows if row.status == "loaded"]
        raise SecateurError("which plugin?", where="secateur plugins check", hint=f"name one of {', '.join(names)}")
    from rich.text import Text

    from secateur.testing.contract import laws

    found = laws(name, current())
    out, tried = console.stdout(), []
    for law in found:
        outcome = law.outcome()
        tried.append({"law": str(law), "outcome": outcome.word, "message": outcome.message})
        if not as_json:
            line = Text.assemble((f"{outcome.word:>9}", OUTCOMES[outcome.word]), f"  {law}")
            out.print(line.append(f": {outcome.message}" if outcome.message else ""), soft_wrap=True)
    if as_json:
        out.print(json.dumps(tried, indent=2), soft_wrap=True, markup=False)
    elif not found:
        out.print(f"no law applies to what {name} adds", markup=False)
    return int(any(entry["outcome"] == "broken" for entry in tried))


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
