"""The report of a whole run, as `secateur run` does it, finished or interrupted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from secateur.measure import macs_each
from secateur.report.content import (
    Chart,
    Configuration,
    Figure,
    Mark,
    Proof,
    ReportContent,
    Series,
    Sheet,
    Timing,
    Unit,
)
from secateur.report.drawn import picture_of
from secateur.report.environment import device_of, machine, now, threads, versions
from secateur.report.gathering import (
    modules_between,
    pruned_during,
    same_outputs,
    same_reloaded,
    stays_of,
    timing,
)
from secateur.report.network import Network, look
from secateur.report.spelling import duration, spelled
from secateur.thinning.recipe import recipe_of
from secateur.training.run import Run, Summary
from secateur.training.tasks.base import Metric
from secateur.training.trainer import EpochResult

if TYPE_CHECKING:
    from torch import nn

COMPARED = "Masked versus thinned"


def run_content(
    run: Run,
    summary: Summary | None,
    judged: str,
    *,
    command: str = "",
    configuration: Configuration | None = None,
    warning: str = "",
) -> ReportContent:
    """All that is known of a run. `summary`: None if it was interrupted; `judged`: the split by which epochs are."""
    before, after = _look(run, run.dense), _look(run, run.model)
    pruned = pruned_during(run.scheduler)
    gone, units = sum(dim.gone for dim in pruned), sum(dim.size for dim in pruned)
    epochs, steps = run.results, recipe_of(run.model).steps
    spent = duration(sum(epoch.seconds for epoch in epochs))
    plans = [report.plan for report in run.scheduler.reports]
    whole = len(plans) == len(steps) == 1  # the one plan is of the dense network
    checkpoint = "" if summary is None else str(summary.checkpoint)
    return ReportContent(
        title=f"{run.config.model.name} on {run.config.data.name}",
        lead=f"{len(epochs)} epoch{'' if len(epochs) == 1 else 's'} in {spent}; "
        f"{gone:,} of {units:,} units left the network" + (f" in {len(steps)} steps." if len(steps) > 1 else "."),
        warning=warning,
        made=now(),
        figures=tuple(_figures(run, summary, judged, before, after)),
        pruned=pruned,
        stays=stays_of(run.scheduler.coupling.refusals),
        cautions=tuple(dict.fromkeys(text for plan in plans for text in plan.cautions)),
        proofs=_proofs(run, summary),
        charts=charts(epochs, run.task.metric, judged, marks(steps)),
        history=sheet(epochs, run.task.metric, judged) if epochs else None,
        picture=picture_of(before.graph, plans[0]) if whole else picture_of(after.graph, None),
        modules=modules_between(before.modules, after.modules),
        per=run.task.per,
        timing=None if summary is None else _timing(summary, run.model),
        untimed="It is timed when the run is finished.",
        configuration=configuration,
        facts=_facts(run, spent, checkpoint),
        versions=versions(run.manager),
        command=command,
        code=f"import secateur\n\nmodel = ...  # a fresh dense {run.config.model.name}\n"
        f"model = secateur.load({checkpoint!r}, model)"
        if checkpoint
        else "",
    )


def _look(run: Run, model: nn.Module) -> Network:
    shape = run.manager.datasets[run.config.data.name].input_shape
    return look(model, run.task.inputs_like(model, run.sizes, shape), run.manager, count=macs_each)


def _figures(run: Run, summary: Summary | None, judged: str, before: Network, after: Network) -> list[Figure]:
    metric = run.task.metric
    found = [
        Figure("Parameters", before.parameters, after.parameters, "count"),
        Figure("Multiply-accumulates", before.macs, after.macs, "count", note=f"per {run.task.per}"),
    ]
    if summary is not None:
        timed = summary.latency
        which = "final" if summary.dense is None else "best dense, final"
        found.append(Figure("Latency", timed.a.median, timed.b.median, "seconds", note="median", factor=timed.ratio))
        if summary.valid is None:
            found.append(_judged(metric, summary.dense, summary.final.metric, f"{judged}: {which}"))
        else:
            test = spelled(summary.final.metric, unit_of(metric))
            note = f"{judged}: {which}; {test} on test"
            found.append(_judged(metric, summary.dense, summary.valid.metric, note))
    elif run.results:
        dense = metric.best([epoch.valid.metric for epoch in run.results if not epoch.pruned])
        which = "last" if dense is None else "best dense, last"
        found.append(_judged(metric, dense, run.results[-1].valid.metric, f"{judged}: {which}"))
    if run.results and run.results[-1].sparsity >= 0.001:
        zero = run.results[-1].sparsity
        left = round(after.parameters * (1 - zero))
        found.append(Figure("Parameters not zero", before.parameters, left, "count"))
    return found


def _judged(metric: Metric, dense: float | None, final: float, note: str) -> Figure:
    name = metric.name.capitalize()
    return Figure(name, dense, final, unit_of(metric), "more" if metric.higher_is_better else "less", note)


def unit_of(metric: Metric) -> Unit:
    """How the values of a metric are written."""
    return "share" if metric.shape.endswith("%") else "number"


def _proofs(run: Run, summary: Summary | None) -> tuple[Proof, ...]:
    steps = len(recipe_of(run.model).steps)
    worst = max(run.differences, key=lambda difference: difference.relative, default=None)
    if steps:
        thinned = same_outputs(worst, "masked", steps, why_not=": the schedule says verify: false")
    else:
        said = "Nothing was thinned yet." if summary is None else "Nothing was thinned by this schedule."
        thinned = Proof(COMPARED, said, None, None, None)
    return (thinned,) if summary is None else (thinned, same_reloaded(summary.reloaded))


def _timing(summary: Summary, model: nn.Module) -> Timing:
    return timing(summary.latency, [summary.latency_inputs], model)


def marks(steps: Sequence[Any]) -> tuple[Mark, ...]:
    """When a recipe's steps were made; the values of an epoch stand at its end, so that its begin lies before."""
    found = [step.made for step in steps if "epoch" in step.made]
    return tuple(
        Mark(made["epoch"] - (0.5 if not made.get("step") else 0.25), "thinned" if len(found) == 1 else f"thinned {n}")
        for n, made in enumerate(found, 1)
    )


