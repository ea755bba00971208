"""Evaluate one subject after another: by doing again what its weights change, or the whole network each time."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, cast

from attrs import define, field, frozen

from secateur.errors import SecateurError
from secateur.sensitivity.evaluating import Average, Batch, Batches, Measure, Metrics, checked
from secateur.sensitivity.frontier import Frontier, Part, part_of
from secateur.sensitivity.fusing import fused
from secateur.sensitivity.subjects import Subject, Trial
from secateur.sensitivity.tape import NotReplayableError, Tape, check_unchanged, record, tensors_of
from secateur.thinning.masking import results_held
from secateur.thinning.state import named_tensors
from secateur.thinning.verify import compare, float_dtype, quiet

if TYPE_CHECKING:
    from torch import Tensor, nn

Found = Iterator[tuple[Trial, Metrics]]

TOLERANCE = 0.1
"""What doing again may differ from the model's own forward, in shares of the tolerance of its dtype."""
FUSED = 0.02
"""The same for calls that are fused: 2e-6 of the largest output in float32."""


class Engine(Protocol):
    """Evaluates the network as it is, and with what the trials of a subject take away."""

    notes: dict[str, str]
    """{subject that was evaluated plainly: why}"""

    def dense(self) -> Metrics: ...  # noqa: D102
    def order(self, subjects: Sequence[Subject]) -> list[Subject]: ...  # noqa: D102
    def run(self, subject: Subject) -> Found: ...  # noqa: D102


@frozen(eq=False)
class Twin:
    """A copy of a model that is evaluated in its place: nothing of the model itself is ever touched."""

    model: nn.Module
    own: Mapping[str, Tensor]
    """The parameters and buffers of the model it is a copy of."""

    @classmethod
    def of(cls, model: nn.Module) -> Twin:
        """Copy a model; one that cannot be copied is a `SecateurError`."""
        import torch

        try:
            with torch.no_grad():
                twin = copy.deepcopy(model, results_held(model))
        except Exception as error:
            what = f"it cannot be copied ({type(error).__name__}: {error})"
            raise SecateurError(what, where="model", hint="copy.deepcopy(model) must work") from error
        twin.eval()
        return cls(twin, named_tensors(model))

    @contextmanager
    def wearing(self, weights: Mapping[str, Tensor]) -> Iterator[nn.Module]:
        """The copy, in eval mode, with some tensors in place of its own, and everything as it was afterwards."""
        import torch

        mine = named_tensors(self.model)
        try:
            with torch.no_grad():
                for name, tensor in weights.items():
                    mine[name].data.copy_(tensor)
            yield self.model
        finally:
            self.model.eval()
            with torch.no_grad():
                for name, tensor in self.own.items():
                    mine[name].data.copy_(tensor)


@define(eq=False)
class Whole(ABC):
    """Evaluates the whole network for every trial."""

    twin: Twin
    notes: dict[str, str] = field(factory=dict, init=False)

    def dense(self) -> Metrics:
        """Evaluate the network as it is."""
        return self._evaluate({}, "the network as it is")

    def order(self, subjects: Sequence[Subject]) -> list[Subject]:
        """As they come."""
        return list(subjects)

    def run(self, subject: Subject) -> Found:
        """Evaluate trial after trial."""
        for trial in subject.trials:
            yield trial, self._evaluate(trial.masked(self.twin.own), named(subject, trial))

    @abstractmethod
    def _evaluate(self, weights: Mapping[str, Tensor], of: str) -> Metrics:
        """The metrics of the network with these weights; `of` says in messages what they are."""


@define(eq=False)
class ByFunction(Whole):
    """Calls a function of the user's with the masked network."""

    evaluate: Callable[[nn.Module], Any]

    def _evaluate(self, weights: Mapping[str, Tensor], of: str) -> Metrics:
        with self.twin.wearing(weights) as model:
            try:
                found = self.evaluate(model)
            except SecateurError:
                raise
            except Exception as error:
                what = f"it failed for {of} ({type(error).__name__}: {error})"
                raise SecateurError(what, where="evaluate", hint="evaluate(model) must run by itself") from error
        return checked(found, "evaluate", of)


