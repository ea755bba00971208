"""Train on after thinning, beside the masked network, with every optimizer of torch: both must take the same way.

Each row: two steps dense, two masked (masks laid on after each step), then the network is thinned with its
optimizers, and the masked and the thin one train on with the same mini-batches in float64. The figure is the largest
difference of their losses, relative. Adafactor and Muon, which read whole parameters, are masked from the first step.
Then three rounds of prune, thin and train, with what the optimizer holds.

    python benchmarks/optimizers.py --steps 50
    python benchmarks/optimizers.py --only Adam SGD

The exit status is 1 if a difference exceeds 1e-9, or an optimizer holds what is not alive.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

import secateur
from secateur.testing.optimizer_forms import Form, forms, networks, words
from secateur.testing.trajectories import side_by_side

LIMIT = 1e-9
NEAR_ADAFACTOR = {"lr": 0.001, "eps": (None, 10.0), "d": 1e9, "weight_decay": 0.01}
"""Steps that do not read root mean squares: the second is far above that of any weight, and nothing is clipped."""


def main() -> int:
    """Print the table and the rounds."""
    arguments = parse()
    torch.set_num_threads(1)
    chosen = [form for form in forms() if not arguments.only or form.optimizer in arguments.only]
    worst: dict[str, float] = {}
    print("| optimizer | form |", " | ".join(networks()), "|\n|---|---|---:|---:|---:|")
    for form in chosen:
        figures = [apart(form, name, arguments.steps) for name in networks()]
        worst[form.optimizer] = max([worst.get(form.optimizer, 0.0), *figures])
        print(f"| {form.optimizer} | {form.name} |", " | ".join(f"{figure:.1e}" for figure in figures), "|", flush=True)
    if not arguments.only:
        worst |= special(arguments.steps)
    print("\nThe worst of each:", ", ".join(f"{name} {figure:.1e}" for name, figure in worst.items()))
    fine = all(figure <= LIMIT for name, figure in worst.items() if "bfloat16" not in name)
    for name, make in ROUNDS.items():
        fine &= rounds(name, make)
    return 0 if fine else 1


def apart(form: Form, network: str, steps: int, **options: Any) -> float:
    """The largest relative difference of losses."""
    model, inputs = networks()[network]
    return side_by_side(model, inputs, secateur.plan(model, inputs, 0.5), form, after=steps, **options).losses


def special(steps: int) -> dict[str, float]:
    """Optimizers that do not treat every weight by itself, or not every network."""
    found = {}
    model, ids = words()
    plan = secateur.plan(model, ids, 0.5)
    sparse = side_by_side(model, ids, plan, Form("SparseAdam", {"lr": 0.002}), after=steps)
    found["SparseAdam"] = sparse.losses
    print(f"| SparseAdam | and AdamW, on an embedding | | | {sparse.losses:.1e} |")
    near = [apart(Form("Adafactor", NEAR_ADAFACTOR), name, steps, dense=0, rescale_steps=True) for name in networks()]
    print("| Adafactor | steps that read no root mean square |", " | ".join(f"{figure:.1e}" for figure in near), "|")
    found["Adafactor (steps that read no root mean square)"] = max(near)
    for title, precision in (
        ("bfloat16, as torch does it", contextlib.nullcontext),
        ("Newton-Schulz in float64", in_double),
    ):
        figures = []
        for name in ("transformer", "perceptron"):
            with precision():
                figures.append(muon(name, steps))
        print(f"| Muon | {title}, and AdamW | |", " | ".join(f"{figure:.1e}" for figure in figures), "|")
        found[f"Muon ({title})"] = max(figures)
    return found


def muon(network: str, steps: int) -> float:
    """Steps that depend on no shape: learning rates made independent of it, as Muon offers no such setting itself."""
    model, inputs = networks()[network]
    plan = secateur.plan(model, inputs, 0.5)
    with mock.patch("torch.optim._muon._adjust_lr", lambda lr, how, shape: lr):
        form = Form("Muon", {"lr": 0.002})
        return side_by_side(model, inputs, plan, form, dense=0, after=steps, rescale_steps=True).losses


@contextlib.contextmanager
def in_double() -> Iterator[None]:
    """Let Muon orthogonalise in the precision of the gradient."""
    with mock.patch("torch.optim._muon._zeropower_via_newtonschulz", newton_schulz):
        yield


def newton_schulz(grad: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float) -> Tensor:
    """Muon's quintic iteration (Jordan et al. 2024), without leaving the dtype."""
    a, b, c = coefficients
    x = grad.T if grad.size(0) > grad.size(1) else grad
    x = x / x.norm().clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if grad.size(0) > grad.size(1) else x


ROUNDS: dict[str, Callable[[Any], Optimizer]] = {
    "Adam": lambda parameters: torch.optim.Adam(parameters, lr=0.002),
    "SGD, momentum 0.9": lambda parameters: torch.optim.SGD(parameters, lr=0.02, momentum=0.9),
}


def rounds(name: str, make: Callable[[Any], Optimizer]) -> bool:
    """Prune, thin and train three times; whether the optimizer holds what is alive and nothing else."""
    from secateur_models.cifar_resnet import CifarNet

    torch.manual_seed(0)
    model = CifarNet(20).train()
    x = torch.zeros(4, 3, 16, 16)
    optimizer = make(model.parameters())
    fine = True
    print(f"\n{name}: ResNet-20\n\n| round | parameters | in the optimizer | model, bytes | state, bytes | loss |")
    print("|---:|---:|---:|---:|---:|---:|")
    for number in range(4):
        if number:
            secateur.thin(model, secateur.plan(model, (x,), 0.25), optimizer)
        loss = trained(model, optimizer)
        alive = sum(parameter.numel() for parameter in model.parameters())
        held = sum(parameter.numel() for group in optimizer.param_groups for parameter in group["params"])
        fine &= alive == held and same_shapes(model, optimizer)
        size = 4 * alive
        kept = sum(
            value.numel() * value.element_size()
            for state in optimizer.state.values()
            for value in state.values()
            if isinstance(value, Tensor)
        )
        print(f"| {number} | {alive:,} | {held:,} | {size:,} | {kept:,} | {loss:.3f} |", flush=True)
    return fine


def trained(model: nn.Module, optimizer: Optimizer) -> float:
    """Five steps on random images; the last loss."""
    generator = torch.Generator().manual_seed(1)
    images, targets = torch.randn(16, 3, 16, 16, generator=generator), torch.arange(16) % 10
    for _ in range(5):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(images), targets)
        loss.backward()
        optimizer.step()
    return float(loss.detach())


def same_shapes(model: nn.Module, optimizer: Optimizer) -> bool:
    """Whether the optimizer holds the model's very parameters, and state of their shapes."""
    held = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return [id(p) for p in held] == [id(p) for p in model.parameters()] and all(
        value.shape == parameter.shape
        for parameter in held
        for value in optimizer.state[parameter].values()
        if isinstance(value, Tensor) and value.numel() > 1
    )


def parse() -> argparse.Namespace:
    """The arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=50, help="steps after thinning")
    parser.add_argument("--only", nargs="+", default=(), metavar="CLASS", help="optimizers by class name")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
