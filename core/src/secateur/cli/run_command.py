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


def run(args: argparse.Namespace) -> int:
    """Do the run and show it."""
    from secateur.cli import console
    from secateur.config import load
    from secateur.plugins import current
    from secateur.training.display import Display, next_step, proof_panel, summary_table
    from secateur.training.run import Run

    node = load(args.schedule)
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
    with Display(out, config.epochs) as display:
        results = prepared.train(data, display.step, display.result)
    with console.stderr().status("measuring and saving"):
        summary = prepared.summarise(results, data[1])
    out.print(summary_table(summary))
    out.print(proof_panel(summary, config.model.name))
    out.print(next_step(summary), soft_wrap=True, markup=False)
    passed = (summary.difference is None or summary.difference.passed) and summary.reloaded.passed
    return 0 if passed else 1


COMMAND = Command(
    name="run",
    summary="Train, prune gradually, thin and fine-tune by a schedule.",
    configure=configure,
    run=run,
    order=10,
)
