"""The law of exactness, as a function: masked and thinned compute the same, whatever leaves."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from attrs import define
from torch import nn

import secateur
from secateur.thinning.plan import Plan
from secateur.thinning.planner import couple, make_plan, spare
from secateur.thinning.verify import outputs

TOLERANCE = 1e-11
Inputs = tuple[Any, ...] | dict[str, Any]


def randomised(model: nn.Module, seed: int = 0, dtype: torch.dtype = torch.float64) -> nn.Module:
    """Give every parameter and buffer values that no wrong coupling can hide behind, and set eval mode."""
    generator = torch.Generator().manual_seed(seed)
    model.to(dtype)
    with torch.no_grad():
        for parameter in model.parameters():
            fan = max(parameter[0].numel(), 1) if parameter.dim() > 1 else 1
            values = torch.randn(parameter.shape, generator=generator, dtype=torch.float64) / fan**0.5
            parameter.copy_(values + 0.3 * values.sign())
        for name, buffer in model.named_buffers():
            if buffer.is_floating_point():
                values = torch.rand(buffer.shape, generator=generator, dtype=torch.float64) + 0.5
                buffer.copy_(values if name.endswith("var") else values - 1)
    return model.eval()


def normal(*shape: int, seed: int = 7, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Normal numbers of a shape."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def random_plan(model: nn.Module, inputs: Inputs, seed: int) -> Plan:
    """A plan that lets random units of random dims leave; now and then only one dim, or one unit."""
    rng = np.random.default_rng(seed)
    coupling = couple(model, inputs)
    mode = ("all", "all", "dim", "unit")[seed % 4]
    chosen = rng.integers(len(coupling.dims)) if coupling.dims else -1
    leaving = []
    for index, dim in enumerate(coupling.dims):
        count = int(rng.integers(0, len(dim))) if len(dim) > 1 else 0
        if mode != "all" and index != chosen:
            count = 0
        if mode == "unit":
            count = min(count, 1)
        leaving.append(np.sort(rng.choice(len(dim), count, replace=False)))
    leaving = spare(coupling, leaving, lambda i: rng.random(len(coupling.dims[i])))
    return make_plan(model, coupling, leaving, inputs)


def relative(reference: Sequence[torch.Tensor], other: Sequence[torch.Tensor]) -> float:
    """The largest difference relative to the largest entry; infinite if shapes differ or an output vanishes."""
    if [tensor.shape for tensor in reference] != [tensor.shape for tensor in other]:
        return float("inf")
    worst = 0.0
    for left, right in zip(reference, other, strict=True):
        if left.is_floating_point() and left.numel():
            worst = max(worst, float((left - right).abs().max() / left.abs().max().clamp_min(1e-300)))
        elif not torch.equal(left, right):
            return float("inf")
    return worst


def stale(model: nn.Module) -> list[str]:
    """The modules whose attributes do not say what their tensors are."""
    found = []
    for path, module in model.named_modules():
        if "weight" in module.__dict__:  # a hook computes it anew before every forward
            continue
        right = True
        if isinstance(module, nn.modules.conv._ConvTransposeNd):
            right = module.weight.shape[:2] == (module.in_channels, module.out_channels // module.groups)
        elif isinstance(module, nn.modules.conv._ConvNd):
            right = module.weight.shape[:2] == (module.out_channels, module.in_channels // module.groups)
        elif isinstance(module, nn.Linear):
            right = module.weight.shape == (module.out_features, module.in_features)
        elif isinstance(module, nn.modules.batchnorm._NormBase):
            held = [tensor for tensor in (module.weight, module.running_mean) if tensor is not None]
            right = all(len(tensor) == module.num_features for tensor in held)
        elif isinstance(module, nn.GroupNorm):
            right = module.weight is None or len(module.weight) == module.num_channels
            right = right and module.num_channels % module.num_groups == 0
        elif isinstance(module, nn.PReLU):
            right = len(module.weight) == module.num_parameters
        if not right:
            found.append(f"{path}: {module} with {[tuple(p.shape) for p in module.parameters()]}")
    return found


def exact(model: nn.Module, plan: Plan, inputs: Inputs, tolerance: float = TOLERANCE) -> nn.Module:
    """Thin a copy and check it against the masked model; return the copy."""
    given = plan.states.masked_inputs(inputs)  # recurrent states
    reference = plan.states.cut_outputs(outputs(secateur.masked(model, plan), given))
    thinned = copy.deepcopy(model)
    report = secateur.thin(thinned, plan, verify=True)
    assert report.difference is not None
    assert relative(reference, outputs(thinned, plan.states.cut_inputs(inputs))) <= tolerance
    assert report.difference.relative <= tolerance
    assert all(bool(tensor.isfinite().all()) for tensor in reference)
    assert stale(thinned) == []
    for name, parameter in thinned.named_parameters():
        gone = plan.cuts.get(name, {})
        expected = [n - len(gone.get(axis, ())) for axis, n in enumerate(plan.shapes[name])]
        assert list(parameter.shape) == expected, name
    return thinned


@define
class Law:
    """Checks the law of exactness on a model."""

    def __call__(
        self,
        model: nn.Module,
        inputs: Any,
        shapes: Mapping[str, tuple[int, ...]] | None = None,
        *,
        seeds: int = 4,
        prune: Any = 0.5,
        train: bool = True,
        prepare: bool = True,
    ) -> nn.Module:
        """Prune at 50 % and at random; return what 50 % left.

        `shapes`: what parameters and buffers must look like at 50 %, as much of it as matters.
        """
        if prepare:
            randomised(model)
        inputs = (inputs,) if isinstance(inputs, torch.Tensor) else inputs
        plan = secateur.plan(model, inputs, prune)
        thinned = exact(model, plan, inputs)
        tensors = {**dict(thinned.named_parameters()), **dict(thinned.named_buffers())}
        found = {name: tuple(tensors[name].shape) for name in shapes or {}}
        assert found == dict(shapes or {})
        if train:
            thinned.train()
            given = plan.states.cut_inputs(inputs)
            thinned(**given) if isinstance(given, dict) else thinned(*given)
            thinned.eval()
        for seed in range(seeds):
            exact(model, random_plan(model, inputs, seed), inputs)
        return thinned

    def refuses(self, model: nn.Module, inputs: Any, parameter: str, *reasons: str, axis: int = 0) -> None:
        """Check that an axis of a parameter stays whole, for these reasons; what else leaves, leaves exactly."""
        thinned = self(model, inputs)
        assert dict(thinned.named_parameters())[parameter].shape[axis] == model.get_parameter(parameter).shape[axis]
        found = [r for r in self.plan(model, inputs).refusals if (r.parameter, r.axis) == (parameter, axis)]
        assert len(found) == 1, [str(refusal) for refusal in self.plan(model, inputs).refusals]
        text = str(found[0])
        for reason in reasons:
            assert reason in text

    @staticmethod
    def plan(model: nn.Module, inputs: Any, prune: Any = 0.5, **options: Any) -> Plan:
        """The plan, without thinning."""
        return secateur.plan(model, inputs, prune, **options)

    random_plan = staticmethod(random_plan)
    randomised = staticmethod(randomised)
    exact = staticmethod(exact)
    normal = staticmethod(normal)
    relative = staticmethod(relative)


@pytest.fixture(scope="session")
def law() -> Law:
    """The law of exactness."""
    return Law()


@pytest.fixture(scope="session")
def normal_numbers() -> Callable[..., torch.Tensor]:
    """Normal numbers of a shape, in float64."""
    return normal


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Tensors of a few numbers gain nothing from threads, which wait for one another on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
