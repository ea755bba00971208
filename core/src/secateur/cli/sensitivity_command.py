"""`secateur sensitivity`: how much each layer of a network can lose, and how much of each should leave."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from secateur.cli import console
from secateur.cli.models import NamedModel, add_model, build_model, key_value
from secateur.config.arguments import taken
from secateur.errors import ConfigError, SecateurError, suggestion
from secateur.plugins import current
from secateur.records import Command, DatasetEntry

if TYPE_CHECKING:
    from torch import nn

    from secateur.sensitivity import Sensitivity

WHERE: Final = "secateur sensitivity"
INTERRUPTED: Final = 130
CALIBRATED: Final = 512
"""Examples that a criterion of mini-batches looks at."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_model(parser)
    add = parser.add_argument
    add("--checkpoint", "--weights", metavar="FILE", help="load this checkpoint of secateur.save first")
    add("--data", metavar="NAME", help="a registered data set")
    add("--data-args", action="append", default=[], metavar="KEY=VALUE", help="an argument for loading it (repeatable)")
    add("--split", metavar="NAME", help="which part of it (default: valid if it has one, else test)")
    add("--examples", type=int, metavar="N", help="evaluate on the first N examples only")
    add(
        "--by",
        choices=("dim", "tensor", "filter", "channel"),
        default="dim",
        help="units of dims; elements, filters or channels of single weights (default: dim)",
    )
    add("--levels", metavar="LEVELS", help="shares that leave: 0.1:0.9:0.1, or 0.2,0.5 (default: 0.1 to 0.9, and 0.95)")
    add("--names", action="append", default=[], metavar="GLOB", help="dims or tensors to look at (repeatable)")
    add("--criterion", default="l1", metavar="NAME", help="what scores the units of a dim (default: l1)")
    add("--jobs", type=int, default=1, metavar="N", help="processes (default: 1)")
    add(
        "-o",
        "--output",
        metavar="FILE",
        help="write each result there as it comes, and go on from it: .csv, .jsonl",
    )
    add("--plot", metavar="FILE", help="draw it: .png, .svg or .pdf")
    add("--metric", metavar="NAME", help="what the table and the picture show (default: the first)")
    add(
        "--suggest-accuracy",
        type=float,
        metavar="X",
        help="print a schedule that keeps the metric at X or better",
    )
    add(
        "--suggest-macs",
        type=float,
        metavar="X",
        help="print a schedule that leaves this share of the MACs: 0.5",
    )
    add("--schedule", metavar="FILE", help="write the suggested schedule there instead")
    add("--percentile", type=float, metavar="Q", help="only print this percentile of |w| of each weight, as YAML")
    add("--builder", default="trace", metavar="NAME", help="what records the graph (default: trace)")


def run(arguments: argparse.Namespace) -> int:
    """Analyse and show. Status 130 if Ctrl-C stopped it; with `-o` the same command goes on then."""
    _check(arguments)
    if arguments.percentile is not None:
        return _percentiles(arguments)
    from secateur.sensitivity import analyse
    from secateur.sensitivity.levels import DEFAULT, parse_levels
    from secateur.sensitivity.plotting import check_path

    levels = parse_levels(arguments.levels) if arguments.levels else DEFAULT
    if arguments.plot:
        check_path(arguments.plot)
    out, progress = console.stdout(), console.stderr()
    entry, given = _dataset(arguments)
    with progress.status("building the model"):
        built = _built(arguments, _sizes(arguments.model, entry, given))
    with progress.status(f"loading {entry.name}"):
        subject = _subject(entry, given, arguments)
    try:
        found = analyse(
            built.model,
            subject.inputs,
            subject.data,
            by=arguments.by,
            criterion=arguments.criterion,
            levels=levels,
            names=arguments.names,
            higher_is_better=subject.higher_is_better,
            calibrate=subject.calibrate if current().criteria[arguments.criterion].collector else None,
            results=arguments.output,
            jobs=arguments.jobs,
            builder=arguments.builder,
            progress=True,
        )
    except KeyboardInterrupt:
        kept = f"what was found is in {arguments.output}; the same command goes on from there"
        console.complain("interrupted", kept if arguments.output else "nothing was kept: -o would", style="yellow")
        return INTERRUPTED
    out.print(f"{built.name} on {entry.name}", markup=False)
    out.print(found.table(arguments.metric))
    if arguments.plot:
        found.plot(arguments.plot, arguments.metric)
        out.print(f"\nwrote {arguments.plot}", markup=False)
    _suggest(arguments, found)
    return 0


@frozen
class _Subject:
    """What a data set says of an analysis."""

    inputs: tuple[Any, ...]
    data: Any
    higher_is_better: bool
    calibrate: Any


@frozen
class TextEvaluation:
    """Evaluates a language model on a text."""

    task: Any
    data: Any

    def __call__(self, model: nn.Module) -> dict[str, float]:
        """The task's metric, and the mean loss."""
        found = self.task.evaluate(model, self.data)
        return {self.task.metric.name: found.metric, "loss": found.loss}


