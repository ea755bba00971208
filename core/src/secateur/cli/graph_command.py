"""`secateur graph`: a model as a readable program, or as a picture, before and after a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from secateur.cli import console
from secateur.cli.plan_options import add_plan_options, given, make_plan, prepare
from secateur.cli.thin_command import read_plan
from secateur.errors import SecateurError
from secateur.records import Command

if TYPE_CHECKING:
    import argparse
    from typing import Any

    from secateur.cli.models import NamedModel
    from secateur.thinning.plan import Plan

DRAWN: Final[dict[str, Any]] = {
    "level": "module",
    "direction": "down",
    "parameters": False,
    "no_fold": False,
    "no_legend": False,
    "dpi": 144,
}
"""How a picture is drawn if nobody says otherwise; the parser holds None, so that the command can tell."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_plan_options(parser)
    add = parser.add_argument
    add(
        "-o",
        "--output",
        metavar="FILE",
        help="draw it: x.svg, x.png, x.pdf, x.html, or x.dot for Graphviz's text; without, the program is printed",
    )
    add("--plan", metavar="FILE", help="show widths before and after this plan of secateur plan --json")
    add("--level", choices=("module", "op"), help="a box for each module, or for each operation (default: module)")
    add("--direction", choices=("down", "right"), help="where tensors go (default: down)")
    add("--parameters", action="store_true", default=None, help="draw parameters and buffers too")
    add("--no-fold", action="store_true", default=None, help="draw all of the blocks that repeat")
    add("--no-legend", action="store_true", default=None, help="leave out the table of dims")
    add("--dpi", type=int, metavar="N", help="dots per inch of a PNG (default: 144)")


def run(arguments: argparse.Namespace) -> int:
    """Print or draw."""
    from secateur.checkpoint.files import check_writable
    from secateur.graph.capture import trace
    from secateur.pictures import check_form, picture
    from secateur.pictures.rendering import check_program

    _check_options(arguments)
    if arguments.output:
        check_form(arguments.output)
        check_writable(arguments.output, SecateurError)
        check_program(arguments.output)
    saved = read_plan(arguments.plan) if arguments.plan else None
    out, progress = console.stdout(), console.stderr()
    with progress.status("building the model"):
        built, inputs = prepare(arguments)
    with progress.status("recording the graph"):
        graph = trace(built.model, inputs, arguments.builder)
    if not arguments.output:
        out.print(str(graph), soft_wrap=True, markup=False)
        return 0
    chosen = {
        name: default if getattr(arguments, name) is None else getattr(arguments, name)
        for name, default in DRAWN.items()
    }
    with progress.status("drawing"):
        drawn = picture(
            graph,
            plan=saved or _planned(arguments, built, inputs),
            level=chosen["level"],
            parameters=chosen["parameters"],
            fold=not chosen["no_fold"],
            legend=not chosen["no_legend"],
            direction=chosen["direction"],
            title=built.name,
        )
        drawn.save(arguments.output, dpi=chosen["dpi"])
    out.print(f"wrote {arguments.output}: {drawn.summary}", markup=False)
    return 0


def _check_options(arguments: argparse.Namespace) -> None:
    """Raise `SecateurError` for two options that both say what leaves, or one that nothing is drawn by."""
    where, asked = "secateur graph", given(arguments)
    if arguments.plan and asked:
        raise SecateurError(f"--plan says what leaves, {asked[0]} does too", where=where, hint="give one of them")
    drawn = [f"--{name.replace('_', '-')}" for name in DRAWN if getattr(arguments, name) is not None]
    drawn += ["--plan"] if arguments.plan else asked
    if drawn and not arguments.output:
        what = f"{drawn[0]} goes with a picture"
        raise SecateurError(what, where=where, hint="say where to with -o, such as -o network.svg")
    if arguments.dpi is not None and not 10 <= arguments.dpi <= 1200:
        raise SecateurError(f"--dpi is {arguments.dpi}", where=where, hint="give a number from 10 to 1200")


def _planned(arguments: argparse.Namespace, built: NamedModel, inputs: tuple[Any, ...]) -> Plan | None:
    """The plan that the options ask for, if any does."""
    return make_plan(arguments, built, inputs) if given(arguments) else None


COMMAND: Final = Command(
    name="graph",
    summary="Print a model as a program, or draw it, before and after a plan.",
    configure=configure,
    run=run,
    order=29,
)
