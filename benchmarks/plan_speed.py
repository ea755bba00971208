"""Show that planning is fast, grows in proportion to the depth of a network, and needs little memory.

Three claims about `secateur.plan`, each measured here and printed as a table:

- over torchvision's classifiers it takes at least ten times less time than Torch-Pruning's decision of the same kind
  (geometric mean of the ratios of each network);
- its time grows with the number of operations no faster than to the power of 1.1;
- its peak memory stays below a fifth of the network's own size plus 200 MB.

Torch-Pruning's counterpart is its README's recipe up to the cut: build the pruner, and list the groups that
`pruner.step(interactive=True)` would prune. Both rank by L1 norm, half of the units leave, the classifier's outputs
stay. Networks have random weights and are in eval mode, inputs have batch size 1. The two take turns in one
process with as many threads for each; after one round that does not count, the fastest of each counts: other work on
the machine can only make a measurement slower. Networks that Torch-Pruning fails on are listed, and left out of the
mean.

    pip install -c constraints.txt -r benchmarks/requirements.txt
    python benchmarks/plan_speed.py --quick
    python benchmarks/plan_speed.py --models resnet50 vit_b_16 --parts speed memory

It can be interrupted: what was measured until then is summed up. The exit status is 1 if a claim does not hold.
"""

from __future__ import annotations

import argparse
import gc
import math
import os
import resource
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version

import torch
from attrs import field, frozen
from torch import Tensor, nn

import secateur
from secateur_models.torchvision_import import import_torchvision
from secateur_models.torchvision_models import NAMES, SIZES, WITH_INIT_WEIGHTS, build

QUICK = (
    "alexnet",
    "convnext_tiny",
    "densenet121",
    "efficientnet_b0",
    "googlenet",
    "inception_v3",
    "mnasnet0_5",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "regnet_y_400mf",
    "resnet18",
    "resnet50",
    "squeezenet1_0",
    "vgg11_bn",
    "vit_b_16",
)
SERIES = {
    "ResNet": ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"),
    "DenseNet": ("densenet121", "densenet169", "densenet201"),
    "ViT": ("vit of depth 6", "vit of depth 12", "vit of depth 24", "vit of depth 48"),
}
LARGE = ("vgg16", "vit_h_14", "regnet_y_128gf")
LIMITS = {"speed": 10.0, "depth": 1.1, "memory": 0.2}
ALLOWANCE = 200.0
"""Megabytes that planning may take beside a share of the network's size."""
LARGEST = 16 << 30
"""Bytes of address space for both tools: without a limit, Torch-Pruning fills the machine's memory on `maxvit_t`."""

Clock = Callable[[], float]
CLOCKS: dict[str, Clock] = {"wall": time.perf_counter, "cpu": time.process_time}
"""What is timed: what passes, or what the process computes, all its threads together."""


@frozen
class Speed:
    """The fastest plan of one network by either tool, in seconds."""

    model: str
    own: float
    other: float
    failure: str = ""
    """Why Torch-Pruning could not do it."""


@frozen
class Outcome:
    """What was found about one claim: a sentence, and whether it holds."""

    claim: str
    holds: bool


@frozen
class Runs:
    """Timings of several contestants taken in turns."""

    contestants: dict[str, Callable[[], object]]
    clock: Clock
    seconds: dict[str, list[float]] = field(factory=dict)
    failures: dict[str, str] = field(factory=dict)

    def round(self, counts: bool) -> None:
        """Let each contestant run once; one that fails does not run again."""
        for name, contestant in self.contestants.items():
            if name in self.failures:
                continue
            gc.collect()
            start = self.clock()
            try:
                contestant()
            except Exception as error:
                if name == "own":
                    raise
                self.failures[name] = f"{type(error).__name__}: {error}".splitlines()[0][:60]
            else:
                if counts:
                    self.seconds.setdefault(name, []).append(self.clock() - start)

    def fastest(self, name: str) -> float:
        """The least time of a contestant; not a number if it never finished."""
        return min(self.seconds.get(name, [math.nan]))


