"""Show that thinned torchvision networks compute what the masked ones do, and still train.

For each network: random weights, randomised batch-norm statistics and affine parameters, a share of the units of every
dim pruned, the classifier's outputs kept. The differences are measured here, on inputs that the plan was not made
with, and not taken from the report of `secateur.thin`.

    python benchmarks/torchvision_exactness.py --models resnet18 vgg11_bn --ratio 0.5

The exit status is 1 if a difference exceeds its limit, if a thinned network fails to train, or if nothing was pruned.
"""

from __future__ import annotations

import argparse
import copy
import sys
import time

import torch
from attrs import frozen
from torch import Tensor, nn

import secateur
from secateur.measure import macs
from secateur_models.torchvision_models import SIZES, WITH_INIT_WEIGHTS, build

MODELS = (
    "alexnet",
    "vgg11_bn",
    "resnet18",
    "resnet50",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "efficientnet_b0",
    "densenet121",
    "googlenet",
    "inception_v3",
    "shufflenet_v2_x1_0",
    "squeezenet1_0",
    "mnasnet0_5",
    "regnet_x_400mf",
    "regnet_y_400mf",
    "wide_resnet50_2",
)
LIMITS = {torch.float32: 1e-5, torch.float64: 1e-11}
LEAST_SPREAD = 1e-6  # 1e5 times the limit in float64: a thousandth of the signal lost anywhere would show
BATCH = 2
COLUMNS = {"float32": 9, "float64": 9, "params left": 12, "MACs left": 10, "dims": 5, "spread": 8, "seconds": 8}


@frozen
class Result:
    """What came out for one network; differences are relative to the largest output of the masked network."""

    dims: int
    parameters: float
    macs: float
    differences: dict[torch.dtype, float]
    spread: float
    """How far the masked network's outputs for two inputs lie apart: were it 0, the differences would say nothing."""
    trains: str
    """Empty, or why a step of training failed."""
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether all limits are kept."""
        exact = all(difference <= LIMITS[dtype] for dtype, difference in self.differences.items())  # NaN is not
        return exact and not self.trains and self.spread > LEAST_SPREAD and self.parameters < 1


def main() -> int:
    """Measure all networks that are asked for, and print one row each."""
    arguments = parse()
    print(f"{arguments.ratio:.0%} of every dim pruned; masked against thinned, max |a - b| / max |a|, batch {BATCH}")
    columns = (
        ("float32", 9),
        ("float64", 9),
        ("params left", 12),
        ("MACs left", 10),
        ("dims", 5),
        ("spread", 8),
        ("seconds", 8),
    )
    print(" ".join([f"{'model':<20}", *(f"{title:>{width}}" for title, width in columns)]))
    failed = []
    for name in arguments.models:
        result = measure(name, arguments.ratio, arguments.seed)
        single, double = (result.differences[dtype] for dtype in LIMITS)
        print(
            f"{name:<20} {single:>9.1e} {double:>9.1e} {result.parameters:>12.1%} {result.macs:>10.1%} "
            f"{result.dims:>5} {result.spread:>8.1e} {result.seconds:>8.1f}{'' if result.passed else '  FAILED'}",
            flush=True,
        )
        if result.spread <= LEAST_SPREAD:
            print(f"  its outputs hardly depend on its inputs: spread {result.spread:.1e}")
        if result.trains:
            print(f"  does not train: {result.trains}")
        if not result.passed:
            failed.append(name)
    limits = ", ".join(f"{limit:.0e} in {str(dtype).removeprefix('torch.')}" for dtype, limit in LIMITS.items())
    if failed:
        print(f"{len(failed)} of {len(arguments.models)} networks failed (limits: {limits}): {', '.join(failed)}")
        return 1
    print(f"all {len(arguments.models)} networks are within {limits}, and train")
    return 0


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", nargs="+", default=MODELS, metavar="NAME", help="torchvision classifiers")
    parser.add_argument("--ratio", type=float, default=0.5, help="share of every dim's units that leaves")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def measure(name: str, ratio: float, seed: int) -> Result:
    """Prune, thin and compare one network, in both precisions, and train the thinned one for a step."""
    start = time.perf_counter()
    torch.manual_seed(seed)
    dense = build(name, **({"init_weights": False} if name in WITH_INIT_WEIGHTS else {}))
    size = SIZES.get(name, 224)
    randomise(dense, pictures(size).float())
    example = torch.randn(1, 3, size, size)
    fresh = pictures(size)
    differences, thin, dims, spread = {}, dense, 0, 0.0
    for dtype in LIMITS:
        thin = copy.deepcopy(dense).to(dtype).eval()
        plan = secateur.plan(thin, (example.to(dtype),), prune=ratio)
        masked = secateur.masked(thin, plan).eval()
        secateur.thin(thin, plan, verify=False)
        differences[dtype], spread = compare(masked, thin, fresh.to(dtype))
        dims = len(plan.dims)
    thin.float()
    return Result(
        dims=dims,
        parameters=count(thin) / count(dense),
        macs=macs(thin, (example,)) / macs(dense, (example,)),
        differences=differences,
        spread=spread,
        trains=trains(thin, fresh.float()),
        seconds=time.perf_counter() - start,
    )


def randomise(model: nn.Module, inputs: Tensor) -> None:
    """Give a network weights that carry a signal from its inputs to its outputs, and batch norms as after training.

    Weights are drawn as in He et al. (2015, equation 10), so that even a network without batch norm does not fade out.
    Statistics of batch norms are those of the inputs, disturbed; no scale, shift or bias is left at 1 or 0.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)
                if module.bias is not None:
                    module.bias.normal_(0, 0.1)
        for norm in norms:
            norm.weight.uniform_(1, 2)
            norm.bias.normal_(0, 0.3)
            norm.momentum = 1.0
        model.train()(inputs)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.running_mean += 0.3 * norm.running_var.sqrt() * torch.randn_like(norm.running_mean)
            norm.running_var *= torch.empty_like(norm.running_var).uniform_(0.5, 2)
    model.eval()


def pictures(size: int) -> Tensor:
    """Random inputs with large coloured areas, shape (BATCH, 3, size, size), float64.

    Of white noise alone any two pictures look the same to a network that averages over space.
    """
    areas = 3 * torch.randn(BATCH, 3, 4, 4, dtype=torch.float64)
    grown = nn.functional.interpolate(areas, size=(size, size), mode="bilinear", align_corners=False)
    return grown + torch.randn(BATCH, 3, size, size, dtype=torch.float64)


def compare(masked: nn.Module, thin: nn.Module, inputs: Tensor) -> tuple[float, float]:
    """The largest difference of two networks' outputs, and the first one's spread over its inputs.

    Both are relative to the largest output of the first network.
    """
    with torch.no_grad():
        expected, found = masked(inputs), thin(inputs)
    scale = expected.abs().max()
    spread = float((expected[0] - expected[1]).abs().max() / scale)
    if expected.shape != found.shape:
        return float("inf"), spread
    return float((expected - found).abs().max() / scale), spread


def trains(model: nn.Module, inputs: Tensor) -> str:
    """Run forward and backward in training mode; return why that fails, or nothing."""
    model.train()
    try:
        outputs = model(inputs)
        heads = list(outputs) if isinstance(outputs, tuple) else [outputs]  # googlenet and inception: auxiliary heads
        sum(head.square().mean() for head in heads).backward()
    except (RuntimeError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    return f"no finite gradient for {', '.join(without)}" if without else ""


def count(model: nn.Module) -> int:
    """The number of parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


if __name__ == "__main__":
    sys.exit(main())
