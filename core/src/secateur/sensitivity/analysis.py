"""Analyse how sensitive a network is to what leaves: dim by dim or tensor by tensor, at several levels."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from attrs import define, evolve, field

from secateur.errors import ConfigError
from secateur.graph.capture import normalise_inputs
from secateur.plugins import current
from secateur.sensitivity.engines import ByReplay, Engine
from secateur.sensitivity.evaluating import Batches, Measure, Metrics, classification
from secateur.sensitivity.journal import DENSE, Journal, Point
from secateur.sensitivity.levels import DEFAULT, check_levels
from secateur.sensitivity.progress import Report, bar
from secateur.sensitivity.results import Sensitivity, complete
from secateur.sensitivity.settings import data_digest, model_digest
from secateur.sensitivity.sources import Remote, Source
from secateur.sensitivity.subjects import By, Subject, Trial, check_by, subjects_of_dims, subjects_of_tensors
from secateur.sensitivity.suggesting import Joint
from secateur.sensitivity.tape import NotReplayableError
from secateur.sensitivity.workers import Work, shared_out
from secateur.thinning.planner import couple

if TYPE_CHECKING:
    from torch import nn


MEMORY = 2 << 30


def analyse(
    model: nn.Module,
    example_inputs: Any,
    data: Any,
    *,
    by: By = "dim",
    criterion: str = "l1",
    levels: Iterable[float] = DEFAULT,
    names: str | Iterable[str] = (),
    measure: Measure = classification,
    higher_is_better: bool = True,
    calibrate: Callable[[nn.Module], Any] | None = None,
    results: str | os.PathLike[str] | None = None,
    jobs: int = 1,
    memory: int = MEMORY,
    builder: str = "trace",
    replay: bool = True,
    fuse: bool = True,
    progress: bool = False,
) -> Sensitivity:
    """Evaluate a network with a share of one dim, or of one tensor, set to zero, for each of them at each level.

    `data`: batches `(*inputs, targets)` of a loader, or a `DataSplit`; or a function `evaluate(model)` that returns a
    number or {name: number} and gets a copy of the model in eval mode. `measure(outputs, targets)` gives the means over
    a batch; by default accuracy and loss of a classifier. `higher_is_better` is said of the first metric.

    `by`: "dim" (units by a `criterion`, coupled as `secateur.plan` couples them), "tensor" (elements of weights, by
    magnitude), "filter" or "channel" (slices of one weight). `names`: globs of those to look at. `levels`: shares in
    (0, 1), ascending. `calibrate`: see `secateur.plan`.

    `results`: a CSV (or `.jsonl`) file that every result is appended to as it comes; called again with the same
    settings, the analysis goes on. `jobs`: processes. `memory`: bytes in which batches and activations may be kept.
    `replay`: do again only what a choice changes of the forward; the results are those of evaluating it all, to the
    last bit without `fuse`, which folds batch norms into convolutions for that and rounds in other places. Where a
    forward cannot be done again in part it is said in the result's `how` and `notes`.

    The model is never touched. Raises `ConfigError` for bad settings, `PlanError` for unknown names, `SecateurError`
    for an evaluation that fails or gives no number, `CaptureError` if the model does not run.
    """
    _check_positive(jobs=jobs, memory=memory)
    source = Source.of(data, measure, memory, replay, fuse)
    kind, shares = check_by(by), check_levels(levels)
    globs = [names] if isinstance(names, str) else list(names)
    inputs, coupling = normalise_inputs(example_inputs), None
    if kind == "dim":
        current().criteria[criterion]  # an unknown name is refused before anything runs
        coupling = couple(model, inputs, builder)
        subjects = subjects_of_dims(model, coupling, criterion, shares, globs, calibrate)
    else:
        subjects = subjects_of_tensors(model, kind, shares, globs)
    work = Analysis(model, subjects, shares, kind, criterion, source, source.batches(model), higher_is_better)
    dense, points = work.run(results, jobs, progress)
    return Sensitivity(
        by=kind,
        dense=dense,
        points=tuple(complete(points, [subject.name for subject in subjects], shares)),
        higher_is_better=higher_is_better,
        criterion=criterion,
        how=work.how,
        notes=tuple(f"{name} was evaluated as a whole: {why}" for name, why in work.notes.items()),
        joint=Joint(
            model=model,
            example_inputs=inputs,
            coupling=coupling,
            engine=work.ready,
            criterion=criterion,
            calibrate=calibrate,
            builder=builder,
        ),
    )


def _check_positive(**given: Any) -> None:
    for name, number in given.items():
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise ConfigError(f"expected a positive integer, got {number!r}", where=name)


@define(eq=False)
class Analysis:
    """One analysis: its subjects, and how the network is evaluated."""

    model: nn.Module
    subjects: list[Subject]
    levels: tuple[float, ...]
    by: By
    criterion: str
    source: Source
    batches: Batches
    higher_is_better: bool
    why: str = ""
    """Why the whole network is evaluated each time, if so."""
    notes: dict[str, str] = field(factory=dict)
    """{subject that was evaluated as a whole: why}"""
    _engine: Engine | None = None

    @property
    def how(self) -> str:
        """How the network was evaluated; nothing if it was not."""
        if self._engine is None:
            return ""
        if self.source.evaluate is not None:
            return "the whole network was evaluated each time: evaluate(model) cannot be done again in part"
        if self.why:
            return f"the whole network was evaluated each time: {self.why}"
        return "only what a choice changes of the forward was done again"

    def settings(self) -> dict[str, Any]:
        """What a file of results must have been made with."""
        return {
            "by": self.by,
            "criterion": self.criterion if self.by == "dim" else "magnitude",
            "levels": list(self.levels),
            "evaluation": self.source.name,
            "higher is better": self.higher_is_better,
            "subjects": [[subject.name, subject.size] for subject in self.subjects],
            "model": model_digest(self.model),
            "data": None if self.source.evaluate is not None else data_digest(self.batches),
        }

    def ready(self) -> Engine:
        """An engine that knows the network as it is."""
        if self._engine is None:
            self._dense()
        assert self._engine is not None
        return self._engine

    def run(self, results: str | os.PathLike[str] | None, jobs: int, progress: bool) -> tuple[Metrics, list[Point]]:
        """The metrics of the network as it is, and all points; what a file knows already is not evaluated again."""
        journal = None if results is None else Journal.open(results, self.settings())
        known = [] if journal is None else list(journal.points)
        done = {(point.name, point.level) for point in known}
        missing = [rest for subject in self.subjects if (rest := self._rest(subject, done)) is not None]
        total = sum(len(subject.trials) for subject in self.subjects)
        left = sum(len(subject.trials) for subject in missing)

        def keep(points: Iterable[Point]) -> None:
            new = [point for point in points if (point.name, point.level) not in done]
            done.update((point.name, point.level) for point in new)
            known.extend(new)
            if journal is not None:
                journal.add(new)

        with bar(progress, total, total - left) as report:
            if missing or (DENSE, 0.0) not in done:
                found = self._dense()
                keep([Point(DENSE, 0, 0.0, 0, found)])
            dense = next(point.metrics for point in known if point.name == DENSE)
            for subject in self.subjects:
                keep(self._untouched(subject, dense))
            if missing:
                for subject, trial, metrics in self._measured(missing, jobs, report):
                    keep(Point(subject.name, subject.size, level, trial.leaving, metrics) for level in trial.levels)
        return dense, known

    def _rest(self, subject: Subject, done: set[tuple[str, float]]) -> Subject | None:
        """The trials of a subject that are not known yet."""
        trials = tuple(t for t in subject.trials if any((subject.name, level) not in done for level in t.levels))
        return evolve(subject, trials=trials) if trials else None

    def _untouched(self, subject: Subject, dense: Metrics) -> list[Point]:
        """The points at which nothing of a subject leaves yet: the network as it is."""
        tried = {level for trial in subject.trials for level in trial.levels}
        return [Point(subject.name, subject.size, level, 0, dense) for level in self.levels if level not in tried]

    def _dense(self) -> Metrics:
        """The metrics of the network as it is; finds the engine to go on with."""
        engine = self.source.engine(self.model, self.batches)
        try:
            found = engine.dense()
        except NotReplayableError as reason:
            assert isinstance(engine, ByReplay)
            self.why, engine = str(reason), engine.plainly
            found = engine.dense()
        if not self.source.replay:
            self.why = "replay=False"
        self._engine = engine
        return found

    def _measured(
        self, subjects: Sequence[Subject], jobs: int, report: Report
    ) -> Iterator[tuple[Subject, Trial, Metrics]]:
        """Evaluate subjects, here or in other processes."""
        engine = self.ready()
        ordered = engine.order(subjects)
        if jobs == 1 or len(ordered) == 1:
            for subject in ordered:
                for trial, metrics in engine.run(subject):
                    yield subject, trial, metrics
                    report(subject.name, 1)
            self.notes |= engine.notes
            return
        import torch

        remote = Remote.of(self.source, self.batches, jobs, replay=not self.why)
        work = Work(self.model, remote, max(torch.get_num_threads() // jobs, 1))
        for number, found, why in shared_out(work, ordered, jobs):
            subject = ordered[number]
            if why:
                self.notes[subject.name] = why
            for trial, metrics in zip(subject.trials, found, strict=True):
                yield subject, trial, metrics
            report(subject.name, len(found))
