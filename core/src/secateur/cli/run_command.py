"""`secateur run`: train, prune gradually, thin and fine-tune a registered model by a schedule file."""

from __future__ import annotations

import argparse
from pathlib import Path

from secateur.records import Command


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("schedule", help="YAML file with a section 'run' and the schedule")
    parser.add_argument(
        "--output", "-o", metavar="DIR", help="where results go (default: runs/<name of the schedule file>)"
    )
    parser.add_argument(
        "--resume",
        nargs="?",
        const="",
        metavar="CHECKPOINT",
        help="go on where an earlier run of this schedule stopped (default: checkpoint.safetensors in the output)",
    )


def run(args: argparse.Namespace) -> int:
    """Do the run and show it. Status 130 if Ctrl-C stopped it, 143 if SIGTERM did; it can go on then."""
    from secateur.cli import console
    from secateur.cli.run_report import write_report
    from secateur.config import load
    from secateur.plugins import current
    from secateur.training.display import Display, next_step, proof_panel, summary_table
    from secateur.training.interrupt import Interrupt
    from secateur.training.resuming import Stopped
    from secateur.training.run import CHECKPOINT, Run

    node = load(args.schedule)
    text = Path(args.schedule).read_text(encoding="utf-8-sig", errors="replace")
    output = Path(args.output) if args.output else Path("runs") / Path(args.schedule).stem
    out = console.stdout()
    prepared = Run(node, current(), output)
    config = prepared.config
    out.print(
        f"{config.model.name} on {config.data.name}, {config.epochs} epochs, "
        f"{len(prepared.scheduler.dims)} prunable dims, schedule {args.schedule}"
    )
    with console.stderr().status(f"loading {config.data.name}"):
        data = prepared.load_data()
    if args.resume is None and (output / CHECKPOINT).exists():
        said = f"{output / CHECKPOINT} of an earlier run will be replaced; --resume goes on from it"
        console.complain("note", said, style="yellow")
    if args.resume is not None:
        progress = prepared.resume(Path(args.resume) if args.resume else None)
        out.print(f"going on at {progress}")
    try:
        with Interrupt() as interrupt, Display(out, config.epochs, prepared.task.metric, data.judged_by) as display:
            prepared.train(data, display.step, display.result, lambda: interrupt.asked)
    except Stopped as stopped:
        command = args.command_line if args.resume == "" else f"{args.command_line} --resume"  # the last one counts
        said = f"saved {output / CHECKPOINT} at {stopped.progress}; go on with  {command}"
        console.complain("interrupted", said, style="yellow")
        warning = f"Interrupted at {stopped.progress}. It goes on with: {command}"
        if prepared.results and (written := write_report(prepared, None, data.judged_by, args, text, warning)):
            out.print(f"so far:  {written}", soft_wrap=True, markup=False)
        return interrupt.status
    with console.stderr().status("measuring and saving"):
        summary = prepared.summarise(data)
    out.print(summary_table(summary))
    out.print(proof_panel(summary, config.model.name))
    out.print(next_step(summary), soft_wrap=True, markup=False)
    if written := write_report(prepared, summary, data.judged_by, args, text):
        out.print(f"look at it:  {written}", soft_wrap=True, markup=False)
    passed = (summary.difference is None or summary.difference.passed) and summary.reloaded.passed
    return 0 if passed else 1


COMMAND = Command(
    name="run",
    summary="Train, prune gradually, thin and fine-tune by a schedule.",
    configure=configure,
    run=run,
    order=10,
)
