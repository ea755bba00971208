"""How plans, and networks before and after, are shown on the console."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text
    from torch import nn

    from secateur.cli.models import NamedModel
    from secateur.measure import Comparison
    from secateur.thinning.explanation import Block
    from secateur.thinning.plan import Plan

MOST_GROUPS = 8


@frozen
class Size:
    """What a network holds and computes: parameters, multiply-accumulates of one example, bytes of its tensors.

    `noun`: what an example is, "example" or "token"; `batch`: how many of them its inputs hold.
    """

    parameters: int
    macs: int
    bytes: int
    noun: str = "example"
    batch: int = 1


def size_of(model: nn.Module, inputs: Any, builder: str) -> Size:
    """Measure a network; it is run once to record its graph."""
    from secateur.graph.capture import trace
    from secateur.measure import count_bytes, count_parameters
    from secateur.measure.counts import batch_of, macs_each
    from secateur.plugins import current

    graph = trace(model, inputs, builder)
    batch, macs = batch_of(graph), macs_each(graph, current().op_rules)
    return Size(count_parameters(model), macs, count_bytes(model), batch.noun, batch.count)


def units_and_dims(plan: Plan) -> str:
    """`224 of 448 units in 12 dims`."""
    leaving, units = sum(len(dim.leaving) for dim in plan.dims), sum(dim.size for dim in plan.dims)
    return f"{leaving:,} of {units:,} units in {len(plan.dims)} dim{'' if len(plan.dims) == 1 else 's'}"


def show_plan(out: Console, built: NamedModel, plan: Plan) -> None:
    """Print the table of the dims."""
    from secateur.thinning.tables import plan_table

    out.print(f"{built.name}: {units_and_dims(plan)} leave", markup=False)
    if plan.dims:
        out.print(plan_table(plan))


def show_explanation(out: Console, plan: Plan, name: str) -> None:
    """Print which operations couple what is named so, or make it stay: trees whose lines fold on a terminal."""
    from rich.tree import Tree

    from secateur.thinning.explanation import explanation

    def grown(block: Block) -> Tree:
        tree = Tree(_marked(block.lines), guide_style="dim", highlight=False)
        tree.children += [grown(branch) for branch in block.branches]
        return tree

    for block in explanation(plan, name):
        if out.is_terminal:
            out.print(grown(block))
        else:
            out.print("\n".join(block.drawn()), soft_wrap=True, markup=False)


def _marked(lines: Sequence[str]) -> Text:
    """Lines of an explanation: arrows stand out, places and roles step back."""
    from rich.text import Text

    text = Text("\n".join(lines))
    text.highlight_regex("[→←]", "cyan")
    text.highlight_regex(r"\([^()]*:\d+\)|\((?:read|write)s? it\)", "dim")
    return text


def show_refusals(out: Console, plan: Plan) -> None:
    """Print what stays, and why."""
    from rich.padding import Padding
    from rich.text import Text

    from secateur.thinning.tables import refusal_groups

    for caution in (*plan.cautions, *([str(plan.states)] if plan.states else [])):
        out.print(Text.assemble(("careful: ", "yellow"), caution))
    groups = refusal_groups(plan)
    if not groups:
        return
    out.print("what stays, and why", style="bold")
    for places, reason in groups[:MOST_GROUPS]:
        out.print(Padding(Text(places), (0, 0, 0, 2), expand=False))
        out.print(Padding(Text(reason, "dim"), (0, 0, 0, 4), expand=False))
    if len(groups) > MOST_GROUPS:
        more = len(groups) - MOST_GROUPS
        out.print(f"  … and {more} more groups; --explain NAME asks for one, --json FILE writes all", markup=False)


def size_table(before: Size, after: Size, latency: Comparison | None = None) -> Table:
    """Before, after, and what is left."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("")
    for header in ("before", "after", "left"):
        table.add_column(header, justify="right", no_wrap=True)

    def row(name: str, old: float, new: float, form: str) -> None:
        table.add_row(name, format(old, form), format(new, form), f"{new / old:.1%}" if old else "-")

    row("parameters", before.parameters, after.parameters, ",d")
    row(f"MACs per {before.noun}", before.macs, after.macs, ",d")
    row("weights and buffers, KB", before.bytes / 1000, after.bytes / 1000, ",.1f")
    if latency is not None:
        a, b = latency.a, latency.b
        examples = f"{before.batch} {before.noun}{'' if before.batch == 1 else 's'}"
        left = f"{1 / latency.ratio:.1%}" if latency.ratio else "-"
        table.add_row(f"latency of {examples}, ms", f"{1e3 * a.median:.2f}", f"{1e3 * b.median:.2f}", left)
        spread = (f"{1e3 * each.low:.2f} to {1e3 * each.high:.2f}" for each in (a, b))
        table.add_row("  half of the runs, ms", *spread, "", style="dim")
    return table
