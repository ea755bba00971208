"""The core's own sub-commands, registered through the hooks as any plugin's are."""

from __future__ import annotations

from secateur.cli import plugins_command
from secateur.hookspecs import hookimpl
from secateur.records import Command


@hookimpl
def secateur_commands() -> list[Command]:
    """Add the commands of the core."""
    return [plugins_command.COMMAND]
