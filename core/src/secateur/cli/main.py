"""The entry point of `secateur`: reads the options in front, loads plugins, runs one sub-command."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from typing import NoReturn

import secateur
from secateur.cli import builtin, console
from secateur.errors import PluginError, SecateurError, suggestion
from secateur.plugins import PluginManager, PluginRow, using
from secateur.plugins.manager import CORE
from secateur.records import Command

ERROR, INTERRUPTED, BROKEN_PIPE = 2, 130, 141


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are `SecateurError`s, with a suggestion for a mistyped option."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage and leaving the process."""
        raise SecateurError(message, where=self.prog, hint=f"see {self.prog} --help")


class _Help(argparse.HelpFormatter):
    """Lists sub-commands straight under their title."""

    def _format_action(self, action: argparse.Action) -> str:
        text = super()._format_action(action)
        return text.partition("\n")[2] if isinstance(action, argparse._SubParsersAction) else text


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit status.

    0: done; 2: refused, with one line on stderr; 130: interrupted; anything else is the command's own.
    Exceptions that are no `SecateurError` are bugs: they propagate, with a note saying whose command it was.
    """
    debug = False
    try:
        typed = list(sys.argv[1:] if argv is None else argv)
        options = _parse(_front_parser(), typed)
        debug = options.debug
        if options.version:
            console.stdout().print(f"secateur {secateur.__version__}")
            return 0
        return _run(options, shlex.join(["secateur", *typed]))
    except SecateurError as error:
        if debug:
            console.show_traceback(error)
        console.complain("error", error, style="bold red")
        return ERROR
    except KeyboardInterrupt:
        console.complain("interrupted", "stopped by the user", style="yellow")
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output went away; Python would complain again when it exits
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except SystemExit as stop:
        if isinstance(stop.code, str):
            console.complain("error", stop.code, style="bold red")
            return 1
        return stop.code or 0


def _run(options: argparse.Namespace, typed: str) -> int:
    plugins = _load_plugins(options)
    if options.help or not options.rest:
        _help_parser(plugins).print_help()
        _warn(plugins, options.debug)
        return 0
    name, *arguments = options.rest
    command, source = plugins.commands[name], plugins.commands.source(name)
    warned = _warn(plugins, options.debug)
    try:
        with using(plugins):
            status = _run_command(command, arguments, typed)
    except (SecateurError, BrokenPipeError):
        raise
    except Exception as error:
        error.add_note(f"internal error in 'secateur {name}' of {source}: please report it there")
        raise
    _warn(plugins, options.debug, already=warned)
    return status


def _run_command(command: Command, arguments: list[str], typed: str) -> int:
    """Run one command; `typed`, the whole command line, is there for it as `command_line`."""
    parser = Parser(prog=f"secateur {command.name}", description=command.summary, allow_abbrev=False)
    command.configure(parser)
    parser.set_defaults(command_line=typed)
    status: int | None = command.run(_parse(parser, arguments))
    return 0 if status is None else int(status)


def _parse(parser: Parser, arguments: Sequence[str]) -> argparse.Namespace:
    """Parse all arguments; a mistyped option is an error with a suggestion."""
    parsed, rest = parser.parse_known_args(list(arguments))
    if not rest:
        return parsed
    first = rest[0]
    if not first.startswith("-"):
        raise SecateurError(f"unexpected argument {first!r}", where=parser.prog, hint=f"see {parser.prog} --help")
    options = [option for option in parser._option_string_actions if option.startswith("--")]
    hint = suggestion(first.partition("=")[0], options)
    raise SecateurError(f"unknown option {first!r}", where=parser.prog, hint=hint)


def _load_plugins(options: argparse.Namespace) -> PluginManager:
    if CORE in options.disable:
        raise PluginError(f"plugin {CORE!r} cannot be disabled", where="--disable")
    plugins = PluginManager.discover(disable=options.disable, files=options.plugin_file)
    there = {row.name for row in plugins.rows if row.dist}
    for name in options.disable:
        if name not in there:
            what = f"plugin {name!r} is not installed"
            raise PluginError(what, where="--disable", hint=suggestion(name, there))
    plugins.register(builtin, CORE, dist="secateur", version=secateur.__version__)
    return plugins


def _warn(plugins: PluginManager, debug: bool, already: Sequence[PluginRow] = ()) -> tuple[PluginRow, ...]:
    """Say in one line each which plugins failed, and return them."""
    failed = tuple(row for row in plugins.rows if row.status == "failed")
    for row in failed:
        if row not in already:
            cause = plugins.cause(row)
            if debug and cause is not None:
                console.show_traceback(cause)
            console.complain("warning", row, style="bold yellow")
    return failed


def _front_parser() -> Parser:
    """Read the options in front of the sub-command; everything from the sub-command on is left in `rest`."""
    parser = Parser(prog="secateur", add_help=False, allow_abbrev=False)
    _add_options(parser)
    parser.add_argument("rest", nargs=argparse.REMAINDER)
    return parser


def _help_parser(plugins: PluginManager) -> argparse.ArgumentParser:
    """Lay out the help: the same options, and one line per sub-command."""
    parser = argparse.ArgumentParser(
        prog="secateur",
        usage="secateur [OPTIONS] COMMAND ...",
        description="Prune PyTorch networks and make them physically smaller.",
        epilog="'secateur COMMAND --help' explains a command.",
        formatter_class=_Help,
        add_help=False,
    )
    _add_options(parser)
    listed = parser.add_subparsers(title="commands", metavar="COMMAND")
    for command in sorted(plugins.commands.values(), key=lambda command: (command.order, command.name)):
        listed.add_parser(command.name, help=command.summary.replace("%", "%%"), add_help=False)
    return parser


def _add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("-h", "--help", action="store_true", help="show this help")
    add("--version", action="store_true", help="show the version")
    add("--debug", action="store_true", help="show tracebacks of errors and of plugins that failed")
    add("--disable", action="append", default=[], metavar="NAME", help="do not load this plugin (repeatable)")
    add("--plugin-file", action="append", default=[], metavar="PATH", help="load this Python file as a plugin")


if __name__ == "__main__":
    sys.exit(main())
