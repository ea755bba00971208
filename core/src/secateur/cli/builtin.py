"""The core's own sub-commands, registered through the hooks as any plugin's are."""

from __future__ import annotations

from secateur.cli import (
    diff_command,
    export_command,
    graph_command,
    inspect_command,
    new_command,
    plan_command,
    plugins_command,
    run_command,
    schema_command,
    sensitivity_command,
    summary_command,
    thin_command,
)
from secateur.hookspecs import hookimpl
from secateur.records import Command


@hookimpl
def secateur_commands() -> list[Command]:
    """Add the commands of the core."""
    return [
        diff_command.COMMAND,
        inspect_command.COMMAND,
        export_command.COMMAND,
        graph_command.COMMAND,
        new_command.COMMAND,
        plan_command.COMMAND,
        plugins_command.COMMAND,
        run_command.COMMAND,
        schema_command.COMMAND,
        sensitivity_command.COMMAND,
        summary_command.COMMAND,
        thin_command.COMMAND,
    ]
