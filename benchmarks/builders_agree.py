"""Compare the dims that the builders "trace" and "export" lead to, for torchvision's classifiers.

Two sets of dims are the same if they consist of the same units, and a unit is the set of its slices: names and order do
not count. Weights are random, inputs as small as the network takes.

    python benchmarks/builders_agree.py --models resnet18 swin_t

The exit status is 1 if a network's dims differ, or if a builder fails.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence

import torch
from attrs import frozen
from torch import nn

from secateur.coupling.units import Units
from secateur.errors import SecateurError
from secateur.thinning.planner import couple
from secateur_models.torchvision_models import NAMES, SIZES, WITH_INIT_WEIGHTS, build

SMALL = {"alexnet": 64, "inception_v3": 299, "shufflenet": 32, "squeezenet": 64, "maxvit": 224, "vit": 224}
"""The least height and width of inputs by the beginning of a network's name; 32 for any other."""

Unit = frozenset[tuple[str, int, int]]


@frozen
class Side:
    """What one builder led to."""

    dims: int
    units: Counter[frozenset[Unit]]
    """Dims as sets of units, each a set of slices."""
    seconds: float
    error: str = ""


def main() -> int:
    """Compare all networks that are asked for, and print one row each."""
    arguments = parse()
    torch.set_num_threads(1)
    print(f"{'model':<20} {'dims trace':>10} {'dims export':>11} {'trace s':>8} {'export s':>8}  result")
    differing = []
    for name in arguments.models:
        traced, exported = compare(name, arguments.batch)
        found = difference(traced, exported)
        print(
            f"{name:<20} {traced.dims:>10} {exported.dims:>11} {traced.seconds:>8.2f} {exported.seconds:>8.2f}  "
            f"{found or 'same'}",
            flush=True,
        )
        if found:
            differing.append(name)
    print(f"{len(arguments.models) - len(differing)} of {len(arguments.models)} networks have the same dims")
    return 1 if differing else 0


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", nargs="+", default=NAMES, metavar="NAME", help="torchvision classifiers")
    parser.add_argument("--batch", type=int, default=1, help="how many example inputs there are (default: 1)")
    return parser.parse_args()


def compare(name: str, batch: int) -> tuple[Side, Side]:
    """What the builders "trace" and "export" lead to, for one network."""
    model = build(name, **({"init_weights": False} if name in WITH_INIT_WEIGHTS else {})).eval()
    size = size_of(name)
    example = torch.zeros(batch, 3, size, size)
    return look(model, example, "trace"), look(model, example, "export")


def size_of(name: str) -> int:
    """The height and width of the example input."""
    least = next((size for beginning, size in SMALL.items() if name.startswith(beginning)), 32)
    return min(least, SIZES.get(name, 224))


def look(model: nn.Module, example: torch.Tensor, builder: str) -> Side:
    """The dims of a network as one builder sees it."""
    start = time.perf_counter()
    try:
        dims: Sequence[Units] = couple(model, (example,), builder).dims
    except SecateurError as error:
        return Side(0, Counter(), time.perf_counter() - start, f"{builder}: {error}")
    seconds = time.perf_counter() - start
    return Side(len(dims), Counter(frozenset(units_of(dim)) for dim in dims), seconds)


def units_of(dim: Units) -> list[Unit]:
    """The units of a dim, each as the set of its slices: (parameter or buffer, axis, index)."""
    return [
        frozenset((name, axis, int(index)) for (name, axis), indices in dim.slices.items() for index in indices[unit])
        for unit in range(len(dim))
    ]


def difference(one: Side, other: Side) -> str:
    """How two sides differ in words, "" if they do not."""
    if one.error or other.error:
        return one.error or other.error
    lines = []
    for side, rest, builder in ((one, other, "trace"), (other, one, "export")):
        for units in (side.units - rest.units).elements():
            first = min(min(units, key=min))
            lines.append(f"only {builder}: {len(units)} units with {first[0]} axis {first[1]}")
    return "; ".join(lines[:4]) + (f"; and {len(lines) - 4} more" if len(lines) > 4 else "")


if __name__ == "__main__":
    sys.exit(main())
