"""Pointwise operations, pooling and space: what they do to zero decides what a later sum may do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

Body = Callable[[Tensor], Tensor]


class Around(nn.Module):
    """conv, the body, conv; or, to see whether pruned slices are zero, conv, the body, a sum over channels."""

    def __init__(self, body: Body, reduce: bool = False, width: int = 8) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, width, 3)
        self.b = nn.Conv2d(1 if reduce else width, 4, 1)
        self.body, self.reduce = body, reduce

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(self.a(x))
        return self.b(y.sum(1, keepdim=True) if self.reduce else y)


ZERO = {
    "relu": F.relu,
    "relu6": F.relu6,
    "leaky": F.leaky_relu,
    "elu": F.elu,
    "selu": F.selu,
    "celu": F.celu,
    "gelu": F.gelu,
    "gelu tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "mish": F.mish,
    "hardswish": F.hardswish,
    "tanh": torch.tanh,
    "tanhshrink": F.tanhshrink,
    "softshrink": F.softshrink,
    "hardshrink": F.hardshrink,
    "softsign": F.softsign,
    "hardtanh": F.hardtanh,
    "rrelu": F.rrelu,
    "abs": torch.abs,
    "neg": lambda x: -x,
    "square": torch.square,
    "sin": torch.sin,
    "erf": torch.erf,
    "expm1": torch.expm1,
    "sign": torch.sign,
    "round": torch.round,
    "floor": torch.floor,
    "ceil": lambda x: x.ceil(),
    "contiguous": lambda x: x.contiguous(),
    "dropout": lambda x: F.dropout(x, 0.5, False),
    "dropout2d": lambda x: F.dropout2d(x, training=False),
    "clamp": lambda x: x.clamp(-1, 1),
    "clamp_min": lambda x: x.clamp_min(0),
    "clip": lambda x: torch.clip(x, max=2),
    "pow": lambda x: x**2,
    "float_power": lambda x: torch.float_power(x, 2),
    "times": lambda x: 3 * x,
    "over": lambda x: x / 2,
    "itimes": lambda x: x.mul_(0.5),
    "clone": lambda x: x.clone().detach(),
    "to": lambda x: x.to(torch.float32).to(torch.float64),
    "double": lambda x: x.double(),
    "self product": lambda x: x * x.sigmoid(),
    "quotient": lambda x: x / (1 + x.exp()),
    "difference": lambda x: x - 2 * x.tanh(),
    "masked_fill": lambda x: x.masked_fill(x > 1, 0.0),
    "maximum": lambda x: torch.maximum(x, x.tanh()),
    "lerp": lambda x: torch.lerp(x, x.tanh(), x),
    "alias": lambda x: x,
    "where": lambda x: torch.where(x > 0, x, x * 0.1),
    "zeros_like": lambda x: x + torch.zeros_like(x),
    "sqrt": lambda x: x.abs().sqrt(),
}
ANY = {
    "sigmoid": torch.sigmoid,
    "hardsigmoid": F.hardsigmoid,
    "softplus": F.softplus,
    "logsigmoid": F.logsigmoid,
    "exp": torch.exp,
    "cos": torch.cos,
    "plus one": lambda x: x + 1,
    "one minus": lambda x: 1 - x,
    "rtruediv": lambda x: 1 / (1 + x.exp()),
    "clamp above": lambda x: x.clamp(0.5, 2),
    "threshold": lambda x: F.threshold(x, 0.1, 0.7),
    "hardtanh above": lambda x: F.hardtanh(x, 0.1, 1.0),
    "masked_fill one": lambda x: x.masked_fill(x > 0, 1.0),
    "where number": lambda x: torch.where(x > 0.1, x, 0.3),
    "pow base": lambda x: 2**x,
    "comparison": lambda x: (x > -0.1).double(),
    "ones_like": lambda x: x + torch.ones_like(x),
    "inplace": lambda x: x.add_(1).sigmoid_(),
    "softmax over space": lambda x: x.flatten(2).softmax(-1).view_as(x),
    "log_softmax over space": lambda x: F.log_softmax(x, 3),
}


@pytest.mark.parametrize("name", ZERO)
def test_zero_stays_zero(law: Any, name: str) -> None:
    shapes = {"a.weight": (4, 3, 3, 3)}
    law(Around(ZERO[name]), law.normal(2, 3, 5, 6), {**shapes, "b.weight": (4, 4, 1, 1)}, seeds=1)
    law(Around(ZERO[name], reduce=True), law.normal(2, 3, 5, 6), {} if name in ("where",) else shapes, seeds=1)


@pytest.mark.parametrize("name", ANY)
def test_zero_becomes_something_else(law: Any, name: str) -> None:
    law(Around(ANY[name]), law.normal(2, 3, 5, 6), {"a.weight": (4, 3, 3, 3), "b.weight": (4, 4, 1, 1)}, seeds=1)
    law.refuses(Around(ANY[name], reduce=True), law.normal(2, 3, 5, 6), "a.weight", "sum is taken over it")


@pytest.mark.parametrize(
    "body", [torch.log, torch.rsqrt, torch.reciprocal, lambda x: 1 / x, lambda x: x**-1], ids=range(5)
)
def test_what_is_not_finite_at_zero_is_refused(law: Any, body: Body) -> None:
    model = law.randomised(Around(lambda x: body(x.abs()).clamp(max=10)))
    law.refuses(model, law.normal(2, 3, 5, 6), "a.weight", "not finite where pruned slices are zero")


def test_positional_in_place_activation_on_a_view(law: Any) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 8, 3), nn.Conv2d(1, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            y = self.a(x)
            F.hardsigmoid(y[:, :], True)
            return self.b(y.sum(1, keepdim=True))

    law.refuses(Net(), law.normal(2, 3, 5, 6), "a.weight", "sum is taken over it")


@pytest.mark.parametrize("inplace", ["relu_", "add_", "mul_", "sigmoid_", "setitem"])
def test_in_place_on_a_view_reaches_the_base(law: Any, inplace: str) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 1), nn.Conv2d(1, 2, 1)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            y = self.a(x)
            half = y[:, : y.shape[1] // 2]
            if inplace == "setitem":
                y[:, 0] = 1.0
            elif inplace in ("add_", "mul_"):
                getattr(half, inplace)(2.0)
            else:
                getattr(half, inplace)()
            return self.b(y), self.c(y.sum(1, keepdim=True))

    law(Net(), law.normal(2, 3, 5, 6), seeds=8)


def test_in_place_residual_and_out_argument(law: Any) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            y = self.a(x)
            z = self.b(F.relu(y))
            z += y
            buffer = torch.empty_like(z)
            torch.add(z, y, out=buffer)
            return self.c(torch.relu_(z)) + self.c(buffer)

    law(Net(), law.normal(2, 3, 5, 6), seeds=4, train=False)


@pytest.mark.parametrize("count", [1, 8])
def test_prelu(law: Any, count: int) -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.PReLU(count), nn.Conv2d(8, 4, 1))
    kept = 1 if count == 1 else 4
    thinned = law(model, law.normal(2, 3, 5, 6), {"1.weight": (kept,), "2.weight": (4, 4, 1, 1)})
    assert repr(thinned[1]) == f"PReLU(num_parameters={kept})"


@pytest.mark.parametrize(
    "module",
    [
        nn.ReLU(),
        nn.ReLU(True),
        nn.ReLU6(True),
        nn.LeakyReLU(0.2, True),
        nn.ELU(inplace=True),
        nn.Hardswish(True),
        nn.SiLU(True),
        nn.Mish(),
        nn.GELU("tanh"),
        nn.Hardsigmoid(True),
        nn.Dropout(),
        nn.Dropout2d(inplace=True),
        nn.AlphaDropout(),
        nn.Softplus(2, 10),
        nn.Threshold(0.1, 0.2, True),
        nn.RReLU(),
        nn.Softsign(),
        nn.CELU(1.5),
        nn.Hardtanh(-2, 2),
        nn.LogSigmoid(),
        nn.Identity(),
    ],
    ids=repr,
)
def test_activation_modules(law: Any, module: nn.Module) -> None:
    law(Around(module), law.normal(2, 3, 5, 6), {"a.weight": (4, 3, 3, 3), "b.weight": (4, 4, 1, 1)}, seeds=2)


POOLS: dict[str, Body] = {
    "max": nn.MaxPool2d(2, 2, padding=1),
    "avg": nn.AvgPool2d(3, 1, padding=1),
    "ceil": nn.MaxPool2d(2, ceil_mode=True),
    "adaptive avg": nn.AdaptiveAvgPool2d(2),
    "adaptive max": nn.AdaptiveMaxPool2d((2, None)),
    "lp": nn.LPPool2d(2, 2),
    "indices": lambda x: F.max_pool2d(x, 2, return_indices=True)[0],
    "functional": lambda x: F.avg_pool2d(x, 2, stride=1),
    "torch": lambda x: torch.max_pool2d(x, kernel_size=2),
    "nearest": nn.Upsample(scale_factor=2),
    "size": nn.Upsample((7, 9)),
    "bilinear": lambda x: F.interpolate(x, scale_factor=1.5, mode="bilinear", align_corners=True),
    "to its size": lambda x: F.interpolate(F.avg_pool2d(x, 2), size=x.shape[-2:], mode="bicubic"),
    "mean": lambda x: x.mean((2, 3), keepdim=True),
    "mean of mean": lambda x: x.mean(-1, keepdim=True).mean(-2, keepdim=True),
    "reflect": nn.ReflectionPad2d(1),
    "zero pad": nn.ZeroPad2d((1, 2, 0, 1)),
    "replicate": nn.ReplicationPad2d(1),
    "constant pad": nn.ConstantPad2d(1, 0.7),
    "circular": lambda x: F.pad(x, (1, 1, 1, 1), mode="circular"),
    "crop": lambda x: F.pad(x, (-1, 0, -1, 0)),
    "amax": lambda x: x.amax((2, 3), keepdim=True),
    "var": lambda x: x.var((2, 3), keepdim=True),
    "norm": lambda x: x.norm(dim=(2, 3), keepdim=True),
    "max values": lambda x: x.max(3, keepdim=True).values,
    "flip": lambda x: x.flip(3),
    "std": lambda x: x / (x.std((2, 3), keepdim=True) + 1),
    "std unbiased": lambda x: x.flatten(2).std(2, False)[..., None, None],
    "var by place": lambda x: x.flatten(2).var(2, False, True)[..., None],
    "var over the batch": lambda x: x / (1 + x.var(0, False, keepdim=True)),
    "var corrected": lambda x: torch.var(x, dim=3, correction=0)[..., None],
    "std and mean": lambda x: torch.std_mean(x, (2, 3), False, True)[0],
    "mean and var": lambda x: torch.var_mean(x, dim=(2, 3), keepdim=True, correction=2)[1],
    "median": lambda x: x.median(3, keepdim=True)[0],
}


@pytest.mark.parametrize("name", POOLS)
def test_operations_over_space(law: Any, name: str) -> None:
    law(Around(POOLS[name]), law.normal(2, 3, 8, 9), {"a.weight": (4, 3, 3, 3), "b.weight": (4, 4, 1, 1)}, seeds=2)
    law(Around(POOLS[name], reduce=True), law.normal(2, 3, 8, 9), seeds=2)


@pytest.mark.parametrize("space", [1, 3])
@pytest.mark.parametrize("kind", ["MaxPool", "AvgPool", "AdaptiveAvgPool", "AdaptiveMaxPool", "LPPool"])
def test_pooling_over_one_and_three_axes(law: Any, space: int, kind: str) -> None:
    conv = {1: nn.Conv1d, 3: nn.Conv3d}[space]
    pool = getattr(nn, f"{kind}{space}d")
    model = nn.Sequential(conv(3, 8, 2), pool(2, 2) if kind == "LPPool" else pool(2), conv(8, 4, 1))
    law(model, law.normal(2, 3, *[7] * space), {"0.weight": (4, 3, *[2] * space)}, seeds=2)


@pytest.mark.parametrize(
    "body",
    [
        lambda x: x.mean(1, keepdim=True),
        lambda x: x.max(1, keepdim=True)[0],
        lambda x: x.amin(1, True),
        lambda x: x.var(1, False, True),
        lambda x: x.var(False) + x[:, :1],
        lambda x: torch.std_mean(x, False)[1] + x[:, :1],
        lambda x: torch.std(x, dim=1, correction=0)[:, None],
    ],
    ids=range(7),
)
def test_statistics_over_channels_are_refused(law: Any, body: Body) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 8, 3), nn.Conv2d(1, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(body(self.a(x)))

    law.refuses(Net(), law.normal(2, 3, 5, 6), "a.weight", "is taken over it", "test_rules_pointwise.py")


@pytest.mark.parametrize(
    "body",
    [lambda x: x.softmax(1), lambda x: F.log_softmax(x, dim=1), nn.Softmax(1), nn.Softmax2d(), nn.Softmin(1)],
    ids=range(5),
)
def test_softmax_over_channels_is_refused(law: Any, body: Body) -> None:
    law.refuses(Around(body), law.normal(2, 3, 5, 6), "a.weight", "is taken over it", "soft")


def test_argmax_over_channels_is_refused(law: Any) -> None:
    model = Around(lambda x: x.argmax(1, keepdim=True).double() * x)
    law.refuses(model, law.normal(2, 3, 5, 6), "a.weight", "argmax is taken over it")


def test_norm_over_channels(law: Any) -> None:
    law(Around(lambda x: x / (1 + x.norm(dim=1, keepdim=True))), law.normal(2, 3, 5, 6), {"a.weight": (4, 3, 3, 3)})
    law(
        Around(lambda x: x * torch.linalg.vector_norm(x, 1, 1, True)),
        law.normal(2, 3, 5, 6),
        {"a.weight": (4, 3, 3, 3)},
    )
    law(
        Around(lambda x: x * (x * x).sum(dim=1, keepdim=True).sqrt()),
        law.normal(2, 3, 5, 6),
        {"a.weight": (4, 3, 3, 3)},
    )
    law.refuses(
        Around(lambda x: x * x.norm(float("-inf"), 1, True)),
        law.normal(2, 3, 5, 6),
        "a.weight",
        "norm is taken over it",
    )


class Scaled(nn.Module):
    """Bare parameters and buffers that scale and shift channels."""

    def __init__(self, *shape: int, buffer: bool = False) -> None:
        super().__init__()
        self.a, self.b, self.last = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 1), len(shape) == 1
        if buffer:
            self.register_buffer("scale", torch.ones(shape), persistent=False)
        else:
            self.scale = nn.Parameter(torch.ones(shape))
        self.shift = nn.Parameter(torch.ones(shape))

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        if self.last:
            y = y.permute(0, 2, 3, 1) * self.scale + self.shift
            return self.b(y.permute(0, 3, 1, 2))
        return self.b(y * self.scale + self.shift)


@pytest.mark.parametrize("shape", [(1, 8, 1, 1), (8, 1, 1), (8,)])
@pytest.mark.parametrize("buffer", [True, False])
def test_layer_scale(law: Any, shape: tuple[int, ...], buffer: bool) -> None:
    kept = tuple(4 if length == 8 else length for length in shape)
    law(Scaled(*shape, buffer=buffer), law.normal(2, 3, 5, 6), {"scale": kept, "shift": kept, "b.weight": (4, 4, 1, 1)})


def test_squeeze_and_excitation(law: Any) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.norm, self.b = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 4, 1)
            self.down, self.up = nn.Linear(8, 4), nn.Linear(4, 8)

        def forward(self, x: Tensor) -> Tensor:
            y = F.relu(self.norm(self.a(x)))
            b, c, _, _ = y.size()
            gate = self.up(F.relu(self.down(F.adaptive_avg_pool2d(y, 1).view(b, c))))
            return self.b(y * torch.sigmoid(gate).view(b, c, 1, 1).expand_as(y))

    shapes = {
        "a.weight": (4, 3, 3, 3),
        "down.weight": (2, 4),
        "up.weight": (4, 2),
        "up.bias": (4,),
        "b.weight": (4, 4, 1, 1),
    }
    law(Net(), law.normal(2, 3, 5, 6), shapes)


def test_efficient_channel_attention_convolves_over_channels_and_is_refused(law: Any) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.mix, self.b = nn.Conv2d(3, 8, 3), nn.Conv1d(1, 1, 3, padding=1), nn.Conv2d(8, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            y = self.a(x)
            gate = self.mix(y.mean((2, 3)).unsqueeze(1)).transpose(1, 2).unsqueeze(-1)
            return self.b(y * gate.sigmoid())

    law.refuses(Net(), law.normal(2, 3, 5, 6), "a.weight", "a convolution slides over it", "mix")
