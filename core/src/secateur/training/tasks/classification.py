"""Classification: cross entropy over shuffled, augmented mini-batches; judged by accuracy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from attrs import frozen

from secateur.records import DataSplit
from secateur.thinning.report import Report
from secateur.thinning.verify import quiet
from secateur.training.batches import batches, number_of_batches
from secateur.training.tasks.base import Batch, Evaluation, Metric, Outcome

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

ACCURACY = Metric("accuracy", "acc", higher_is_better=True, shape=".1%")
EVALUATED = 256
"""Examples that are evaluated at once."""
MEASURED = 64
"""Examples on which networks are compared and timed."""


@frozen
class Classification:
    """Which class? `augment`: "crop" and "flip", see `secateur.training.batches`.

    A model in training mode may return several outputs (auxiliary heads): it is trained on the first.
    """

    augment: tuple[str, ...] = ()
    metric: Metric = ACCURACY
    per: str = "example"

    def steps(self, data: DataSplit, batch_size: int) -> int:
        """See `number_of_batches`."""
        return number_of_batches(len(data), batch_size)

    def batches(self, data: DataSplit, batch_size: int, generator: torch.Generator) -> Iterator[Batch]:
        """Inputs (n, *shape) and targets (n,)."""
        for inputs, targets in batches(data, batch_size, generator, self.augment):
            yield Batch(inputs, targets)

    def forward(self, model: nn.Module, batch: Batch, carried: Any) -> Outcome:
        """The mean cross entropy, and how many are right."""
        from torch.nn.functional import cross_entropy

        outputs = model(batch.inputs)
        outputs = outputs[0] if isinstance(outputs, tuple) else outputs
        right = int((outputs.argmax(1) == batch.targets).sum())
        return Outcome(cross_entropy(outputs, batch.targets), right, len(batch.targets), None)

    def cut(self, carried: Any, report: Report) -> Any:
        """Nothing is carried over."""
        return carried

    def score(self, loss: float, correct: int, seen: int) -> Evaluation:
        """Mean loss and share of right answers."""
        return Evaluation(loss / max(seen, 1), correct / max(seen, 1))

    def evaluate(self, model: nn.Module, data: DataSplit) -> Evaluation:
        """Over all examples of a split."""
        from torch.nn.functional import cross_entropy

        correct, total = 0, 0.0
        with quiet(model):
            for inputs, targets in batches(data, EVALUATED):
                outputs = model(inputs)
                correct += int((outputs.argmax(1) == targets).sum())
                total += float(cross_entropy(outputs, targets, reduction="sum"))
        return self.score(total, correct, len(data))

    def example(self, data: DataSplit) -> tuple[Tensor, ...]:
        """The first examples."""
        return (data.inputs[: min(MEASURED, len(data))],)

    def inputs_like(self, model: nn.Module, sizes: Mapping[str, int], shape: tuple[int, ...] | None) -> tuple[Any, ...]:
        """Two random examples."""
        import torch

        return (torch.randn(2, *(shape or ())),)
