"""The command reference, from the parsers of the commands themselves."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator

from texts import cell, code, fence, prose

from secateur.cli import builtin
from secateur.cli.main import _add_options
from secateur.records import Command

WIDTH = 88


def commands() -> list[Command]:
    """The commands of the core, as `secateur --help` lists them."""
    return sorted(builtin.secateur_commands(), key=lambda command: (command.order, command.name))


def page() -> str:
    """The whole page."""
    front = argparse.ArgumentParser(prog="secateur", add_help=False)
    _add_options(front)
    parts = [
        "# Commands",
        "`secateur COMMAND --help` prints the same, also for commands that plugins add. The exit status says what came"
        " of it: 0, done; 2, refused, with one line that says what, where and what to do; 130, interrupted; any other"
        " is the command's own.",
        "\n".join(["| command | |", "|---|---|", *(_line(command) for command in commands())]),
        "## Options in front of the command { #front }",
        _table(front),
        *(_section(command) for command in commands()),
    ]
    return "\n\n".join(parts) + "\n"


def _line(command: Command) -> str:
    return f"| [`secateur {command.name}`](#{command.name}) | {cell(command.summary)} |"


def _section(command: Command) -> str:
    os.environ["COLUMNS"] = str(WIDTH)  # argparse has no other way to be told
    parser = argparse.ArgumentParser(prog=f"secateur {command.name}", description=command.summary)
    command.configure(parser)
    usage = parser.format_usage().removeprefix("usage: ")
    parts = [f"## {command.name} {{ #{command.name} }}", prose(command.summary), fence(usage, "text"), _table(parser)]
    return "\n\n".join(parts)


def _table(parser: argparse.ArgumentParser) -> str:
    lines = ["| argument | meaning |", "|---|---|"]
    lines += [f"| {names} | {meaning} |" for names, meaning in _rows(parser)]
    return "\n".join(lines)


def _rows(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction) or action.help == argparse.SUPPRESS:
            continue
        shown = action.metavar or (action.dest if not action.option_strings else action.dest.upper())
        value = "" if action.nargs == 0 else shown if isinstance(shown, str) else " ".join(shown)
        if action.choices is not None and not action.metavar:
            value = "{" + ",".join(map(str, action.choices)) + "}"
        names = [f"{name} {value}".strip() for name in action.option_strings] or [value]
        yield ", ".join(map(code, names)), cell((action.help or "").replace("%%", "%"))
