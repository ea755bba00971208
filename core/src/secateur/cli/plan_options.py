"""The options that say what leaves, shared by the commands that plan."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from secateur.cli.models import NamedModel, add_input, add_model, build_model, example_inputs
from secateur.errors import PlanError

if TYPE_CHECKING:
    from secateur.thinning.plan import Plan

DEFAULTS: Final[dict[str, Any]] = {
    "prune": ["0.5"],
    "criterion": "l1",
    "keep": [],
    "scope": "local",
    "round_to": 1,
    "renormalise": False,
}
"""What leaves if nobody says otherwise; the parser holds None, so that a command can tell."""


def add_plan_options(parser: argparse.ArgumentParser) -> None:
    """Add MODEL and everything that `prepare` and `make_plan` read."""
    add_model(parser)
    add = parser.add_argument
    add_input(parser)
    add("--weights", "--checkpoint", metavar="FILE", help="load this checkpoint of secateur.save first")
    add(
        "--prune",
        action="append",
        metavar="RATIO",
        help="share of the units of every dim that leaves, 0.5, or of some, 'layer1.*=0.3'; the last that matches "
        "counts (repeatable; default: 0.5)",
    )
    add("--criterion", metavar="NAME", help="what scores the units; the lowest leave (default: l1)")
    add("--keep", action="append", metavar="GLOB", help="dims or parameters that stay whole (repeatable)")
    add("--scope", choices=("local", "global"), help="rank within each dim, or all dims together (default: local)")
    add("--round-to", type=int, metavar="N", help="what stays of a dim is rounded up to a multiple of N (default: 1)")
    add(
        "--renormalise",
        action="store_true",
        default=None,
        help="also prune what operations average over (layer norm, attention scales): it changes their scale",
    )
    add("--builder", default="trace", metavar="NAME", help="what records the graph (default: trace)")


def given(arguments: argparse.Namespace) -> list[str]:
    """The options on the command line that say what leaves."""
    return [f"--{name.replace('_', '-')}" for name in DEFAULTS if getattr(arguments, name) is not None]


def prepare(arguments: argparse.Namespace) -> tuple[NamedModel, tuple[Any, ...]]:
    """Build the model, load its weights, and make its example inputs."""
    built = build_model(arguments.model, arguments.model_args, arguments.seed)
    if arguments.weights:
        from secateur.checkpoint import load

        load(arguments.weights, built.model)
    return built, example_inputs(built, arguments.input)  # a thin network takes smaller states


def make_plan(arguments: argparse.Namespace, built: NamedModel, inputs: tuple[Any, ...]) -> Plan:
    """Plan as the options say."""
    from secateur.thinning.planner import plan

    chosen = {
        name: default if getattr(arguments, name) is None else getattr(arguments, name)
        for name, default in DEFAULTS.items()
    }
    chosen["prune"] = parse_prune(chosen["prune"])
    return plan(built.model, inputs, builder=arguments.builder, **chosen)


def parse_prune(texts: Sequence[str]) -> float | dict[str, float]:
    """Read `0.5` and `'layer1.*=0.3'`; of several that match a dim the last one counts.

    >>> parse_prune(["0.5"])
    0.5
    >>> parse_prune(["0.5", "fc=0.25"])
    {'*': 0.5, 'fc': 0.25}
    """
    ratios: dict[str, float] = {}
    for text in texts:
        glob, _, number = text.rpartition("=")
        try:
            ratio = float(number)
        except ValueError:
            hint = "give a number such as 0.5, or a glob and a number such as 'layer1.*=0.3'"
            raise PlanError(f"{text!r} is no ratio", where="--prune", hint=hint) from None
        ratios.pop(glob or "*", None)  # the place of the last mention counts
        ratios[glob or "*"] = ratio
    return ratios["*"] if list(ratios) == ["*"] else ratios
