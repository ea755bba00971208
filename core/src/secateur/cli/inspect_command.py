"""`secateur inspect`: what a checkpoint holds: what was cut, when and by which policy, and what else is in it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from secateur.cli import console
from secateur.records import Command

if TYPE_CHECKING:
    import argparse

    from rich.table import Table


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("file", help="a checkpoint that secateur.save, thin or run wrote")
    parser.add_argument("--tensors", action="store_true", help="list the tensors of the model")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Check the file against its checksum and show what it holds."""
    from rich.text import Text

    from secateur.checkpoint import inspect
    from secateur.checkpoint.reading import verify

    sealed = verify(args.file)
    said = inspect(args.file)
    out = console.stdout()
    if args.json:
        out.print(json.dumps({**said, "checksum": sealed}, indent=2, default=str), soft_wrap=True, markup=False)
        return 0
    for line in summary(said, sealed):
        out.print(Text(printable(line)), soft_wrap=True)
    for number, step in enumerate(said["steps"], 1):
        out.print()
        out.print(
            Text(printable(f"thinning {number} of {len(said['steps'])}: {told(step['made'])}"), "bold"), soft_wrap=True
        )
        out.print(cuts(step))
    if args.tensors:
        out.print(tensors(said))
    return 0


def summary(said: dict[str, Any], sealed: bool) -> list[str]:
    """A line on each thing that is in the file."""
    optimizer, schedule, position = said["optimizer"], said["scheduler"], said["position"]
    steps = len(said["steps"])
    lines = [
        f"{said['file']}: {said['bytes']:,} bytes, written by Secateur {said['version']}",
        f"checksum: {'right' if sealed else 'none (an old format)'}",
        f"model: {len(said['tensors'])} tensors, {said['elements']:,} numbers; "
        f"{'never thinned' if not steps else f'thinned {steps} times' if steps > 1 else 'thinned once'}",
        f"optimizer: {optimizer['class'] + ', state of ' + str(optimizer['parameters']) + ' parameters'}"
        if optimizer
        else "optimizer: none",
    ]
    if schedule:
        at = "not begun" if schedule["epoch"] is None else f"in epoch {schedule['epoch']}"
        lines.append(f"schedule: {', '.join(schedule['policies'])}; {at}")
    if said["lr_schedulers"]:
        lines.append(f"learning-rate schedulers: {', '.join(said['lr_schedulers'])}")
    if said["rng"] or said["generators"]:
        lines.append(f"random states: {', '.join([*(['of the process'] if said['rng'] else []), *said['generators']])}")
    if position is not None:
        lines.append(f"position: {brief(position)}")
    if said["extra"] is not None:
        lines.append(f"extra: {brief(said['extra'])}")
    return lines


def told(made: dict[str, Any]) -> str:
    """When and by whom a step was made."""
    parts = [str(made["when"]) if "when" in made else "not known when"]
    if "policy" in made:
        parts.append(f"by the {made['policy']} of {made.get('schedule')}")
        parts.append(f"epoch {made.get('epoch')}, step {made.get('step')}")
    if made.get("pruners"):
        parts.append(f"as {', '.join(map(str, made['pruners']))} decided")
    return ", ".join(parts)


def cuts(step: dict[str, Any]) -> Table:
    """The tensors that a step cut, and the attributes that it changed."""
    table = plain_table("tensor", "before", "after")
    for name, cut in step["cuts"].items():
        table.add_row(printable(name), str(tuple(cut["before"])), str(tuple(cut["after"])))
    for path, (old, new) in step["attributes"].items():
        table.add_row(printable(path), str(old), str(new))
    return table


def tensors(said: dict[str, Any]) -> Table:
    """The tensors of the model."""
    table = plain_table("tensor", "shape", "dtype")
    for name, info in said["tensors"].items():
        table.add_row(printable(name), str(tuple(info["shape"])), info["dtype"])
    for name, first in said["tied"].items():
        table.add_row(printable(name), "tied to", printable(first))
    return table


def brief(tree: Any) -> str:
    """A tree in few words: the numbers and texts of its first level, and how large the rest is."""
    if not isinstance(tree, dict):
        return repr(tree)[:200]
    return ", ".join(f"{key} {_size(value)}" for key, value in tree.items())


def _size(value: Any) -> str:
    shape = value.get("shape") if isinstance(value, dict) and "tensor" in value else getattr(value, "shape", None)
    if shape is not None:
        return f"a tensor of shape {tuple(shape)}"
    return f"{len(value)} entries" if isinstance(value, dict | list | tuple) else repr(value)[:60]


def printable(text: str) -> str:
    """A text from a file without what could steer a terminal."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def plain_table(*headers: str) -> Table:
    """A table with little decoration."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0))
    for header in headers:
        table.add_column(header, overflow="fold")
    return table


COMMAND: Final = Command(
    name="inspect",
    summary="Show what a checkpoint holds: what was cut, when, by which policy.",
    configure=configure,
    run=run,
    order=50,
)
