"""`secateur thin`: make a network physically smaller, prove that it computes the same, and save it."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from secateur.cli import console
from secateur.cli.plan_options import add_plan_options, given, make_plan, prepare
from secateur.cli.plan_view import size_of, size_table, units_and_dims
from secateur.cli.thin_report import Reporting, check_report
from secateur.cli.zeros_view import show_zeros
from secateur.errors import PlanError, SecateurError, ThinError
from secateur.records import Command

if TYPE_CHECKING:
    import argparse

    from rich.console import Console
    from torch import nn

    from secateur.cli.models import NamedModel
    from secateur.thinning.plan import Plan
    from secateur.thinning.report import Report


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_plan_options(parser)
    add = parser.add_argument
    add("-o", "--output", required=True, metavar="FILE", help="the checkpoint to write, such as thin.safetensors")
    add("--zeros", action="store_true", help="remove what zeroed weights have silenced, and nothing else")
    add(
        "--accept",
        type=float,
        metavar="X",
        help="with --zeros: also remove what changes the outputs by at most X of the largest (default: 0)",
    )
    add("--plan", metavar="FILE", help="thin by this plan of secateur plan --json")
    add("--no-verify", action="store_true", help="do not compare the thinned network with its reference")
    add("--latency", action="store_true", help="time the network before and after")
    add("--report", metavar="FILE", help="write a report to look at, such as thin.html")


def run(arguments: argparse.Namespace) -> int:
    """Thin, verify, save, and print before and after."""
    from secateur.checkpoint import save
    from secateur.checkpoint.saving import check_replaceable
    from secateur.measure import latency_pair
    from secateur.thinning.transaction import thin

    check_replaceable(arguments.output)
    check_report(arguments.report, arguments.output)
    _check_options(arguments)
    saved = read_plan(arguments.plan) if arguments.plan else None
    out, progress = console.stdout(), console.stderr()
    with progress.status("building the model"):
        built, inputs = prepare(arguments)
        model = built.model
    with progress.status("planning"):
        plan = saved or _planned(arguments, built, inputs)
        if saved is not None:
            _check_plan(model, saved, arguments.plan)
        before = size_of(model, inputs, arguments.builder)
        reporting = Reporting.begin(arguments, built, inputs) if arguments.report else None
        dense = _copy(model, built.name) if arguments.latency else None
    with progress.status("thinning" if arguments.no_verify else "thinning and verifying"):
        report = thin(model, plan, verify=not arguments.no_verify, example_inputs=inputs)
        remaining = plan.states.cut_inputs(inputs)
        after = size_of(model, remaining, arguments.builder)
    # No spinner here: it would take time of its own from what is timed.
    latency = latency_pair(dense, model, inputs, 50, warmup=5, inputs_of_b=remaining) if dense is not None else None
    save(arguments.output, model)
    if reporting is not None:
        with progress.status("writing the report"):
            reporting.write(report, latency)
    out.print(_what_left(built, plan), markup=False)
    show_zeros(out, plan)
    out.print(size_table(before, after, latency))
    _show_proof(out, report)
    _show_output(out, built, arguments.output)
    if reporting is not None:
        out.print(f"\nreport: {arguments.report}", markup=False, soft_wrap=True)
    return 0


def _check_options(arguments: argparse.Namespace) -> None:
    """Raise `SecateurError` for two options that both say what leaves, or one that would say nothing."""
    chooser = "--plan" if arguments.plan else "--zeros" if arguments.zeros else ""
    said = [option for option in given(arguments) if not (arguments.zeros and option == "--keep")]
    if arguments.plan and arguments.zeros:
        said.append("--zeros")
    if chooser and said:
        what = f"{chooser} says what leaves, {said[0]} does too"
        raise SecateurError(what, where="secateur thin", hint="give one of them")
    if arguments.accept is not None and not arguments.zeros:
        raise SecateurError("--accept goes with --zeros", where="secateur thin", hint="give both, or neither")


def _planned(arguments: argparse.Namespace, built: NamedModel, inputs: tuple[Any, ...]) -> Plan:
    from secateur.zeros.planner import plan_zeros

    if not arguments.zeros:
        return make_plan(arguments, built, inputs)
    accept, keep = arguments.accept or 0.0, arguments.keep or ()
    return plan_zeros(built.model, inputs, accept=accept, keep=keep, builder=arguments.builder)


def _copy(model: nn.Module, name: str) -> nn.Module:
    try:
        return copy.deepcopy(model)
    except Exception as error:
        what = f"the model cannot be copied to time it before and after ({type(error).__name__}: {error})"
        raise SecateurError(what, where=name, hint="leave out --latency") from error


def read_plan(path: str) -> Plan:
    """Read a plan that `secateur plan --json` wrote; anything else is a `PlanError` that names the file."""
    from secateur.thinning.plan import Plan

    hint = "make it with secateur plan MODEL --json FILE"
    try:
        return Plan.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise PlanError(f"the plan cannot be read ({reason})", where=path, hint=hint) from error
    except (ValueError, RecursionError) as error:
        raise PlanError(f"it is no plan: no JSON ({error})", where=path, hint=hint) from error
    except PlanError as error:
        raise PlanError(f"it is no plan: {error.what}", where=path, hint=hint) from error


def _check_plan(model: nn.Module, plan: Plan, path: str) -> None:
    from secateur.thinning.conditions import check_fits

    try:
        check_fits(model, plan)
    except ThinError as error:
        what = f"it does not fit this model: {error.where}: {error.what}"
        raise PlanError(what, where=path, hint="make it for this model with secateur plan --json") from error


def _what_left(built: NamedModel, plan: Plan) -> str:
    if not plan.cuts:
        return f"{built.name}: nothing was removed: the plan lets nothing leave"
    return f"{built.name}: {units_and_dims(plan)} removed"


def _show_proof(out: Console, report: Report) -> None:
    if report.difference is None:
        out.print(f"{report.plan.reference} and thinned were not compared (--no-verify)", style="yellow")
        return
    found = report.difference
    out.print(
        f"{report.plan.reference} and thinned outputs differ by {found.relative:.1e} relative, "
        f"{found.absolute:.1e} absolute (tolerance {found.tolerance:.0e})",
        style="green",
    )


def _show_output(out: Console, built: NamedModel, path: str) -> None:
    imports, expression = built.code
    out.print(f"\nwrote {path}, {Path(path).stat().st_size / 1000:,.1f} KB; load it with\n", markup=False)
    for line in ("import secateur", imports, f"model = secateur.load({path!r}, {expression})"):
        out.print(f"    {line}", markup=False, soft_wrap=True)


COMMAND: Final = Command(
    name="thin",
    summary="Make a network physically smaller, prove that it computes the same, save it.",
    configure=configure,
    run=run,
    order=31,
)
