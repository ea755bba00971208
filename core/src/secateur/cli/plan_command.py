"""`secateur plan`: what would leave a network, what that saves, and what stays and why; nothing is changed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from secateur.cli import console
from secateur.cli.plan_options import add_plan_options, make_plan, prepare
from secateur.cli.plan_view import show_explanation, show_plan, show_refusals, size_of, size_table
from secateur.errors import PlanError
from secateur.records import Command

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_plan_options(parser)
    parser.add_argument("--explain", metavar="NAME", help="say which operations couple a dim, or make a parameter stay")
    parser.add_argument("--json", metavar="FILE", help="write the plan, for secateur thin --plan; - prints it instead")


def run(arguments: argparse.Namespace) -> int:
    """Plan and print."""
    from secateur.checkpoint.files import check_writable, replacing
    from secateur.thinning.transaction import replay

    file = arguments.json if arguments.json != "-" else None
    if file:
        check_writable(file, PlanError)
    out, progress = console.stdout(), console.stderr()
    with progress.status("building the model"):
        built, inputs = prepare(arguments)
    with progress.status("planning"):
        plan = make_plan(arguments, built, inputs)
    if arguments.json == "-":
        out.print(json.dumps(plan.to_dict()), soft_wrap=True, markup=False)
        return 0
    if file:
        with replacing(file, PlanError) as temporary:
            temporary.write_text(json.dumps(plan.to_dict()) + "\n", encoding="utf-8")
    if arguments.explain:
        show_explanation(out, plan, arguments.explain)
        return 0
    with progress.status("measuring before and after"):
        before = size_of(built.model, inputs, arguments.builder)
        replay(built.model, plan)  # the model was built for this look and is not saved
        after = size_of(built.model, plan.states.cut_inputs(inputs), arguments.builder)
    show_plan(out, built, plan)
    out.print(size_table(before, after))
    show_refusals(out, plan)
    if file:
        out.print(f"\nwrote {file}", markup=False)
    return 0


COMMAND: Final = Command(
    name="plan",
    summary="Show what would leave a network, what that saves, and what stays and why.",
    configure=configure,
    run=run,
    order=30,
)
