"""Time plan and thin beside Torch-Pruning doing the same job.

The job: half of the units leave, ranked by L1 norm within each group, and the classifier's outputs stay. Both start
from a fresh copy of the same network and end with a smaller one in its place. They run in one process, in turns
A B A B, after one round that does not count. Ours runs without verification, which Torch-Pruning does not have.

    pip install -c constraints.txt -r benchmarks/requirements.txt
    python benchmarks/plan_thin_speed.py --model resnet50 --rounds 7

The exit status is 1 if the median of ours exceeds the limit.
"""

from __future__ import annotations

import argparse
import copy
import cProfile
import pstats
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version

import torch
import torch_pruning
from torch import Tensor, nn

import secateur
from secateur_models.torchvision_models import SIZES, WITH_INIT_WEIGHTS, build

Prune = Callable[[nn.Module, Tensor, float], None]


def main() -> int:
    """Measure, and print medians, their ratio and what is left of the network."""
    arguments = parse()
    torch.manual_seed(0)
    dense = build(arguments.model, **({"init_weights": False} if arguments.model in WITH_INIT_WEIGHTS else {})).eval()
    size = SIZES.get(arguments.model, 224)
    example = torch.randn(1, 3, size, size)
    if arguments.profile:
        return profile(dense, example, arguments.ratio)
    contestants: dict[str, Prune] = {"secateur": ours, f"torch-pruning {version('torch-pruning')}": theirs}
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    left = {}
    for round_ in range(arguments.rounds + 1):
        for name, prune in contestants.items():
            model = copy.deepcopy(dense)
            start = time.perf_counter()
            prune(model, example, arguments.ratio)
            if round_ > 0:
                seconds[name].append(time.perf_counter() - start)
            left[name] = count(model)
            check(model, example)
    print(
        f"{arguments.model}, {count(dense):,} parameters, {arguments.ratio:.0%} of the units, {arguments.rounds} rounds"
    )
    for name, measured in seconds.items():
        median, fastest, slowest = statistics.median(measured), min(measured), max(measured)
        print(f"{name:<20} {median:7.3f} s  ({fastest:.3f} to {slowest:.3f})  {left[name]:>12,} parameters left")
    own, other = (statistics.median(measured) for measured in seconds.values())
    print(f"ratio of medians: {other / own:.1f}")
    if own > arguments.limit:
        print(f"secateur took {own:.3f} s, more than the limit of {arguments.limit} s")
        return 1
    return 0


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="resnet50", help="a torchvision classifier")
    parser.add_argument("--ratio", type=float, default=0.5, help="share of the units that leaves")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--limit", type=float, default=0.5, help="seconds that the median of ours may take")
    parser.add_argument("--profile", action="store_true", help="show where ours spends its time instead")
    return parser.parse_args()


def ours(model: nn.Module, example: Tensor, ratio: float) -> None:
    """Plan and thin with Secateur."""
    secateur.thin(model, secateur.plan(model, (example,), prune=ratio, criterion="l1"), verify=False)


def theirs(model: nn.Module, example: Tensor, ratio: float) -> None:
    """Build the groups, score and prune with Torch-Pruning."""
    pruner = torch_pruning.pruner.BasePruner(
        model,
        example,
        importance=torch_pruning.importance.MagnitudeImportance(p=1, normalizer=None),
        pruning_ratio=ratio,
        ignored_layers=[classifier(model)],
    )
    pruner.step()


def classifier(model: nn.Module) -> nn.Module:
    """The layer that emits the classes: the last one with weights."""
    return [module for module in model.modules() if isinstance(module, nn.Linear | nn.Conv2d)][-1]


def check(model: nn.Module, example: Tensor) -> None:
    """Make sure that what was timed still is a network with all its outputs."""
    with torch.no_grad():
        assert model.eval()(example).shape == (1, 1000)


def profile(dense: nn.Module, example: Tensor, ratio: float) -> int:
    """Show where ours spends its time, the second time it is called."""
    ours(copy.deepcopy(dense), example, ratio)
    model, profiler = copy.deepcopy(dense), cProfile.Profile()
    profiler.runcall(partial(ours, model, example, ratio))
    pstats.Stats(profiler).sort_stats("cumulative").print_stats(45)
    return 0


def count(model: nn.Module) -> int:
    """The number of parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


if __name__ == "__main__":
    sys.exit(main())