@define(eq=False)
class ByForward(Whole):
    """Runs the network on all batches."""

    batches: Batches
    measure: Measure

    def _evaluate(self, weights: Mapping[str, Tensor], of: str) -> Metrics:
        average = Average()
        with self.twin.wearing(weights) as model, quiet(model):
            for batch in self.batches:
                average.add(measured(self.measure, forward(model, batch, of), batch, of), batch.examples)
        return average.result()


@define(eq=False)
class ByReplay:
    """Does again, batch by batch, only what the weights of a trial change.

    Convolutions take what scales their channels afterwards into their weights, unless `fuse` is false: then the results
    are those of evaluating it all to the last bit. Batches wait where the first changed call of the last subject was if
    that fits into `limit` bytes; subjects should come in the order of the forward. Others start from their inputs, once
    for all levels of a subject.
    """

    twin: Twin
    batches: Batches
    measure: Measure
    limit: int
    fuse: bool = True
    notes: dict[str, str] = field(factory=dict)
    _tapes: dict[Any, Tape] = field(factory=dict)
    _parts: dict[tuple[int, frozenset[str]], Part] = field(factory=dict)
    _waiting: dict[int, Frontier] = field(factory=dict)
    _sizes: dict[int, int] = field(factory=dict)

    @property
    def plainly(self) -> ByForward:
        """The same, without replay."""
        return ByForward(self.twin, self.batches, self.measure)

    def dense(self) -> Metrics:
        """Evaluate the network as it is; `NotReplayableError` if its forward cannot be done again in part."""
        average, of = Average(), "the network as it is"
        with self.twin.wearing({}) as model, quiet(model):
            for batch in self.batches:
                outputs = forward(model, batch, of)
                tape = self._tape(batch)
                env = {**tape.held, **tape.start(batch.tensors)}
                self._check(outputs, played(tape, env), of)
                average.add(measured(self.measure, outputs, batch, of), batch.examples)
        return average.result()

    def order(self, subjects: Sequence[Subject]) -> list[Subject]:
        """In the order of the forward."""
        tape = next(iter(self._tapes.values()))
        return sorted(subjects, key=lambda subject: self._start(tape, subject))

    def _start(self, tape: Tape, subject: Subject) -> int:
        try:
            return self._part(tape, subject).start
        except NotReplayableError:
            return 0

    def run(self, subject: Subject) -> Found:
        """Evaluate all trials batch by batch; plainly if the forward cannot be done again for this subject."""
        try:
            averages = self._averages(subject)
        except NotReplayableError as reason:
            self.notes[subject.name] = str(reason)
            self._waiting.clear()
            yield from self.plainly.run(subject)
            return
        for trial, average in zip(subject.trials, averages, strict=True):
            yield trial, average.result()

    def _averages(self, subject: Subject) -> list[Average]:
        import torch

        averages = [Average() for _ in subject.trials]
        weights = self._weights(subject)
        for number, batch in enumerate(self.batches):
            tape = self._tape(batch)
            part = self._part(tape, subject)
            with torch.no_grad():
                frontier = self._waiting.pop(number, None)
                if frontier is None or frontier.position > part.start:
                    frontier = Frontier(tape, tape.start(batch.tensors))
                ready = attempted(partial(frontier.ready, part))
                for i, trial in enumerate(subject.trials):
                    of, masked = named(subject, trial), weights(trial)
                    outputs = attempted(partial(ready.outputs, masked))
                    averages[i].add(measured(self.measure, outputs, batch, of), batch.examples)
                    if number == 0 and i == len(subject.trials) - 1:
                        with self.twin.wearing(masked) as model, quiet(model):
                            self._check(forward(model, batch, of), outputs, of)
            self._wait(number, frontier)
        return averages

    def _weights(self, subject: Subject) -> Callable[[Trial], dict[str, Tensor]]:
        """The masked tensors of a trial: kept, if they are small, or made anew for each batch."""
        own = self.twin.own
        total = sum(own[name].numel() * own[name].element_size() for name in subject.tensors)
        if total * len(subject.trials) > self.limit // 2:
            return lambda trial: trial.masked(own)
        made = {id(trial): trial.masked(own) for trial in subject.trials}
        return lambda trial: made[id(trial)]

    def _wait(self, number: int, frontier: Frontier) -> None:
        """Keep a batch where it is, if batches come again and there is room."""
        size = frontier.bytes
        self._sizes[number] = 0
        if self.batches.kept is not None and sum(self._sizes.values()) + size <= self.limit:
            self._waiting[number], self._sizes[number] = frontier, size

    def _tape(self, batch: Batch) -> Tape:
        form = batch.form
        if form not in self._tapes:
            with self.twin.wearing({}) as model, quiet(model):
                try:
                    made, outputs = record(model, *batch.copied())
                except NotReplayableError:
                    raise
                except Exception as error:
                    raise NotReplayableError(
                        f"it does not run under watch ({type(error).__name__}: {error})"
                    ) from error
                check_unchanged(self.twin.model, self.twin.own)
            own = named_tensors(self.twin.model)
            # the twin's tensors are changed meanwhile, those of the model never are
            made.held |= {slot: self.twin.own[name].detach() for name, slot in made.named.items() if name in own}
            self._tapes[form] = made if not self.fuse else self._fused(made, batch, outputs)
        return self._tapes[form]

    def _fused(self, tape: Tape, batch: Batch, outputs: Any) -> Tape:
        """The tape with calls fused, if that gives the same but for rounding."""
        try:
            made = attempted(partial(fused, tape))
            if made is None:
                return tape
            found = played(made, {**made.held, **made.start(batch.tensors)})
            self._check(outputs, found, "fused", FUSED)
        except NotReplayableError:
            return tape
        return cast(Tape, made)

    def _part(self, tape: Tape, subject: Subject) -> Part:
        key = (id(tape), frozenset(subject.tensors))
        if key not in self._parts:
            self._parts[key] = part_of(tape, subject.tensors)
        return self._parts[key]

    def _check(self, wanted: Any, found: Any, of: str, tolerance: float = TOLERANCE) -> None:
        """Raise `NotReplayableError` unless outputs are those of the model's own forward."""
        difference = compare(list(tensors_of(wanted)), list(tensors_of(found)), float_dtype(self.twin.model))
        if not difference.relative <= difference.tolerance * tolerance:
            what = f"doing it again gives other outputs for {of} ({difference.relative:.1e} relative)"
            raise NotReplayableError(what)


