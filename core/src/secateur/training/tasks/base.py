"""What the trainer asks of a task: mini-batches, a loss, and how well a network does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from attrs import frozen

from secateur.records import DataSplit, TextSplit
from secateur.thinning.report import Report

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

Split = DataSplit | TextSplit


@frozen
class Metric:
    """The number by which a network is judged."""

    name: str
    """`"accuracy"`: how it is called in results."""
    short: str
    """Its unit or short name, for narrow columns."""
    higher_is_better: bool
    shape: str
    """A format specification, such as `".1%"`."""

    def show(self, value: float) -> str:
        """The number as it is printed.

        >>> Metric("accuracy", "acc", True, ".1%").show(0.914)
        '91.4%'
        """
        return format(value, self.shape)

    def best(self, values: list[float]) -> float | None:
        """The best of some, None of none."""
        return None if not values else (max if self.higher_is_better else min)(values)


@frozen
class Evaluation:
    """How well a network does: mean loss (cross entropy, in nats) per example or word, and the task's metric."""

    loss: float
    metric: float


@frozen(eq=False)
class Batch:
    """A mini-batch: `inputs` and `targets`, as the task made them."""

    inputs: Tensor
    targets: Tensor


@frozen(eq=False)
class Outcome:
    """What a forward pass came to: the mean loss, still to be differentiated, over `seen` targets."""

    loss: Tensor
    correct: int
    """Of the targets, those that were predicted; 0 if the metric does not count them."""
    seen: int
    carried: Any
    """What the next mini-batch begins with: recurrent states, detached."""


class Task(Protocol):
    """What a network is trained to do. A task holds settings and no state."""

    @property
    def metric(self) -> Metric:
        """By which a network is judged."""

    @property
    def per(self) -> str:
        """What one target is called: `"example"`, `"word"`."""

    def steps(self, data: Any, batch_size: int) -> int:
        """The number of mini-batches of a pass over the training data."""

    def batches(self, data: Any, batch_size: int, generator: torch.Generator) -> Iterator[Batch]:
        """One pass over the training data, drawing from the generator alone."""

    def forward(self, model: nn.Module, batch: Batch, carried: Any) -> Outcome:
        """Run the network on a mini-batch; `carried` is what the one before gave, None at the begin of a pass."""

    def cut(self, carried: Any, report: Report) -> Any:
        """What is carried over, fit for the network after a thinning."""

    def score(self, loss: float, correct: int, seen: int) -> Evaluation:
        """From the sum of the losses over `seen` targets."""

    def evaluate(self, model: nn.Module, data: Any) -> Evaluation:
        """Judge a network in eval mode; it is left as it was."""

    def example(self, data: Any) -> tuple[Tensor, ...]:
        """Real inputs, on which networks are compared and timed."""

    def inputs_like(self, model: nn.Module, sizes: Mapping[str, int], shape: tuple[int, ...] | None) -> tuple[Any, ...]:
        """Inputs of the right shape, before any data is there; `shape`: of one example, `sizes`: of `DatasetEntry`."""
