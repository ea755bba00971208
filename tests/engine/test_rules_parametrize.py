"""Parametrised weights: weight norm, spectral norm, pointwise functions; what is pruned is what lies beneath."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm.*deprecated:FutureWarning")
Wrap = Callable[..., nn.Module]

OLD, NEW = ("weight_v", "weight_g"), ("parametrizations.weight.original1", "parametrizations.weight.original0")
WEIGHT_NORMS: dict[str, tuple[Wrap, tuple[str, str]]] = {
    "hook": (nn.utils.weight_norm, OLD),
    "parametrization": (parametrizations.weight_norm, NEW),
}


def net(wrap: Wrap, **options: Any) -> nn.Module:
    """Three convolutions, all wrapped."""
    layers = (nn.Conv2d(3, 8, 3), nn.Conv2d(8, 6, 3), nn.Conv2d(6, 4, 1))
    a, b, c = (wrap(layer, **options) for layer in layers)
    return run_once(nn.Sequential(a, nn.LeakyReLU(), b, nn.SiLU(), c))


def run_once(model: nn.Module) -> nn.Module:
    """Without gradients, so that modules hold no weights that torch refuses to copy."""
    with torch.no_grad():
        model(torch.ones(2, 3, 6, 7))
    return model


def image(law: Any) -> Tensor:
    return law.normal(2, 3, 6, 7)


@pytest.mark.parametrize("way", WEIGHT_NORMS)
@pytest.mark.parametrize("dim", [0, 1, 2, None, -1])
def test_weight_norm(law: Any, way: str, dim: int | None) -> None:
    wrap, (direction, gain) = WEIGHT_NORMS[way]
    gains = {0: (3, 1, 1, 1), 1: (1, 4, 1, 1), 2: (1, 1, 3, 1)}.get(-2 if dim is None else dim, ())
    law(net(wrap, dim=dim), image(law), {f"2.{direction}": (3, 4, 3, 3), f"2.{gain}": gains}, seeds=6)


@pytest.mark.parametrize("way", WEIGHT_NORMS)
def test_weight_norm_of_linear_transposed_and_grouped_layers(law: Any, way: str) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            wrap, _ = WEIGHT_NORMS[way]
            self.up = wrap(nn.ConvTranspose2d(3, 8, 2), dim=1)
            self.grouped = wrap(nn.Conv2d(8, 8, 3, groups=2))
            self.deep = wrap(nn.Conv2d(8, 8, 1, groups=8))
            self.norm = nn.BatchNorm2d(8)
            self.flat, self.out = wrap(nn.Linear(48 * 5, 6)), wrap(nn.Linear(6, 4))

        def forward(self, x: Tensor) -> Tensor:
            y = F.relu(self.norm(self.deep(self.grouped(self.up(x)))))
            return self.out(F.elu(self.flat(y.flatten(1))))

    thinned = law(run_once(Net()), image(law), seeds=8)
    assert thinned.flat.weight.shape[0] == 3
    assert thinned.up.weight.shape[1] < 8


def test_slices_of_weight_norm_are_cut_but_never_masked(law: Any) -> None:
    model = law.randomised(net(parametrizations.weight_norm))
    plan = law.plan(model, image(law))
    direction = "0.parametrizations.weight.original1"
    assert plan.cuts[direction].keys() == {0}
    from secateur import masked

    twin = masked(model, plan)
    assert torch.equal(twin.get_parameter(direction), model.get_parameter(direction))
    assert twin[0].weight[plan.cuts[direction][0]].abs().max() == 0


def test_a_direction_that_something_else_reads_stays(law: Any) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = parametrizations.weight_norm(nn.Linear(3, 8)), nn.Linear(8, 4)

        def forward(self, x: Tensor) -> Tensor:
            direction = self.a.parametrizations.weight.original1
            return self.b(self.a(x)) + self.b(F.linear(x, direction))

    reason = "its norm would be zero, and it is no parameter that weight norm alone reads"
    law.refuses(Net(), law.normal(2, 3), f"a.{NEW[0]}", reason)


class Masked(nn.Module):
    """A parametrisation by a fixed pattern."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("pattern", torch.ones(shape))

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.pattern