def _check(arguments: argparse.Namespace) -> None:
    """Raise `SecateurError` for options that do not go together."""
    if arguments.percentile is None and not arguments.data:
        hint = f"give --data, one of {', '.join(sorted(current().datasets))}"
        raise SecateurError("nothing says what to evaluate on", where=WHERE, hint=hint)
    if arguments.percentile is not None and arguments.data:
        raise SecateurError("--percentile looks at weights only", where=WHERE, hint="leave out --data")
    if arguments.suggest_accuracy is not None and arguments.suggest_macs is not None:
        raise SecateurError("--suggest-accuracy and --suggest-macs", where=WHERE, hint="give one of them")
    if arguments.schedule and arguments.suggest_accuracy is None and arguments.suggest_macs is None:
        what = "--schedule goes with --suggest-accuracy or --suggest-macs"
        raise SecateurError(what, where=WHERE, hint="give both, or neither")
    if arguments.examples is not None and arguments.examples < 1:
        raise SecateurError(f"--examples {arguments.examples}", where=WHERE, hint="give a positive number")


def _percentiles(arguments: argparse.Namespace) -> int:
    """Print `{tensor: percentile}`: the `q` of the pruner "baidu_rnn" is taken from them."""
    import yaml

    from secateur.summaries import percentiles

    with console.stderr().status("building the model"):
        built = _built(arguments, {})
    table = percentiles(built.model, arguments.percentile)
    found = {str(row["tensor"]): float(f"{row['percentile']:.6g}") for row in table.records()}
    text = yaml.safe_dump(found, sort_keys=False, width=1000)
    console.stdout().out(text, highlight=False, end="")
    return 0


def _built(arguments: argparse.Namespace, sizes: dict[str, Any]) -> NamedModel:
    from secateur.checkpoint import load

    said = {text.partition("=")[0] for text in arguments.model_args}
    more = [f"{name}={size}" for name, size in sizes.items() if name not in said]
    built = build_model(arguments.model, [*arguments.model_args, *more], arguments.seed)
    if arguments.checkpoint:
        load(arguments.checkpoint, built.model)
    elif not arguments.percentile and arguments.model in current().models and "weights" not in said:
        console.complain(
            "note", f"{arguments.model} has fresh weights; --checkpoint gives trained ones", style="yellow"
        )
    return built


def _dataset(arguments: argparse.Namespace) -> tuple[DatasetEntry, dict[str, Any]]:
    datasets = current().datasets
    if arguments.data not in datasets:
        what = f"no data set named {arguments.data!r}"
        raise ConfigError(what, where="--data", hint=suggestion(arguments.data, datasets))
    return datasets[arguments.data], dict(key_value(text, "--data-args") for text in arguments.data_args)


def _sizes(model: str, entry: DatasetEntry, given: dict[str, Any]) -> dict[str, Any]:
    """What the data set says of a registered model: `num_classes`, `vocabulary`."""
    with _refused(entry):
        sizes = entry.model_sizes(given)
    return taken(current().models[model].build, sizes) if model in current().models else {}


@contextmanager
def _refused(entry: DatasetEntry) -> Iterator[None]:
    """Blame `--data-args` for what the data set refuses while the body runs."""
    try:
        yield
    except (TypeError, ValueError) as error:
        what = f"the data set {entry.name!r} refuses its arguments: {error}"
        raise ConfigError(what, where="--data-args") from error


def _subject(entry: DatasetEntry, given: dict[str, Any], arguments: argparse.Namespace) -> _Subject:
    """Load a split and say how a network is evaluated on it."""
    from torch.nn.functional import cross_entropy

    from secateur.records import DataSplit
    from secateur.thinning.calibrating import calibration
    from secateur.training.tasks.language import LanguageModelling

    split = arguments.split or ("valid" if "valid" in entry.splits else "test")
    if split not in entry.splits:
        raise ConfigError(f"{entry.name} has no split {split!r}", where="--split", hint=suggestion(split, entry.splits))
    with _refused(entry):
        data = entry.load(split, **given)
    if isinstance(data, DataSplit):
        if arguments.examples is not None:
            data = DataSplit(inputs=data.inputs[: arguments.examples], targets=data.targets[: arguments.examples])
        few = [(data.inputs[i : i + 64], data.targets[i : i + 64]) for i in range(0, min(len(data), CALIBRATED), 64)]
        return _Subject((data.inputs[:2],), data, True, calibration(few, cross_entropy))
    if arguments.examples is not None:
        raise SecateurError("--examples is for data sets of examples", where=WHERE, hint="leave it out for text")
    task = LanguageModelling()
    return _Subject(task.example(data), TextEvaluation(task, data), task.metric.higher_is_better, None)


def _suggest(arguments: argparse.Namespace, found: Sensitivity) -> None:
    """Print or write the schedule that was asked for."""
    from pathlib import Path

    if arguments.suggest_accuracy is None and arguments.suggest_macs is None:
        return
    with console.stderr().status("trying choices on the whole network"):
        chosen = found.suggest(accuracy=arguments.suggest_accuracy, macs=arguments.suggest_macs)
    out = console.stdout()
    out.print(f"\nsuggested: {chosen.told()}", markup=False, soft_wrap=True)
    if not arguments.schedule:
        out.print()
        out.out(chosen.yaml(), highlight=False, end="")
        return
    from secateur.checkpoint.files import replacing

    with replacing(Path(arguments.schedule), SecateurError) as temporary:
        temporary.write_text(chosen.yaml(), encoding="utf-8")
    out.print(f"wrote {arguments.schedule}", markup=False)


COMMAND: Final = Command(
    name="sensitivity",
    summary="Show how much each layer of a network can lose, and suggest how much of each should leave.",
    configure=configure,
    run=run,
    order=28,
)
