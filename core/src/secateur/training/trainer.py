"""The trainer: a plain training loop with the scheduler's callbacks, and nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from attrs import frozen

from secateur.measure import count_parameters
from secateur.records import DataSplit
from secateur.schedule.scheduler import Scheduler
from secateur.thinning.report import Report
from secateur.thinning.verify import quiet
from secateur.training.batches import batches, number_of_batches

if TYPE_CHECKING:
    import torch
    from torch import nn
    from torch.optim import Optimizer


@frozen
class EpochResult:
    """What one epoch came to: mean loss and accuracy in training, accuracy on the test set (shares of 1), seconds."""

    epoch: int
    learning_rate: float
    train_loss: float
    train_accuracy: float
    test_accuracy: float
    masked_share: float
    parameters: int
    seconds: float


@frozen
class ThinningResult:
    """A thinning in the middle of training, and the accuracy right after it."""

    epoch: int
    report: Report
    test_accuracy: float


@frozen
class Evaluation:
    """Accuracy (a share of 1) and mean cross entropy over a data set."""

    accuracy: float
    loss: float


def evaluate(model: nn.Module, data: DataSplit, batch_size: int = 256) -> Evaluation:
    """Evaluate a classifier in eval mode; the model is left as it was."""
    from torch.nn.functional import cross_entropy

    correct, total = 0, 0.0
    with quiet(model):
        for inputs, targets in batches(data, batch_size):
            outputs = model(inputs)
            correct += int((outputs.argmax(1) == targets).sum())
            total += float(cross_entropy(outputs, targets, reduction="sum"))
    return Evaluation(correct / max(len(data), 1), total / max(len(data), 1))


def train(
    model: nn.Module,
    optimizer: Optimizer,
    scheduler: Scheduler,
    train_data: DataSplit,
    test_data: DataSplit,
    *,
    epochs: int,
    batch_size: int,
    generator: torch.Generator,
    augment: tuple[str, ...] = (),
    on_step: Callable[[int, int, int], None] = lambda epoch, step, steps: None,
    on_result: Callable[[EpochResult | ThinningResult], None] = lambda result: None,
) -> None:
    """Train for some epochs with cross entropy, following the scheduler.

    `on_step(epoch, step, steps)` and `on_result(result)` are for showing progress. Classifiers that return several
    outputs in training mode (auxiliary heads) are trained on the first.
    """
    from torch.nn.functional import cross_entropy

    steps = number_of_batches(len(train_data), batch_size)
    for epoch in range(epochs):
        start = time.perf_counter()
        model.train()
        total, correct, seen = 0.0, 0, 0
        scheduler.on_epoch_begin(epoch)
        for step, (inputs, targets) in enumerate(batches(train_data, batch_size, generator, augment)):
            thinned = len(scheduler.reports)
            scheduler.on_minibatch_begin(epoch, step, steps)
            for report in scheduler.reports[thinned:]:
                on_result(ThinningResult(epoch, report, evaluate(model, test_data).accuracy))
            outputs = model(inputs)
            outputs = outputs[0] if isinstance(outputs, tuple) else outputs
            loss = scheduler.before_backward(cross_entropy(outputs, targets))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            scheduler.on_minibatch_end(epoch, step, steps)
            total += float(loss.detach()) * len(targets)
            correct += int((outputs.argmax(1) == targets).sum())
            seen += len(targets)
            on_step(epoch, step, steps)
        rate = float(optimizer.param_groups[0]["lr"])
        with scheduler.masked():
            test = evaluate(model, test_data)
        scheduler.on_epoch_end(epoch, metrics={"loss": test.loss})
        on_result(
            EpochResult(
                epoch=epoch,
                learning_rate=rate,
                train_loss=total / max(seen, 1),
                train_accuracy=correct / max(seen, 1),
                test_accuracy=test.accuracy,
                masked_share=scheduler.masked_share,
                parameters=count_parameters(model),
                seconds=time.perf_counter() - start,
            )
        )