def charts(
    epochs: Sequence[EpochResult], metric: Metric, judged: str, thinned: tuple[Mark, ...] = ()
) -> tuple[Chart, ...]:
    """What went on over the epochs."""

    def chart(title: str, unit: Unit, *series: Series, from_zero: bool = False) -> Chart:
        x = tuple(float(epoch.epoch) for epoch in epochs)
        return Chart(title=title, unit=unit, x=x, series=series, marks=thinned, from_zero=from_zero)

    def line(name: str, *path: str) -> Series:
        values = list[Any](epochs)
        for attribute in path:
            values = [getattr(value, attribute) for value in values]
        return Series(name, tuple(float(value) for value in values))

    if not epochs:
        return ()
    return (
        chart(
            metric.name.capitalize(), unit_of(metric), line(judged, "valid", "metric"), line("train", "train", "metric")
        ),
        chart("Loss", "number", line(judged, "valid", "loss"), line("train", "train", "loss")),
        chart(
            "Pruned",
            "share",
            line("units masked or gone", "masked_share"),
            line("zeros among the parameters there are", "sparsity"),
            from_zero=True,
        ),
        chart("Parameters", "count", line("parameters", "parameters"), from_zero=True),
        chart("Learning rate", "number", line("learning rate", "learning_rate")),
        chart("Time of an epoch", "seconds", line("seconds", "seconds"), from_zero=True),
    )


def sheet(epochs: Sequence[EpochResult], metric: Metric, judged: str) -> Sheet:
    """The same in numbers."""
    headers = (
        "epoch", "learning rate", "train loss", f"{judged} loss", f"train {metric.name}", f"{judged} {metric.name}",
        "pruned", "zeros", "parameters", "time",
    )  # fmt: skip
    return Sheet(
        headers,
        tuple(
            (
                str(epoch.epoch),
                f"{epoch.learning_rate:.4g}",
                f"{epoch.train.loss:.4f}",
                f"{epoch.valid.loss:.4f}",
                metric.show(epoch.train.metric),
                metric.show(epoch.valid.metric),
                spelled(epoch.masked_share, "share"),
                spelled(epoch.sparsity, "share"),
                f"{epoch.parameters:,}",
                spelled(epoch.seconds, "seconds"),
            )
            for epoch in epochs
        ),
    )


def _facts(run: Run, spent: str, checkpoint: str) -> tuple[tuple[str, str], ...]:
    config, optimizer = run.config, run.optimizer
    rows = [
        ("model", _called(config.model.name, config.model.args)),
        ("begun from", config.model.checkpoint or ""),
        ("data", _called(config.data.name, config.data.args)),
        ("batch size", str(config.data.batch_size)),
        ("optimizer", type(optimizer).__name__),
        ("epochs", f"{len(run.results)} of {config.epochs}"),
        ("training time", spent),
        ("seed", str(config.seed)),
        ("checkpoint", checkpoint),
        ("device", device_of(run.model)),
        ("threads", str(threads())),
        ("system", machine()),
    ]
    return tuple((name, value) for name, value in rows if value)


def _called(name: str, arguments: dict[str, Any]) -> str:
    given = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
    return f"{name}({given})" if given else name
