"""The trainer: a plain training loop with the scheduler's callbacks, and nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from attrs import frozen

from secateur.measure import count_parameters
from secateur.schedule.scheduler import Scheduler
from secateur.thinning.report import Report
from secateur.training.progress import Progress
from secateur.training.tasks.base import Batch, Evaluation, Outcome, Split, Task

if TYPE_CHECKING:
    import torch
    from torch import nn
    from torch.optim import Optimizer


@frozen
class EpochResult:
    """What one epoch came to."""

    epoch: int
    learning_rate: float
    train: Evaluation
    """While it was trained, in training mode."""
    valid: Evaluation
    """At its end, on the split by which epochs are judged: "valid", or "test" where there is no such split."""
    masked_share: float
    """The share of all units that is masked or gone."""
    sparsity: float
    """The share of the parameters there are that is zero."""
    parameters: int
    pruned: bool
    """Whether anything was masked or gone at its end."""
    seconds: float

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> EpochResult:
        """Read what `attrs.asdict` gave; `TypeError` or `KeyError` for anything else."""
        judged = {key: Evaluation(**saved[key]) for key in ("train", "valid")}
        return cls(**(dict(saved) | judged))


@frozen
class ThinningResult:
    """A thinning in the middle of training, and how well the network does right after it."""

    epoch: int
    report: Report
    valid: Evaluation


def train(
    model: nn.Module,
    optimizer: Optimizer,
    scheduler: Scheduler,
    task: Task,
    train_data: Split,
    valid_data: Split,
    *,
    epochs: int,
    batch_size: int,
    generator: torch.Generator,
    clip_grad_norm: float | None = None,
    autocast: str | None = None,
    progress: Progress | None = None,
    on_step: Callable[[int, int, int], None] = lambda epoch, step, steps: None,
    on_result: Callable[[EpochResult | ThinningResult], None] = lambda result: None,
    on_rest: Callable[[Progress], None] = lambda progress: None,
) -> None:
    """Train for some epochs, following the scheduler.

    `on_step(epoch, step, steps)` and `on_result(result)` are for showing progress. `on_rest(progress)` is called
    between any two mini-batches and between epochs, where everything may be saved; with that `progress`, and model,
    optimizer, scheduler and random states as they were, training goes on as if it had never stopped. `autocast`: a
    dtype of torch for the forward pass. `clip_grad_norm`: see `RunConfig`.
    """
    steps = task.steps(train_data, batch_size)
    now = Progress() if progress is None else progress
    while now.epoch < epochs:
        if now.order is None:
            now.order = generator.get_state()
        generator.set_state(now.order)
        start = time.perf_counter() - now.seconds
        model.train()
        if now.step == 0:
            scheduler.on_epoch_begin(now.epoch)
        for step, batch in enumerate(task.batches(train_data, batch_size, generator)):
            if step < now.step:
                continue
            thinned = len(scheduler.reports)
            scheduler.on_minibatch_begin(now.epoch, step, steps)
            for report in scheduler.reports[thinned:]:
                now.carried = task.cut(now.carried, report)
                on_result(ThinningResult(now.epoch, report, task.evaluate(model, valid_data)))
            made = _step(model, optimizer, scheduler, task, batch, now.carried, clip_grad_norm, autocast)
            scheduler.on_minibatch_end(now.epoch, step, steps)
            now.loss += float(made.loss) * made.seen
            now.correct += made.correct
            now.seen += made.seen
            now.carried = made.carried
            on_step(now.epoch, step, steps)
            now.step, now.seconds = step + 1, time.perf_counter() - start
            on_rest(now)
        rate = float(optimizer.param_groups[0]["lr"])
        with scheduler.masked():
            valid = task.evaluate(model, valid_data)
            sparsity = 1 - count_live(model) / max(count_parameters(model), 1)
        scheduler.on_epoch_end(now.epoch, metrics={"loss": valid.loss})
        on_result(
            EpochResult(
                epoch=now.epoch,
                learning_rate=rate,
                train=task.score(now.loss, now.correct, now.seen),
                valid=valid,
                masked_share=scheduler.masked_share,
                sparsity=sparsity,
                parameters=count_parameters(model),
                pruned=scheduler.network.thinned or scheduler.masking.anything,
                seconds=time.perf_counter() - start,
            )
        )
        now = now.next_epoch(generator.get_state())
        on_rest(now)


def count_live(model: nn.Module) -> int:
    """The number of elements of all parameters that are not zero."""
    import torch

    with torch.no_grad():
        return sum(int(torch.count_nonzero(parameter)) for parameter in model.parameters())


def _step(
    model: nn.Module,
    optimizer: Optimizer,
    scheduler: Scheduler,
    task: Task,
    batch: Batch,
    carried: Any,
    clip_grad_norm: float | None,
    autocast: str | None,
) -> Outcome:
    """One step of the optimizer; the outcome, with the loss of the task alone: regularizers are no perplexity."""
    import torch
    from attrs import evolve

    kind = None if autocast is None else getattr(torch, autocast)
    with torch.autocast(batch.inputs.device.type, dtype=kind, enabled=kind is not None):
        made = task.forward(model, batch, carried)
    loss = scheduler.before_backward(made.loss)
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    if clip_grad_norm is not None:
        scheduler.mask_gradients()
        torch.nn.utils.clip_grad_norm_(model.parameters(), clip_grad_norm)
    optimizer.step()
    return evolve(made, loss=made.loss.detach())
