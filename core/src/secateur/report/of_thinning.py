"""The report of one thinning, as `secateur thin` does it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from secateur.measure import Comparison
from secateur.measure.counts import batch_of
from secateur.plugins import PluginManager
from secateur.report.content import Figure, Proof, ReportContent
from secateur.report.drawn import picture_of
from secateur.report.environment import device_of, machine, now, threads, versions
from secateur.report.gathering import modules_between, pruned_by, same_outputs, stays_of, timing
from secateur.report.network import Network
from secateur.thinning.report import Report

if TYPE_CHECKING:
    from torch import nn

UNTIMED = "It was not timed; --latency times the network before and after."


def thinning_content(
    name: str,
    report: Report,
    before: Network,
    after: Network,
    model: nn.Module,
    *,
    plugins: PluginManager,
    latency: Comparison | None = None,
    reloaded: Proof | None = None,
    shapes: tuple[tuple[int, ...], ...] = (),
    facts: tuple[tuple[str, str], ...] = (),
    command: str = "",
    code: str = "",
) -> ReportContent:
    """All that is known of a thinning. `name`: of the model; `shapes`: of the example inputs."""
    plan = report.plan
    figures = [
        Figure("Parameters", before.parameters, after.parameters, "count"),
        Figure("Multiply-accumulates", before.macs, after.macs, "count", note=f"per {batch_of(before.graph).noun}"),
    ]
    if latency is not None:
        figures.append(
            Figure("Latency", latency.a.median, latency.b.median, "seconds", note="median", factor=latency.ratio)
        )
    figures.append(Figure("Weights and buffers", before.bytes, after.bytes, "bytes"))
    proofs = [same_outputs(report.difference, plan.reference, why_not=" (--no-verify)")]
    pruned = pruned_by(plan)
    gone, units = sum(dim.gone for dim in pruned), sum(dim.size for dim in pruned)
    return ReportContent(
        title=f"{name}, thinned" if gone else f"{name}, as it was",
        lead=f"{gone:,} of {units:,} units left, {len(plan.cuts):,} parameters and buffers were cut, "
        f"in {report.seconds:.2f} s."
        if gone
        else "The plan lets nothing leave.",
        made=now(),
        figures=tuple(figures),
        pruned=pruned,
        stays=stays_of(plan.refusals),
        cautions=(*plan.cautions, *report.notes),
        proofs=(*proofs, *([reloaded] if reloaded is not None else [])),
        picture=picture_of(before.graph, plan),
        modules=modules_between(before.modules, after.modules),
        per=batch_of(before.graph).noun,
        timing=None if latency is None else timing(latency, shapes, model),
        untimed=UNTIMED,
        facts=(
            ("model", name),
            ("inputs", " and ".join("×".join(map(str, shape)) for shape in shapes)),
            *facts,
            ("device", device_of(model)),
            ("threads", str(threads())),
            ("system", machine()),
        ),
        versions=versions(plugins),
        command=command,
        code=code,
    )