class Pointwise(nn.Module):
    """A parametrisation by a function of each entry."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, weight: Tensor) -> Tensor:
        return self.function(weight)


def wrapped(layer: nn.Module, function: Callable[[Tensor], Tensor] | None = None) -> nn.Module:
    made = Masked(tuple(layer.weight.shape)) if function is None else Pointwise(function)
    parametrize.register_parametrization(layer, "weight", made, unsafe=True)
    return layer


def test_a_direction_that_is_itself_computed_stays(law: Any) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.v, self.g = nn.Parameter(torch.ones(8, 3)), nn.Parameter(torch.ones(8, 1))
            self.b = nn.Linear(8, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(F.linear(x, torch._weight_norm(self.v.tanh(), self.g, 0)))

    reason = "its norm would be zero, and it is no parameter that weight norm alone reads"
    law.refuses(Net(), law.normal(2, 3), "v", reason)


@pytest.mark.parametrize("way", [nn.utils.spectral_norm, parametrizations.spectral_norm], ids=["hook", "new"])
def test_spectral_norm(law: Any, way: Wrap) -> None:
    name = "weight_orig" if way is nn.utils.spectral_norm else "parametrizations.weight.original"
    u, v = ("weight_u", "weight_v") if name == "weight_orig" else [f"parametrizations.weight.0._{x}" for x in "uv"]
    shapes = {f"2.{name}": (3, 4, 3, 3), f"2.{u}": (3,), f"2.{v}": (36,), f"0.{u}": (4,)}
    law(net(way), image(law), shapes, seeds=6)
    linear = nn.Sequential(way(nn.Linear(3, 8)), nn.ReLU(), way(nn.Linear(8, 4)))
    with torch.no_grad():
        linear(torch.ones(2, 3))
    law(linear, law.normal(2, 3), {f"0.{name}": (4, 3), f"0.{u}": (4,), f"2.{v}": (4,)}, seeds=4)


POINTWISE: dict[str, Callable[[Tensor], Tensor] | None] = {
    "pattern": None,
    "square": torch.square,
    "tanh": torch.tanh,
    "softplus of every other layer": F.softplus,
}


@pytest.mark.parametrize("name", POINTWISE)
def test_pointwise_parametrisations(law: Any, name: str) -> None:
    function = POINTWISE[name]
    last = nn.Conv2d(6, 4, 1)
    middle = wrapped(nn.Conv2d(8, 6, 3), None if function is F.softplus else function)
    model = nn.Sequential(wrapped(nn.Conv2d(3, 8, 3), function), nn.Tanh(), middle, nn.ReLU(), last)
    original = "parametrizations.weight.original"
    law(model, image(law), {f"0.{original}": (4, 3, 3, 3), f"2.{original}": (3, 4, 3, 3)}, seeds=4)


def test_what_is_never_zero_on_either_side_stays(law: Any) -> None:
    model = nn.Sequential(wrapped(nn.Linear(3, 8), F.softplus), nn.ReLU(), wrapped(nn.Linear(8, 4), F.softplus))
    reason = "the values on both sides of a sum of products may be non-zero on pruned slices"
    law.refuses(model, law.normal(2, 3), "0.parametrizations.weight.original", reason)


@pytest.mark.parametrize("kind", ["matrix_exp", "cayley", "householder"])
def test_orthogonal_weights_stay_but_rows_of_their_base_may_leave(law: Any, kind: str) -> None:
    layers = parametrizations.orthogonal(nn.Linear(6, 6), orthogonal_map=kind), nn.Linear(6, 8), nn.Linear(8, 4)
    model = law.randomised(nn.Sequential(*layers))
    base, original = "0.parametrizations.weight.0.base", "0.parametrizations.weight.original"
    law(model, law.normal(2, 6), {original: (6, 6), base: (3, 6), "1.weight": (4, 3)}, seeds=2)
    refusals = [str(r) for r in law.plan(model, (law.normal(2, 6),)).refusals if r.parameter == original]
    assert len(refusals) == 2
    assert all("the rows and columns of an orthogonal matrix depend on one another" in text for text in refusals)


def test_matrix_functions_are_refused(law: Any) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Linear(3, 8), nn.Linear(8, 8), nn.Linear(8, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.c(F.linear(self.a(x), torch.linalg.inv(self.b.weight) + self.b.bias))

    law.refuses(Net(), law.normal(2, 3), "b.weight", "all entries of the matrix are mixed")


def test_pruning_masks_of_torch_are_cut_along(law: Any) -> None:
    from torch.nn.utils import prune

    model = net(lambda layer: prune.random_unstructured(layer, "weight", 0.3))
    masks = {f"{i}.weight_mask": m.weight_mask.clone() for i, m in enumerate(model) if isinstance(m, nn.Conv2d)}
    law.randomised(model)
    for name, mask in masks.items():
        model.get_buffer(name).copy_(mask)
    law(model, image(law), {"2.weight_orig": (3, 4, 3, 3), "2.weight_mask": (3, 4, 3, 3)}, prepare=False)
