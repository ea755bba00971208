"""The report in the output folder of `secateur run`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from secateur.errors import SecateurError

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from secateur.training.run import Run, Summary

REPORT = "report.html"


def write_report(
    run: Run, summary: Summary | None, judged: str, arguments: argparse.Namespace, schedule: str, warning: str = ""
) -> Path | None:
    """Write the report of a run and return where; if that cannot be done, say why and return None.

    The run itself is saved by then, which a report must not spoil. `schedule`: the text of the schedule file.
    """
    from secateur.cli import console
    from secateur.report import write_html
    from secateur.report.content import Configuration
    from secateur.report.of_run import run_content

    path = run.output / REPORT
    given = Configuration(arguments.schedule, schedule)
    try:
        with console.stderr().status("writing the report"):
            content = run_content(
                run, summary, judged, command=arguments.command_line, configuration=given, warning=warning
            )
            write_html(path, content)
    except SecateurError as error:
        console.complain("warning", f"no report was written: {error}", style="yellow")
        return None
    return path
