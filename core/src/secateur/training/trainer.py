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
from secateur.training.progress import Progress

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn
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
    progress: Progress | None = None,
    on_step: Callable[[int, int, int], None] = lambda epoch, step, steps: None,
    on_result: Callable[[EpochResult | ThinningResult], None] = lambda result: None,
    on_rest: Callable[[Progress], None] = lambda progress: None,
) -> None:
    """Train for some epochs with cross entropy, following the scheduler.

    `on_step(epoch, step, steps)` and `on_result(result)` are for showing progress. `on_rest(progress)` is called
    between any two mini-batches and between epochs, where everything may be saved; with that `progress`, and model,
    optimizer, scheduler and random states as they were, training goes on as if it had never stopped. Classifiers that
    return several outputs in training mode (auxiliary heads) are trained on the first.
    """
    steps = number_of_batches(len(train_data), batch_size)
    now = Progress() if progress is None else progress
    while now.epoch < epochs:
        if now.order is None:
            now.order = generator.get_state()
        generator.set_state(now.order)
        start = time.perf_counter() - now.seconds
        model.train()
        if now.step == 0:
            scheduler.on_epoch_begin(now.epoch)
        for step, (inputs, targets) in enumerate(batches(train_data, batch_size, generator, augment)):
            if step < now.step:
                continue
            thinned = len(scheduler.reports)
            scheduler.on_minibatch_begin(now.epoch, step, steps)
            for report in scheduler.reports[thinned:]:
                on_result(ThinningResult(now.epoch, report, evaluate(model, test_data).accuracy))
            outputs, loss = _step(model, optimizer, scheduler, inputs, targets)
            scheduler.on_minibatch_end(now.epoch, step, steps)
            now.loss += loss * len(targets)
            now.correct += int((outputs.argmax(1) == targets).sum())
            now.seen += len(targets)
            on_step(now.epoch, step, steps)
            now.step, now.seconds = step + 1, time.perf_counter() - start
            on_rest(now)
        rate = float(optimizer.param_groups[0]["lr"])
        with scheduler.masked():
            test = evaluate(model, test_data)
        scheduler.on_epoch_end(now.epoch, metrics={"loss": test.loss})
        on_result(
            EpochResult(
                epoch=now.epoch,
                learning_rate=rate,
                train_loss=now.loss / max(now.seen, 1),
                train_accuracy=now.correct / max(now.seen, 1),
                test_accuracy=test.accuracy,
                masked_share=scheduler.masked_share,
                parameters=count_parameters(model),
                seconds=time.perf_counter() - start,
            )
        )
        now = Progress(epoch=now.epoch + 1, order=generator.get_state())
        on_rest(now)


def _step(
    model: nn.Module, optimizer: Optimizer, scheduler: Scheduler, inputs: Tensor, targets: Tensor
) -> tuple[Tensor, float]:
    """One step of the optimizer; the outputs, and the loss with what regularizers add."""
    from torch.nn.functional import cross_entropy

    outputs = model(inputs)
    outputs = outputs[0] if isinstance(outputs, tuple) else outputs
    loss = scheduler.before_backward(cross_entropy(outputs, targets))
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return outputs, float(loss.detach())
