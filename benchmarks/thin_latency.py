"""Show that a thinned network is as fast as the same network built with its widths from scratch.

ResNet-50 loses half of the units of every dim. Beside it stands a twin that was never thinned: every module is built
anew, by its own constructor, with the widths that thinning left, so that all its tensors are freshly allocated. Both
get the same weights and run the same inputs in short turns that alternate in order, contiguous and channels-last, at
several batch sizes. The figure is the median, over the turns, of the seconds of the thin network over those of the
twin; beside it the quartiles. As a control, a second twin is timed against the first in the same way.

    OMP_NUM_THREADS=1 python benchmarks/thin_latency.py --rounds 60

The exit status is 1 if a ratio lies outside of 1.00 ± 0.03.
"""

from __future__ import annotations

import argparse
import copy
import os
import statistics
import sys
import time
from collections.abc import Callable

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor, nn

import secateur
from secateur_models.torchvision_models import build

LIMIT = 0.03
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
FORMATS = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet50", help="a torchvision classifier of plain layers")
    parser.add_argument("--size", type=int, default=224, help="height and width of the images")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--rounds", type=int, default=60, help="turns for each layout and batch size")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: on a busy machine, with one thread")
    parser.add_argument("--thin-then-convert", action="store_true", help="change the memory format after thinning only")
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    table = Table("layout", "batch", title=f"{options.model}, 50 % thinned, to the same built from scratch")
    for column in ("thin, ms", "scratch, ms", "ratio", "quartiles", "control"):
        table.add_column(column, justify="right")
    worst = 0.0
    for layout, memory_format in FORMATS.items():
        torch.manual_seed(0)
        model = build(options.model).eval()
        if not options.thin_then_convert:
            model = model.to(memory_format=memory_format)
        example = torch.randn(1, 3, options.size, options.size)
        secateur.thin(model, secateur.plan(model, (example,), prune=0.5))
        model = model.to(memory_format=memory_format)
        twins = [from_scratch(model).to(memory_format=memory_format) for _ in range(2)]
        for batch in options.batches:
            inputs = torch.randn(batch, 3, options.size, options.size).contiguous(memory_format=memory_format)
            check(model, twins[0], inputs)
            turns = compare([model, *twins], inputs, options.rounds, CLOCKS[options.clock])
            ratios = sorted(thin / twin for thin, twin, _ in turns)
            ratio = statistics.median(ratios)
            low, _, high = statistics.quantiles(ratios, n=4)
            control = statistics.median(second / first for _, first, second in turns)
            thin, twin = (1e3 * statistics.median(turn[i] for turn in turns) for i in (0, 1))
            worst = max(worst, abs(ratio - 1))
            figures = (f"{thin:.1f}", f"{twin:.1f}", f"{ratio:.3f}", f"{low:.3f} to {high:.3f}", f"{control:.3f}")
            table.add_row(layout, str(batch), *figures)
    Console(width=110).print(table)
    if worst > LIMIT:
        print(f"a ratio is {worst:.3f} away from 1, more than {LIMIT}")
        return 1
    return 0


def from_scratch(thin: nn.Module) -> nn.Module:
    """The same network with every convolution, batch norm and linear layer constructed anew at its present widths."""
    twin = copy.deepcopy(thin)
    for path, module in list(twin.named_modules()):
        if (made := rebuilt(module)) is not None:
            parent, _, name = path.rpartition(".")
            setattr(twin.get_submodule(parent), name, made)
    left = [path for path, module in twin.named_modules() if module._parameters and type(module) not in KINDS]
    if left:
        raise SystemExit(f"cannot build from scratch: {', '.join(left)}")
    twin.load_state_dict(thin.state_dict(), strict=True)
    return twin.eval()


def conv(old: nn.Conv2d) -> nn.Conv2d:
    """A new convolution of the same sizes."""
    return nn.Conv2d(
        old.in_channels,
        old.out_channels,
        old.kernel_size,  # type: ignore[arg-type]
        old.stride,  # type: ignore[arg-type]
        old.padding,  # type: ignore[arg-type]
        old.dilation,  # type: ignore[arg-type]
        old.groups,
        old.bias is not None,
    )


KINDS = {
    nn.Conv2d: conv,
    nn.BatchNorm2d: lambda old: nn.BatchNorm2d(old.num_features, old.eps, old.momentum),
    nn.Linear: lambda old: nn.Linear(old.in_features, old.out_features, old.bias is not None),
}


def rebuilt(module: nn.Module) -> nn.Module | None:
    """A new layer of the same sizes, or None for a module without parameters of its own."""
    make = KINDS.get(type(module))
    return make(module) if make is not None else None


def check(thin: nn.Module, twin: nn.Module, inputs: Tensor) -> None:
    """Both must compute the same."""
    with torch.inference_mode():
        torch.testing.assert_close(thin(inputs), twin(inputs), rtol=1e-4, atol=1e-4)


def compare(models: list[nn.Module], inputs: Tensor, rounds: int, clock: Callable[[], float]) -> list[list[float]]:
    """Seconds of every model in every turn; who comes first changes from turn to turn."""
    turns = []
    with torch.inference_mode():
        for model in models * 2:
            model(inputs)
        for number in track(range(rounds), "timing", transient=True):
            seconds = [0.0] * len(models)
            for i in range(len(models)):
                position = (i + number) % len(models)
                start = clock()
                models[position](inputs)
                seconds[position] = clock() - start
            turns.append(seconds)
    return turns


if __name__ == "__main__":
    sys.exit(main())
