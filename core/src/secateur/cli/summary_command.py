"""`secateur summary`: what a network holds and computes, as a table, CSV or JSON; also before and after."""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from secateur.cli import console
from secateur.cli.models import NamedModel, add_input, add_model, build_model, example_inputs
from secateur.errors import SecateurError
from secateur.records import Command

if TYPE_CHECKING:
    from secateur.summaries import Table

WHERE: Final = "secateur summary"

KINDS: Final = {
    "compute": "multiply-accumulates, shapes, activations, latency",
    "model": "parameters, memory and buffers; nothing is run",
    "sparsity": "what is zero, by element, filter, channel, kernel, row, column",
    "percentile": "a percentile of |w|",
}
FORMATS: Final = ("table", "csv", "json", "yaml")
SUFFIXES: Final = {".txt": "table", ".csv": "csv", ".json": "json", ".yaml": "yaml", ".yml": "yaml"}

ONLY: Final = {
    "level": ("compute",),
    "latency": ("compute",),
    "repeats": ("compute",),
    "builder": ("compute",),
    "input": ("compute",),
    "depth": ("compute", "model"),
    "block": ("sparsity",),
    "percentile": ("percentile",),
    "vectors": ("sparsity", "percentile"),
}
"""The kinds that an option says something of."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_model(parser)
    add = parser.add_argument
    kinds = "; ".join(f"{name}: {what}" for name, what in KINDS.items()).replace("%", "%%")
    add("--kind", choices=tuple(KINDS), default="compute", help=f"{kinds} (default: compute)")
    add("--checkpoint", "--weights", metavar="FILE", help="load this checkpoint of secateur.save first")
    add("--after", metavar="FILE", help="show beside it what this checkpoint makes of the model")
    add("--plan", metavar="FILE", help="show beside it what this plan of secateur plan --json makes of the model")
    add_input(parser)
    add("--level", choices=("module", "op"), help="a row per module or per operation (default: module)")
    add("--depth", type=int, metavar="N", help="a row for all that is below a module of N names: layer1.0 has 2")
    add("--latency", action="store_true", default=None, help="time each row")
    add("--repeats", type=int, metavar="N", help="with --latency: forward passes to take the median of (default: 20)")
    add("--percentile", type=float, metavar="Q", help="which percentile of |w| (default: 90)")
    add("--block", type=_sizes, metavar="SIZES", help="also blocks of these sizes along the first axes, such as 1,8")
    add("--vectors", action="store_true", default=None, help="also biases and other vectors")
    add("--sort", metavar="COLUMN", help="order the rows by a column, the largest numbers first")
    add("--builder", metavar="NAME", help="what records the graph (default: trace)")
    add(
        "--format",
        choices=FORMATS,
        help="how it is written; yaml: {tensor: percentile} only (default: by the name of the file, else table)",
    )
    add("-o", "--output", metavar="FILE", help="write it there instead of printing it")


def run(arguments: argparse.Namespace) -> int:
    """Build the model, look, and print or write."""
    from secateur.checkpoint.files import check_writable, replacing

    form = _format(arguments)
    _check(arguments)
    if arguments.output:
        check_writable(arguments.output, SecateurError)
    out, progress = console.stdout(), console.stderr()
    with progress.status("building the model"):
        built = _built(arguments, arguments.checkpoint)
    table = _table(arguments, built)
    if arguments.sort:
        table = table.sorted(arguments.sort)
    if not arguments.output:
        if form == "table":
            out.print(table)
        else:
            out.out(written(table, form), highlight=False, end="")
        return 0
    with replacing(arguments.output, SecateurError) as temporary:
        temporary.write_text(written(table, form), encoding="utf-8")
    out.print(f"wrote {arguments.output}, {len(table.rows):,} rows", markup=False)
    return 0


def written(table: Table, form: str) -> str:
    """The text of a file: a table as wide as need be, CSV, JSON, or YAML of names and percentiles."""
    if form == "csv":
        return table.csv()
    if form == "json":
        return table.json() + "\n"
    if form == "yaml":
        import yaml

        name, value = table.columns[0].name, "percentile"
        return yaml.safe_dump(
            {str(row[name]): float(f"{row[value]:.6g}") for row in table.records()}, sort_keys=False, width=1000
        )
    return table.text()


def _sizes(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(size) for size in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of sizes such as 1,8") from None


def _format(arguments: argparse.Namespace) -> str:
    """What is written; a form that does not go with the kind is a `SecateurError`."""
    suffix = Path(arguments.output).suffix.lower() if arguments.output else ".txt"
    if not arguments.format and suffix not in SUFFIXES:
        what = f"{arguments.output}: {suffix or 'a name without a suffix'} does not say how it is written"
        raise SecateurError(what, where="--output", hint=f"end it in {', '.join(SUFFIXES)}, or give --format")
    form: str = arguments.format or SUFFIXES[suffix]
    if form == "yaml" and (arguments.kind != "percentile" or arguments.after or arguments.plan):
        raise SecateurError("yaml is for --kind percentile of one model", where=WHERE, hint="take csv or json")
    return form


def _check(arguments: argparse.Namespace) -> None:
    """Raise `SecateurError` for options that would say nothing, or contradict each other."""
    for option, kinds in ONLY.items():
        if getattr(arguments, option) not in (None, []) and arguments.kind not in kinds:
            what = f"--{option} goes with --kind {' or '.join(kinds)}"
            raise SecateurError(what, where=WHERE, hint="leave out one of them")
    if arguments.repeats is not None and not arguments.latency:
        raise SecateurError("--repeats goes with --latency", where=WHERE, hint="give both, or neither")
    if arguments.after and arguments.plan:
        raise SecateurError("--after and --plan both say what it becomes", where=WHERE, hint="give one of them")


def _built(arguments: argparse.Namespace, checkpoint: str | None) -> NamedModel:
    from secateur.checkpoint import load

    built = build_model(arguments.model, arguments.model_args, arguments.seed)
    if checkpoint:
        load(checkpoint, built.model)
    return built


def _table(arguments: argparse.Namespace, built: NamedModel) -> Table:
    """The table that was asked for."""
    from secateur.cli.thin_command import read_plan
    from secateur.summaries.comparing import summarise

    inputs = example_inputs(built, arguments.input) if arguments.kind == "compute" else None
    options: dict[str, Any] = {"name": built.name}
    given = {"q": arguments.percentile, **{name: getattr(arguments, name) for name in ONLY if name != "percentile"}}
    options |= {name: value for name, value in given.items() if name != "input" and value is not None}
    after: Any = None
    if arguments.plan:
        after = read_plan(arguments.plan)
    elif arguments.after:
        after = _built(arguments, arguments.after).model
    # No spinner while something is timed: it would take time of its own from that.
    with nullcontext() if arguments.latency else console.stderr().status("looking"):
        return summarise(built.model, inputs, after, kind=arguments.kind, **options)


COMMAND: Final = Command(
    name="summary",
    summary="Show what a network holds and computes: sparsity, parameters, MACs, latency; before and after.",
    configure=configure,
    run=run,
    order=25,
)