def main() -> int:
    """Measure what is asked for, and print a table for each claim."""
    arguments = parse()
    if arguments.memory_of:
        print(" ".join(f"{number:.3f}" for number in memory_of(arguments.memory_of)))
        return 0
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    warnings.simplefilter("ignore")
    threads = torch.get_num_threads()
    print(f"torch {torch.__version__}, {threads} threads, {arguments.clock} time, fastest of {arguments.rounds} rounds")
    clock = CLOCKS[arguments.clock]
    names = arguments.models or (QUICK if arguments.quick else NAMES)
    parts: dict[str, Callable[[], Outcome]] = {
        "speed": partial(speed, names, arguments.rounds, clock),
        "depth": partial(depth, arguments.rounds + 2, clock),
        "memory": partial(memory, arguments.models or (LARGE[:1] if arguments.quick else LARGE)),
    }
    outcomes = [parts[part]() for part in arguments.parts]
    for outcome in outcomes:
        print(f"{'yes' if outcome.holds else 'NO':<4}{outcome.claim}")
    return 0 if all(outcome.holds for outcome in outcomes) else 1


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", nargs="+", default=[], metavar="NAME", help="torchvision classifiers; all")
    parser.add_argument("--quick", action="store_true", help="one or two networks of each family")
    parser.add_argument("--parts", nargs="+", choices=list(LIMITS), default=list(LIMITS), help="which claims")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is timed, after one that does not count")
    parser.add_argument("--threads", type=int, default=0, help="for both tools; 0 leaves torch's own choice")
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall", help="cpu: where others use the machine too")
    parser.add_argument("--memory-of", default="", help=argparse.SUPPRESS)
    return parser.parse_args()


# -- speed -------------------------------------------------------------------------------------------------------


def speed(names: Sequence[str], rounds: int, clock: Clock) -> Outcome:
    """Time both tools on every network, one network in memory at a time."""
    found: list[Speed] = []
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (LARGEST, hard))
    print(f"\n{'network':<22}{'secateur':>10}{'torch-pruning ' + version('torch-pruning'):>22}{'ratio':>8}")
    with interruptible():
        for name in names:
            measured = speed_of(name, rounds, clock)
            found.append(measured)
            other = f"{measured.other:.4f} s" if not measured.failure else measured.failure
            ratio = f"{measured.other / measured.own:7.1f}" if not measured.failure else "-"
            print(f"{name:<22}{measured.own:8.4f} s{other:>22}{ratio:>8}", flush=True)
    ratios = [entry.other / entry.own for entry in found if not entry.failure]
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else math.nan
    claim = f"{mean:.1f} times less time than Torch-Pruning (geometric mean of {len(ratios)} networks)"
    if failed := [entry.model for entry in found if entry.failure]:
        claim += f"; Torch-Pruning fails on {len(failed)} more: {', '.join(failed)}"
    return Outcome(claim, mean >= LIMITS["speed"])


def speed_of(name: str, rounds: int, clock: Clock) -> Speed:
    """Time both tools on one network, in turns."""
    model, example = network(name)
    runs = Runs({"own": partial(ours, model, example), "other": partial(theirs, model, example)}, clock)
    for number in range(rounds + 1):
        runs.round(counts=number > 0)
    return Speed(name, runs.fastest("own"), runs.fastest("other"), runs.failures.get("other", ""))


def ours(model: nn.Module, example: Tensor) -> None:
    """Plan with Secateur."""
    secateur.plan(model, (example,), prune=0.5, criterion="l1")


def theirs(model: nn.Module, example: Tensor) -> None:
    """Find, score and choose the groups with Torch-Pruning, without pruning them."""
    import torch_pruning

    classifier = [module for module in model.modules() if isinstance(module, nn.Linear | nn.Conv2d)][-1]
    pruner = torch_pruning.pruner.MagnitudePruner(
        model,
        example,
        importance=torch_pruning.importance.MagnitudeImportance(p=1),
        pruning_ratio=0.5,
        ignored_layers=[classifier],
    )
    if not list(pruner.step(interactive=True)):
        raise RuntimeError("it found nothing to prune")


