"""`secateur schema`: the JSON Schema of schedule files, by which editors complete and check them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

from secateur.errors import SecateurError
from secateur.records import Command

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("--output", "-o", metavar="FILE", help="write it to a file (default: print it)")


def run(arguments: argparse.Namespace) -> int:
    """Print the schema, or write it to a file: of the classes of all plugins that are loaded."""
    from secateur.plugins import current
    from secateur.schedule.schema import schedule_schema
    from secateur.training.config import RunConfig

    text = json.dumps(schedule_schema(current(), {"run": RunConfig}), indent=1, ensure_ascii=False) + "\n"
    if arguments.output is None:
        print(text, end="")  # noqa: T201 - a console would wrap it
        return 0
    try:
        Path(arguments.output).write_text(text, encoding="utf-8")
    except OSError as error:
        raise SecateurError(f"cannot be written: {error.strerror}", where=arguments.output) from error
    return 0


COMMAND: Final = Command(
    name="schema",
    summary="Print the JSON Schema of schedules, for editors.",
    configure=configure,
    run=run,
    order=80,
)
