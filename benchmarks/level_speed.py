"""Show that a step of gradual pruning on a large layer costs less than other exact ways to find what goes.

One step of `level` (decide, and make the mask) on a weight of 37.7 million elements, that of AlexNet's first linear
layer, beside the two ways to find the threshold with torch, and numpy's:

- `torch.topk(k, largest=False, sorted=True)`, of which the last value is the threshold, as in Distiller's code;
- `torch.kthvalue(k)`;
- `numpy.partition`.

Each of these then compares the magnitudes with its threshold. The weight is as it is when training begins, and as an
earlier step has left it, most of it zero. All take turns in one process with as many threads for each; what counts is
the median of the ratios of each round. Every mask must have the elements masked that ours has.

    OMP_NUM_THREADS=1 python benchmarks/level_speed.py
    python benchmarks/level_speed.py --quick --threads 2

The exit status is 1 if any of them is as fast, or masks other elements.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import torch
from attrs import field, frozen
from rich.console import Console
from rich.table import Table
from torch import Tensor

from secateur.pruning.base import Moment
from secateur_pruners.level import LevelPruner

Way = Callable[[Tensor, int], Tensor]
SHAPE, QUICK = (4096, 9216), (1024, 1024)


@frozen(eq=False)
class OneLayer:
    """What `level` looks at of a network."""

    parameters: Mapping[str, Tensor]
    memory: dict[str, float] = field(factory=dict)

    def resolve(self, pattern: str) -> list[str]:
        """The names that match."""
        return [name for name in self.parameters if fnmatchcase(name, pattern)]


def by_topk(weight: Tensor, count: int) -> Tensor:
    """As in Distiller's code."""
    smallest = torch.topk(weight.abs().reshape(-1), count, largest=False, sorted=True).values
    return weight.abs() > smallest[-1]


def by_kth_value(weight: Tensor, count: int) -> Tensor:
    """Torch's own selection."""
    return weight.abs() > torch.kthvalue(weight.abs().reshape(-1), count).values


def by_partition(weight: Tensor, count: int) -> Tensor:
    """Numpy's own selection."""
    return weight.abs() > float(np.partition(weight.abs().numpy(), count - 1, axis=None)[count - 1])


OTHERS: Mapping[str, Way] = {
    "torch.topk, sorted": by_topk,
    "torch.kthvalue": by_kth_value,
    "numpy.partition": by_partition,
}


def ours(share: float) -> Way:
    """The last step of a gradual level."""
    pruner = LevelPruner(weights=["weight"], initial_sparsity=0.05, final_sparsity=share)
    moment = Moment(epoch=9, start=0, end=10)

    def way(weight: Tensor, count: int) -> Tensor:
        network: Any = OneLayer({"weight": weight})
        return pruner.decide(network, moment).factors["weight"]

    return way


def timed(way: Way, weight: Tensor, count: int) -> tuple[float, Tensor]:
    """Seconds, and the mask."""
    begun = time.perf_counter()
    mask = way(weight, count)
    return time.perf_counter() - begun, mask


def agree(mask: Tensor, theirs: Tensor, weight: Tensor) -> bool:
    """Whether two masks differ at most in elements equal to the threshold, all of which a plain comparison masks."""
    return not (theirs & ~mask).any() and len(weight[mask != theirs].abs().unique()) <= 1


def main() -> int:
    """Run all, print the tables, and say whether ours is the fastest."""
    options = parse()
    torch.set_num_threads(options.threads)
    shape = QUICK if options.quick else SHAPE
    fresh = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 0.01
    way = ours(options.share)
    earlier = fresh * ours(0.75 * options.share)(fresh, 0)
    count = int(options.share * fresh.numel())
    console, good = Console(), True
    for title, weight in (("weights at the begin", fresh), ("after an earlier step", earlier)):
        way(weight, count)  # what does not count: memory is touched for the first time
        times: dict[str, list[float]] = {name: [] for name in ("ours", *OTHERS)}
        for _ in range(options.rounds):
            seconds, mask = timed(way, weight, count)
            times["ours"].append(seconds)
            good &= int((~mask).sum()) == count
            for name, other in OTHERS.items():
                seconds, theirs = timed(other, weight, count)
                times[name].append(seconds)
                good &= agree(mask, theirs, weight)
        table = Table(title=f"{title}: {count:,} of {weight.numel():,} masked, {options.threads} thread(s)")
        for column in ("", "seconds, median", "times ours"):
            table.add_column(column, justify="right" if column else "left")
        for name, seconds_of in times.items():
            ratio = statistics.median(a / b for a, b in zip(seconds_of, times["ours"], strict=True))
            table.add_row(name, f"{statistics.median(seconds_of):.3f}", f"{ratio:.1f}")
            good &= name == "ours" or options.quick or ratio > 1
        console.print(table)
    claim = "all masks agree" if options.quick else "all masks agree, and ours is the fastest"
    console.print(claim if good else f"it does not hold that {claim}")
    return 0 if good else 1


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--share", type=float, default=0.9, help="share of the elements that is masked")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="a million elements, and no claim about speed")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