def network(name: str) -> tuple[nn.Module, Tensor]:
    """A network with random weights, in eval mode, and an example of its input."""
    torch.manual_seed(0)
    gc.collect()
    if name.startswith("vit of depth "):
        layers = int(name.rpartition(" ")[2])
        made = import_torchvision().models.VisionTransformer(
            image_size=224, patch_size=16, num_layers=layers, num_heads=6, hidden_dim=384, mlp_dim=1536
        )
        return made.eval(), torch.randn(1, 3, 224, 224)
    model = build(name, **({"init_weights": False} if name in WITH_INIT_WEIGHTS else {}))
    size = SIZES.get(name, 224)
    return model.eval(), torch.randn(1, 3, size, size)


# -- growth with depth -------------------------------------------------------------------------------------------


def depth(rounds: int, clock: Clock) -> Outcome:
    """Time networks of one family and several depths, in turns, and fit time = c * operations ** exponent."""
    print(f"\n{'network':<22}{'operations':>11}{'secateur':>10}")
    exponents: dict[str, float] = {}
    with interruptible():
        for family, names in SERIES.items():
            built = {name: network(name) for name in names}
            operations = {name: len(secateur.trace(model, (x,)).ops) for name, (model, x) in built.items()}
            runs = Runs({name: partial(ours, *pair) for name, pair in built.items()}, clock)
            for number in range(rounds + 1):
                runs.round(counts=number > 0)
            for name in names:
                print(f"{name:<22}{operations[name]:>11}{runs.fastest(name):8.4f} s", flush=True)
            exponents[family] = exponent([operations[n] for n in names], [runs.fastest(n) for n in names])
            print(f"{family + ': exponent':<22}{exponents[family]:21.2f}", flush=True)
    shown = ", ".join(f"{family} {found:.2f}" for family, found in exponents.items())
    worst = max(exponents.values(), default=math.nan)
    return Outcome(
        f"time grows with operations to the power of {worst:.2f} at most ({shown})", worst <= LIMITS["depth"]
    )


def exponent(counts: Sequence[float], seconds: Sequence[float]) -> float:
    """The slope of the least-squares line through log(seconds) over log(counts)."""
    x, y = [math.log(count) for count in counts], [math.log(second) for second in seconds]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    above = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return above / sum((a - mean_x) ** 2 for a in x)


# -- memory ------------------------------------------------------------------------------------------------------


def memory(names: Sequence[str]) -> Outcome:
    """Plan each network in a process of its own and compare its peak memory with the network's size."""
    print(f"\n{'network':<22}{'size':>10}{'planning takes':>16}{'allowed':>10}")
    worst = 0.0
    with interruptible():
        for name in names:
            command = [sys.executable, os.path.abspath(__file__), "--memory-of", name]
            answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
            size, taken = float(answer[-2]), float(answer[-1])
            allowed = LIMITS["memory"] * size + ALLOWANCE
            worst = max(worst, taken / allowed)
            print(f"{name:<22}{size:7.0f} MB{taken:13.0f} MB{allowed:7.0f} MB", flush=True)
    claim = f"planning takes at most {worst:.0%} of the memory allowed (a fifth of the network and {ALLOWANCE:.0f} MB)"
    return Outcome(claim, worst <= 1)


def memory_of(name: str) -> tuple[float, float]:
    """The size of a network, and how much resident memory grows at most while it is planned, in megabytes."""
    model, example = network(name)
    size = sum(tensor.nbytes for tensor in [*model.parameters(), *model.buffers()]) / 1e6
    gc.collect()
    before, highest, done = resident(), 0.0, threading.Event()

    def watch() -> None:
        nonlocal highest
        while not done.wait(0.0005):
            highest = max(highest, resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    ours(model, example)
    highest = max(highest, resident())
    done.set()
    watcher.join()
    return size, highest - before


def resident() -> float:
    """The resident memory of this process, in megabytes; Linux only."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6


@contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C end the body, and go on after it."""
    try:
        yield
    except KeyboardInterrupt:
        print("interrupted: the rest is left out")


if __name__ == "__main__":
    sys.exit(main())
