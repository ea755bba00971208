"""The two consoles of the program: one for results, one for messages."""

from __future__ import annotations

import os
import sys
import traceback
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console

PIPED_WIDTH = 100
"""Columns when the output is no terminal and `COLUMNS` does not say otherwise."""


def stdout() -> Console:
    """Return the console for results. Colour only on a terminal, and never if `NO_COLOR` is set."""
    return _console(sys.stdout)


def stderr() -> Console:
    """Return the console for errors, warnings and progress."""
    return _console(sys.stderr)


def _console(stream: TextIO) -> Console:
    from rich.console import Console

    columns = os.environ.get("COLUMNS", "")
    known = stream.isatty() or (columns.isdigit() and int(columns) > 0)
    return Console(file=stream, width=None if known else PIPED_WIDTH, highlight=False)


def complain(word: str, message: object, *, style: str) -> None:
    """Print `word: message` on stderr, in one line however long; the message is not read as markup."""
    from rich.text import Text

    stderr().print(Text.assemble((f"{word}: ", style), str(message)), soft_wrap=True)


def show_traceback(error: BaseException) -> None:
    """Print the traceback of an exception, with those of its causes, on stderr."""
    traceback.print_exception(error, file=sys.stderr)
