"""Show that masks cost next to nothing while a network trains, beside `torch.nn.utils.prune`.

ResNet-20 for CIFAR trains on random data at batch 128 in four ways that take turns, step by step: dense; with masks of
whole units; with masks of single elements in every convolution; and with the same elements masked by
`torch.nn.utils.prune`, which multiplies weights in every forward. Our masks are one fused
multiply after the optimizer's step. The figure is the median, over all rounds, of the ratio of a step to the dense step
of its round; beside it the time that our callbacks take by themselves, in ratio to the dense step.

    python benchmarks/mask_cost.py --rounds 40

The exit status is 1 if the callbacks take more than 1 % of a step.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import prune

from secateur.plugins import current
from secateur.schedule.scheduler import Scheduler

LIMIT = 0.01
BATCH = 128
UNITS = "{class: magnitude, dims: '*', sparsity: 0.5}"
ELEMENTS = "{class: level, weights: ['*conv*.weight', '*downsample.0.weight'], sparsity: 0.5}"


class Trainer:
    """One network, its optimizer, and a schedule or none; counts the seconds in callbacks."""

    def __init__(self, pruner: str | None = None) -> None:
        torch.manual_seed(0)
        self.model: nn.Module = current().models["resnet20_cifar"].build().train()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01, momentum=0.9)
        self.scheduler: Scheduler | None = None
        self.callbacks = 0.0
        if pruner is not None:
            text = f"pruners:\n  it: {pruner}\npolicies:\n  - pruner: {{instance_name: it}}\n    epochs: [0]\n"
            with TemporaryDirectory() as folder:
                path = Path(folder) / "schedule.yaml"
                path.write_text(text, encoding="utf-8")
                self.scheduler = Scheduler.from_yaml(path, self.model, self.optimizer, (torch.zeros(1, 3, 32, 32),))
            self.scheduler.on_epoch_begin(0)

    def step(self, inputs: Tensor, targets: Tensor) -> float:
        """One step of training; the seconds it took."""
        start = time.perf_counter()
        self._call(lambda scheduler: scheduler.on_minibatch_begin(0, 1, 100))
        self.optimizer.zero_grad()
        F.cross_entropy(self.model(inputs), targets).backward()
        self.optimizer.step()
        self._call(lambda scheduler: scheduler.on_minibatch_end(0, 1, 100))
        return time.perf_counter() - start

    def _call(self, callback: Callable[[Scheduler], None]) -> None:
        if self.scheduler is not None:
            start = time.perf_counter()
            callback(self.scheduler)
            self.callbacks += time.perf_counter() - start


def pruned_by_torch() -> Trainer:
    """A dense trainer with half of the elements of all convolutions masked by `torch.nn.utils.prune`."""
    trainer = Trainer()
    for module in trainer.model.modules():
        if isinstance(module, nn.Conv2d):
            prune.l1_unstructured(module, "weight", amount=0.5)
    trainer.optimizer = torch.optim.SGD(trainer.model.parameters(), lr=0.01, momentum=0.9)
    return trainer


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args()
    trainers = {
        "dense": Trainer(),
        "masks of units": Trainer(UNITS),
        "masks of elements": Trainer(ELEMENTS),
        "torch.nn.utils.prune": pruned_by_torch(),
    }
    inputs, targets = torch.randn(BATCH, 3, 32, 32), torch.randint(10, (BATCH,))
    seconds: dict[str, list[float]] = {name: [] for name in trainers}
    for trainer in trainers.values():
        trainer.step(inputs, targets)
        trainer.callbacks = 0.0
    for _ in track(range(options.rounds), "training", transient=True):
        for name, trainer in trainers.items():
            seconds[name].append(trainer.step(inputs, targets))
    table = Table("way", title=f"A training step of ResNet-20, batch {BATCH}, {options.rounds} rounds")
    for column in ("step, ms", "to dense", "callbacks, ms", "of a step"):
        table.add_column(column, justify="right")
    dense, worst = statistics.median(seconds["dense"]), 0.0
    for name, trainer in trainers.items():
        ratio = statistics.median(a / b for a, b in zip(seconds[name], seconds["dense"], strict=True))
        callbacks = trainer.callbacks / options.rounds
        worst = max(worst, callbacks / dense)
        shown = (f"{callbacks * 1e3:.2f}", f"{callbacks / dense:.2%}") if trainer.scheduler else ("", "")
        table.add_row(name, f"{statistics.median(seconds[name]) * 1e3:.1f}", f"{ratio:.3f}", *shown)
    Console().print(table)
    print(f"callbacks: at most {worst:.2%} of a step, {LIMIT:.0%} allowed")
    return 0 if worst <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