def named(subject: Subject, trial: Trial) -> str:
    """A trial in words."""
    return f"{subject.name} at level {trial.levels[0]:g}"


def forward(model: nn.Module, batch: Batch, of: str) -> Any:
    """What the model gives for a batch; its failure is a `SecateurError` that says on what."""
    import torch

    args, kwargs = batch.copied()
    try:
        with torch.no_grad():
            return model(*args, **kwargs)
    except Exception as error:
        what = f"the model failed on a batch, {of} ({type(error).__name__}: {error})"
        raise SecateurError(what, where="data", hint="model(*inputs) must run by itself") from error


def measured(measure: Measure, outputs: Any, batch: Batch, of: str) -> Metrics:
    """The metrics of a batch; a failure is a `SecateurError` that says on what."""
    try:
        found = measure(outputs, batch.targets)
    except SecateurError:
        raise
    except Exception as error:
        what = f"it failed for {of} ({type(error).__name__}: {error})"
        hint = "the default is for a classifier's outputs (n, classes) and targets (n,); give measure= for others"
        raise SecateurError(what, where="measure", hint=hint) from error
    return checked(found, "measure", of)


def played(tape: Tape, env: dict[int, Tensor]) -> Any:
    """The outputs of a whole tape."""
    from secateur.sensitivity.tape import filled

    def whole() -> Any:
        tape.play(env, tape.steps())
        return filled(tape.output, env)

    import torch

    with torch.no_grad():
        return attempted(whole)


def attempted(action: Callable[[], Any]) -> Any:
    """Do something again; whatever fails is a `NotReplayableError`: the model's own forward may do better."""
    try:
        return action()
    except NotReplayableError:
        raise
    except Exception as error:
        raise NotReplayableError(f"doing it again fails ({type(error).__name__}: {error})") from error
