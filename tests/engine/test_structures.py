"""How models are put together: shared and tied parts, several inputs and outputs, what is used only in training."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from secateur.thinning.planner import couple, make_plan, spare

Pair = namedtuple("Pair", "left right")


@dataclass
class Result:
    left: Tensor
    right: Tensor


def image(law: Any, width: int = 3) -> Tensor:
    return law.normal(2, width, 6, 7)


def test_residual_stages_leave_together(law: Any) -> None:
    class Block(nn.Module):
        def __init__(self, width: int, out: int, stride: int = 1) -> None:
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(width, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out)
            self.conv2, self.bn2 = nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out)
            self.relu = nn.ReLU(inplace=True)
            self.short = (
                nn.Sequential(nn.Conv2d(width, out, 1, stride), nn.BatchNorm2d(out)) if stride > 1 else nn.Identity()
            )

        def forward(self, x: Tensor) -> Tensor:
            y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
            y += self.short(x)
            return self.relu(y)

    model = nn.Sequential(
        nn.Conv2d(3, 8, 3),
        Block(8, 8),
        Block(8, 12, 2),
        Block(12, 12),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(12, 3),
    )
    shapes: dict[str, tuple[int, ...]] = {
        "0.weight": (4, 3, 3, 3),
        "1.conv2.weight": (4, 4, 3, 3),
        "1.bn2.running_mean": (4,),
    }
    shapes |= {
        "2.short.0.weight": (6, 4, 1, 1),
        "3.conv2.weight": (6, 6, 3, 3),
        "3.bn1.weight": (6,),
        "6.weight": (3, 6),
    }
    law(model, image(law), shapes)


def test_a_module_called_twice(law: Any) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.same, self.b = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.same(F.relu(self.same(F.relu(self.a(x))))))

    law(Net(), image(law), {"a.weight": (4, 3, 3, 3), "same.weight": (4, 4, 3, 3), "b.weight": (4, 4, 1, 1)})


def test_one_module_under_two_names(law: Any) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Conv2d(3, 8, 3)
            self.one = self.two = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8))
            self.b = nn.Conv2d(8, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.two(F.relu(self.one(self.a(x)))))

    thinned = law(Net(), image(law), {"one.0.weight": (4, 4, 3, 3), "one.1.running_var": (4,)})
    assert thinned.one is thinned.two


def test_two_modules_with_one_parameter(law: Any) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Conv2d(3, 8, 3)
            self.one, self.two, self.b = nn.Conv2d(8, 6, 1), nn.Conv2d(8, 6, 1), nn.Conv2d(12, 4, 1)
            self.two.weight = self.one.weight

        def forward(self, x: Tensor) -> Tensor:
            y = self.a(x)
            return self.b(torch.cat([self.one(y), self.two(y)], 1))

    thinned = law(Net(), image(law), {"one.weight": (3, 4, 1, 1), "two.bias": (3,), "b.weight": (4, 6, 1, 1)})
    assert thinned.two.weight is thinned.one.weight
    assert thinned.two.out_channels == 3


def test_an_autoencoder_with_a_transposed_tied_weight(law: Any) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.code = nn.Linear(6, 10), nn.Linear(10, 4)

        def forward(self, x: Tensor) -> Tensor:
            y = self.code(torch.tanh(self.a(x)))
            return F.linear(F.linear(y, self.code.weight.t()), self.a.weight.T)

    law(Net(), law.normal(3, 6), {"a.weight": (5, 6), "code.weight": (2, 5)})


def test_weights_used_by_functions(law: Any) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 1)
            self.weight, self.bias = nn.Parameter(torch.ones(5, 8)), nn.Parameter(torch.ones(5))
            self.out = nn.Linear(5, 2)

        def forward(self, x: Tensor) -> Tensor:
            y = F.conv2d(
                F.conv2d(x, self.a.weight, self.a.bias), weight=self.b.weight, bias=self.b.bias, padding="same"
            )
            return self.out(F.linear(y.mean((2, 3)), self.weight, self.bias))

    model = law.randomised(Net())
    thinned = law(model, image(law), {"b.weight": (4, 4, 1, 1), "weight": (3, 4), "out.weight": (2, 3)})
    assert (thinned.a.out_channels, thinned.b.in_channels, thinned.b.out_channels) == (4, 4, 4)


class Slotted:
    __slots__ = ("held",)

    def __init__(self, held: Any) -> None:
        self.held = held


@pytest.mark.parametrize(
    "kind", ["tuple", "list", "dict", "ordered", "namedtuple", "dataclass", "nested", "dataclass of lists", "slots"]
)
def test_outputs_of_many_kinds_stay_whole(law: Any, kind: str) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.left, self.right = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 6, 1), nn.Conv2d(8, 4, 1)

        def forward(self, x: Tensor) -> Any:
            y = self.a(x)
            left, right = self.left(y), self.right(y)
            if kind in ("tuple", "list"):
                return (left, right) if kind == "tuple" else [left, right]
            if kind in ("dict", "ordered"):
                return (OrderedDict if kind == "ordered" else dict)(left=left, right=right, rate=0.5)
            if kind == "namedtuple":
                return Pair(left, right)
            if kind == "slots":
                return Slotted({"pair": Slotted([left, right])})
            if kind == "dataclass of lists":
                return Result([left], {"right": right})  # type: ignore[arg-type]
            return Result(left, right) if kind == "dataclass" else {"a": [left, ({"b": right}, None)]}

    shapes = {"a.weight": (4, 3, 3, 3), "left.weight": (6, 4, 1, 1), "right.weight": (4, 4, 1, 1)}
    law(Net(), image(law), shapes, seeds=2)


@pytest.mark.parametrize("kind", ["in place", "deep in a dataclass"])
def test_a_map_that_is_also_an_output_stays_whole(law: Any, kind: str) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 4, 1)

        def forward(self, x: Tensor) -> Any:
            y = self.a(x)
            if kind == "in place":
                return self.c(self.b(y)), y.relu_()
            return Result(self.c(self.b(y)), [y])  # type: ignore[arg-type]

    law.refuses(Net(), image(law), "a.weight", "it is an output of the model")


@pytest.mark.parametrize("keyword", [False, True])
def test_several_inputs(law: Any, keyword: bool) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c, self.embed = (
                nn.Conv2d(3, 8, 3),
                nn.Conv2d(5, 8, 3),
                nn.Conv2d(8, 4, 1),
                nn.Linear(4, 8),
            )

        def forward(self, left: Tensor, right: Tensor, scale: float = 1.0, extra: Tensor | None = None) -> Tensor:
            y = F.relu(self.a(left)) + self.b(right) * scale
            return self.c(y if extra is None else y * self.embed(extra)[..., None, None])

    values = {"left": image(law), "right": image(law, 5), "scale": 2.0, "extra": law.normal(2, 4)}
    inputs = values if keyword else tuple(values.values())
    law(
        Net(),
        inputs,
        {"a.weight": (4, 3, 3, 3), "b.weight": (4, 5, 3, 3), "embed.weight": (4, 4), "c.weight": (4, 4, 1, 1)},
    )


def test_an_input_that_meets_channels_fixes_them(law: Any) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 1)

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return self.b(self.a(x) + y)

    law.refuses(Net(), (image(law), law.normal(2, 8, 4, 5)), "a.weight", "it meets an input of the model")


def test_integer_and_boolean_inputs(law: Any) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 1)

        def forward(self, x: Tensor, mask: Tensor, row: Tensor) -> Tensor:
            y = self.a(x).masked_fill(mask, 0.0)
            return self.b(torch.where(row > 1, y, y.tanh()))

    inputs = (image(law), torch.rand(2, 1, 4, 5) > 0.5, torch.arange(5))
    law(Net(), inputs, {"a.weight": (4, 3, 3, 3), "b.weight": (4, 4, 1, 1)})


def test_unused_parameters_stay_with_the_reason(law: Any) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.never = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 1), nn.Conv2d(8, 8, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.a(x))

    law.refuses(Net(), image(law), "never.weight", "it took no part in the recorded run")


def test_an_auxiliary_head_follows_and_the_thin_network_trains(law: Any) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.norm, self.b = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 4, 1)
            self.aux = nn.Sequential(nn.Conv2d(8, 6, 1), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(), nn.Conv2d(6, 4, 1))

        def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
            y = F.relu(self.norm(self.a(x)))
            return (self.b(y), self.aux(y)) if self.training else self.b(y)

    model = law.randomised(Net())
    shapes = {
        "a.weight": (4, 3, 3, 3),
        "aux.0.weight": (3, 4, 1, 1),
        "aux.1.running_var": (3,),
        "aux.4.weight": (4, 3, 1, 1),
    }
    thinned = law(model, image(law), shapes).train()
    sum(output.square().mean() for output in thinned(image(law))).backward()
    assert all(parameter.grad is not None for parameter in thinned.parameters())


def test_a_branch_on_data_falls_back_to_real_tensors(law: Any) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            y = self.a(x)
            return self.c(self.b(y) if x.mean() > -10 and y.sum().item() != 0.5 else y)

    law(Net(), image(law), {"a.weight": (4, 3, 3, 3), "b.weight": (4, 4, 1, 1), "c.weight": (4, 4, 1, 1)})


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return 2 * grad


UNKNOWN = {
    "svd": lambda x: torch.linalg.svdvals(x).unsqueeze(-1),
    "cdist": lambda x: torch.cdist(x, x),
    "renorm": lambda x: x.renorm(2, 1, 1.0),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_unknown_operations_are_refused_by_name_and_place(law: Any, name: str) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 1), nn.LazyConv2d(4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.c(UNKNOWN[name](self.b(self.a(x))))

    model = Net()
    model(image(law).float())
    kind = {"svd": "linalg_svdvals"}.get(name, name)
    line = UNKNOWN[name].__code__.co_firstlineno
    law.refuses(
        model,
        image(law),
        "b.weight",
        f"no rule for the operation '{kind}'",
        f"test_structures.py:{line}",
        "secateur_op_rules",
    )
    assert "a.weight" in law.plan(model, image(law)).cuts


class InNumpy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return torch.from_numpy(2 * x.detach().numpy())

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return 2 * grad


@pytest.mark.parametrize("function", [Doubled, InNumpy])
def test_custom_autograd_functions(law: Any, function: Any) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.c(function.apply(self.b(self.a(x))))

    if function is Doubled:  # what it does is seen from within
        law(Net(), image(law), {"b.weight": (4, 4, 1, 1)})
    else:
        law.refuses(Net(), image(law), "b.weight", "no rule for the operation 'numpy'")


def test_nested_autograd_of_weights(law: Any) -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.utils.parametrizations.weight_norm(nn.Conv2d(8, 8, 3)), nn.Conv2d(8, 4, 1)
    )
    law(model, image(law))
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.utils.parametrizations.spectral_norm(nn.Conv2d(8, 8, 3)), nn.Conv2d(8, 4, 1)
    )
    law(model, image(law), train=False)


def test_hooks_are_seen_and_obeyed(law: Any) -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 4, 1))
    model[1].register_forward_hook(lambda module, inputs, output: output.renorm(2, 1, 1.0))
    model[0].register_forward_pre_hook(lambda module, inputs: (inputs[0] * 2,))
    law.refuses(model, image(law), "1.weight", "no rule for the operation 'renorm'")


def test_state_that_a_forward_keeps_on_its_module(law: Any) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 1)
            self.count, self.seen, self.grid = 0, [], torch.ones(5, dtype=torch.float64)

        def forward(self, x: Tensor) -> Tensor:
            self.count += 1
            self.seen.append(self.count)
            self.last = y = self.a(x) * self.grid
            return self.b(y)

    model = law.randomised(Net())
    law.plan(model, image(law))
    assert (model.count, model.seen) == (0, [])
    assert not hasattr(model, "last")
    law.exact(model, law.plan(model, (image(law),)), (image(law),))


class Grid(nn.Module):
    """Four features seen as two rows of two, which are then read column by column."""

    def __init__(self) -> None:
        super().__init__()
        self.rows, self.columns = 2, 2
        self.a, self.b = nn.Linear(5, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(x).view(-1, self.rows, self.columns).transpose(1, 2).flatten(1))


def test_units_that_hold_all_of_a_layer_between_them_do_not_all_leave(law: Any) -> None:
    model, x = law.randomised(Grid()), (law.normal(2, 5),)
    coupling = couple(model, x)
    (dim,) = coupling.dims
    assert dim.slices["a.weight", 0].tolist() == [[0, 1], [0, 2], [1, 3], [2, 3]]
    scores = np.array([1.0, 2.0, 3.0, 4.0])
    for leaving, left in (([0, 3], [0]), ([1, 2], [1]), ([0, 1, 2], [0, 1]), ([1, 2, 3], [1]), ([0, 1], [0, 1])):
        (found,) = spare(coupling, [np.array(leaving)], lambda _: scores)
        assert found.tolist() == left
        law.exact(model, make_plan(model, coupling, [found], x), x)
    with torch.no_grad():
        model.a.weight.copy_(torch.tensor([1.0, 2.0, 4.0, 8.0])[:, None].expand(4, 5))
    assert law.exact(model, law.plan(model, x, 0.75), x).a.weight.tolist() == [[8.0] * 5]
