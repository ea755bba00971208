"""Where evaluations come from: batches or a function, made into an engine here or in another process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from attrs import evolve, frozen

from secateur.errors import DataError
from secateur.records import DataSplit
from secateur.sensitivity.engines import ByForward, ByFunction, ByReplay, Engine, Twin
from secateur.sensitivity.evaluating import Batch, Batches, Measure
from secateur.sensitivity.tape import NotReplayableError

if TYPE_CHECKING:
    from torch import nn

BATCH = 128
"""Examples a batch of a `DataSplit`."""


@frozen(eq=False)
class Split:
    """The batches of examples in memory."""

    data: DataSplit

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        for start in range(0, len(self.data), BATCH):
            yield self.data.inputs[start : start + BATCH], self.data.targets[start : start + BATCH]


@frozen(eq=False)
class Source:
    """What an engine is made of, but for the model."""

    evaluate: Callable[[nn.Module], Any] | None
    """A function that evaluates a model; None: the batches do."""
    loader: Any
    measure: Measure
    memory: int
    replay: bool = True
    """Whether only what changes may be done again."""
    fuse: bool = True
    """Whether calls may be fused for that, which rounds in other places."""

    @classmethod
    def of(cls, data: Any, measure: Measure, memory: int, replay: bool = True, fuse: bool = True) -> Source:
        """From batches, a `DataSplit` or a function; anything else is a `DataError`."""
        if isinstance(data, DataSplit):
            return cls(None, Split(data), measure, memory, replay, fuse)
        if isinstance(data, Iterable) and not isinstance(data, str | Mapping):
            return cls(None, data, measure, memory, replay, fuse)
        if callable(data):
            return cls(data, (), measure, memory, replay, fuse)
        what = f"expected batches or a function evaluate(model), got {type(data).__name__}"
        raise DataError(what, where="data", hint="give a DataLoader, a list of (inputs, targets), or a function")

    @property
    def name(self) -> str:
        """The function that evaluates, for the settings of a file."""
        function = self.measure if self.evaluate is None else self.evaluate
        name = getattr(function, "__qualname__", type(function).__name__)
        return f"{getattr(function, '__module__', '')}.{name}"

    def batches(self, model: nn.Module, kept: list[Batch] | None = None) -> Batches:
        """The batches, on the device of the model."""
        import torch

        device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
        return Batches(self.loader, device, self.memory, kept)

    def engine(self, model: nn.Module, batches: Batches) -> Engine:
        """The engine; it must be asked for `dense()` before anything else."""
        twin = Twin.of(model)
        if self.evaluate is not None:
            return ByFunction(twin, self.evaluate)
        if not self.replay:
            return ByForward(twin, batches, self.measure)
        return ByReplay(twin, batches, self.measure, self.memory, self.fuse)


@frozen(eq=False)
class Remote:
    """Makes the engine of one of several processes; the batches that were kept come along."""

    source: Source
    kept: list[Batch] | None

    @classmethod
    def of(cls, source: Source, batches: Batches, jobs: int, replay: bool) -> Remote:
        """A share of the memory for each process."""
        loader = () if batches.kept is not None else source.loader
        share = evolve(source, memory=source.memory // jobs, replay=source.replay and replay, loader=loader)
        return cls(share, batches.kept)

    def __call__(self, model: nn.Module) -> Engine:
        """The engine, ready for subjects."""
        engine = self.source.engine(model, self.source.batches(model, self.kept))
        if isinstance(engine, ByReplay):
            try:
                engine.dense()
            except NotReplayableError:
                return engine.plainly
        return engine
