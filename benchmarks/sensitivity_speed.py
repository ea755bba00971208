"""Time a sensitivity analysis against evaluating the whole network anew for every dim and level, in one run.

Both ways take each dim in turns, the second first every other time, on the same batches, and what they find is
compared: the same accuracies, losses to 1e-6. The passes over the network as it is count too. Without CIFAR-10 in the
cache the images are random, and that is said.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from secateur.errors import DataError
from secateur.plugins import current
from secateur.records import DataSplit
from secateur.sensitivity.engines import ByForward, ByReplay, Engine, Twin
from secateur.sensitivity.evaluating import Metrics, classification
from secateur.sensitivity.levels import DEFAULT, parse_levels
from secateur.sensitivity.sources import Source
from secateur.sensitivity.subjects import Subject, subjects_of_dims, subjects_of_tensors
from secateur.thinning.planner import couple

CLOCKS = {"cpu": time.process_time, "wall": time.perf_counter}
LEAST = 1.5
"""Below this ratio the claim of the documentation does not hold."""


def images(count: int) -> tuple[DataSplit, str]:
    """Test images of CIFAR-10, or random ones of their shape."""
    try:
        found = current().datasets["cifar10"].load("test", download=False, limit=count)
    except DataError:
        generator = torch.Generator().manual_seed(0)
        inputs = torch.randn(count, 3, 32, 32, generator=generator)
        targets = torch.randint(0, 10, (count,), generator=generator)
        return DataSplit(inputs=inputs, targets=targets), "random images of CIFAR-10's shape"
    assert isinstance(found, DataSplit)
    return found, "test images of CIFAR-10"


def closeness(one: list[Metrics], other: list[Metrics]) -> float:
    """The largest difference of a metric; accuracies must be the same."""
    if [found["accuracy"] for found in one] != [found["accuracy"] for found in other]:
        raise SystemExit("the accuracies differ")
    return max(abs(a["loss"] - b["loss"]) for a, b in zip(one, other, strict=True))


class Timed:
    """One of the two ways, and the seconds it took."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.seconds = dict.fromkeys(CLOCKS, 0.0)

    @contextmanager
    def clocks(self) -> Iterator[None]:
        """Count the time of the body."""
        before = {name: clock() for name, clock in CLOCKS.items()}
        yield
        for name, clock in CLOCKS.items():
            self.seconds[name] += clock() - before[name]

    def dense(self) -> Metrics:
        """Evaluate the network as it is."""
        with self.clocks():
            return self.engine.dense()

    def run(self, subject: Subject) -> list[Metrics]:
        """Evaluate all trials of a subject."""
        with self.clocks():
            return [metrics for _, metrics in self.engine.run(subject)]


def main() -> int:
    """Time both ways; status 1 if they differ, or the gain is small."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="resnet20_cifar")
    parser.add_argument("--examples", type=int, default=2000)
    parser.add_argument("--levels", type=parse_levels, default=DEFAULT)
    parser.add_argument("--by", choices=("dim", "tensor"), default="dim")
    parser.add_argument("--no-fuse", action="store_true", help="to the last bit")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    model = current().models[arguments.model].build().eval()
    data, whose = images(arguments.examples)
    with torch.no_grad():  # batch norms that fit the data: a fresh network gives the same answer to everything
        model.train()
        model(data.inputs[:500])
        model.eval()
    source = Source.of(data, classification, 2 << 30, True)
    if arguments.by == "dim":
        subjects = subjects_of_dims(model, couple(model, (data.inputs[:2],)), "l1", arguments.levels, ())
    else:
        subjects = subjects_of_tensors(model, "tensor", arguments.levels, ())
    batches = [source.batches(model) for _ in range(2)]
    again = Timed(ByReplay(Twin.of(model), batches[0], classification, source.memory, not arguments.no_fuse))
    whole = Timed(ByForward(Twin.of(model), batches[1], classification))
    trials = sum(len(subject.trials) for subject in subjects)
    print(
        f"{arguments.model}, {len(data):,} {whose}, {len(subjects)} {arguments.by}s, {trials} evaluations", flush=True
    )
    print(f"{'':34} {'whole':>8} {'again':>8}  seconds of the processor", flush=True)
    worst = closeness([again.dense()], [whole.dense()])
    for number, subject in enumerate(again.engine.order(subjects)):
        before = again.seconds["cpu"], whole.seconds["cpu"]
        ways = [again, whole] if number % 2 else [whole, again]
        found = {id(way): way.run(subject) for way in ways}
        worst = max(worst, closeness(found[id(again)], found[id(whole)]))
        took = again.seconds["cpu"] - before[0], whole.seconds["cpu"] - before[1]
        print(f"{subject.name:34} {took[1]:8.2f} {took[0]:8.2f}  {took[1] / took[0]:5.2f}", flush=True)
    for name in CLOCKS:
        a, b = again.seconds[name], whole.seconds[name]
        print(f"{'all, ' + name + ' time':34} {b:8.2f} {a:8.2f}  {b / a:5.2f}")
    print(f"the same accuracies; losses differ by at most {worst:.1e}")
    for name, why in again.engine.notes.items():
        print(f"{name} was evaluated as a whole: {why}")
    passed = worst <= 1e-6 and whole.seconds["cpu"] >= LEAST * again.seconds["cpu"]
    return 0 if passed else 1


if __name__ == "__main__":
    raise SystemExit(main())
