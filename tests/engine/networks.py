"""Random convolutional networks: programs of a few steps over a pool of feature maps, drawn from a seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIDE = 4
Layers = nn.ModuleList
Step = Callable[[Layers, list[Tensor]], list[Tensor]]
"""From the network's layers (a copy of a network has its own) and the pool to what is added to the pool."""


class RandomNetwork(nn.Module):
    """A random program. Each step reads some maps of the pool and adds one or two; `lines` says what it is."""

    def __init__(self, seed: int, steps: int = 9) -> None:
        super().__init__()
        self.rng = np.random.default_rng(seed)
        self.layers = nn.ModuleList()
        self.steps: list[Step] = []
        self.lines: list[str] = []
        self.inputs = int(self.rng.integers(1, 3))
        self.widths = [3, 4][: self.inputs]
        kinds = sorted(name for name in dir(self) if name.startswith("make_"))
        for index in range(self.inputs):
            self._layer(index, self._conv(self.widths[index], int(self.rng.integers(2, 5)) * 4))
        for _ in range(steps):
            before = len(self.steps)
            while len(self.steps) == before:
                getattr(self, str(self.rng.choice(kinds)))()
        self.heads = sorted({len(self.widths) - 1, *self.rng.integers(self.inputs, len(self.widths), 2).tolist()})
        self.ends = nn.ModuleList(self._head(self.widths[head]) for head in self.heads)
        del self.rng

    def forward(self, *inputs: Tensor) -> dict[str, Tensor]:
        pool = list(inputs)
        for step in self.steps:
            pool += step(self.layers, pool)
        return {str(head): end(pool[head]) for head, end in zip(self.heads, self.ends, strict=True)}

    def example(self, dtype: torch.dtype = torch.float64) -> tuple[Tensor, ...]:
        """Inputs that fit."""
        generator = torch.Generator().manual_seed(1)
        shapes = [(2, width, SIDE, SIDE) for width in (3, 4)[: self.inputs]]
        return tuple(torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes)

    # -- building ----------------------------------------------------------------------------------------------

    def _pick(self) -> int:
        """A map that is not an input, recent ones more often."""
        count = len(self.widths) - self.inputs
        return self.inputs + max(int(self.rng.integers(count)), int(self.rng.integers(count)))

    def _module(self, module: nn.Module) -> int:
        """Keep a module; steps find it by its place."""
        self.layers.append(module)
        return len(self.layers) - 1

    def _layer(self, i: int, place: int, width: int | None = None) -> int:
        """Apply a module to map i."""
        layer = self.layers[place]
        width = layer.out_channels if width is None else width
        return self._add([i], lambda layers, x: layers[place](x), width, f"{place}: {layer}")

    def _add(self, reads: list[int], function: Callable[..., Tensor], width: int, name: str) -> int:
        self.steps.append(lambda layers, pool: [function(layers, *(pool[i] for i in reads))])
        self.widths.append(width)
        self.lines.append(f"%{len(self.widths) - 1}[{width}] = {name} of {reads}")
        return len(self.widths) - 1

    def _conv(self, width: int, out: int = 0, groups: int = 1) -> int:
        kernel = int(self.rng.choice([1, 3]))
        out = out or int(self.rng.integers(1, 5)) * 4
        options: dict[str, Any] = {"groups": groups, "padding": kernel // 2, "bias": bool(self.rng.integers(2))}
        if self.rng.random() < 0.15:
            return self._module(nn.ConvTranspose2d(width, out, kernel, **options))
        if self.rng.random() < 0.15:
            options["padding_mode"] = "circular"
        return self._module(nn.Conv2d(width, out, kernel, **options))

    def _head(self, width: int) -> nn.Module:
        kind = self.rng.integers(3)
        if kind == 0:
            return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 3))
        if kind == 1:
            return nn.Sequential(
                nn.Flatten(), nn.Linear(width * SIDE * SIDE, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 2)
            )
        return nn.Conv2d(width, 2, 1)

    def _fit(self, i: int, width: int) -> int:
        """A map of that width, made from map i by a convolution if need be."""
        return i if self.widths[i] == width else self._layer(i, self._conv(self.widths[i], width))

    # -- steps -------------------------------------------------------------------------------------------------

    def make_conv(self) -> None:
        i = self._pick()
        self._layer(i, self._conv(self.widths[i]))

    make_another_conv = make_conv

    def make_grouped(self) -> None:
        i = self._pick()
        groups = int(self.rng.choice([g for g in (2, 4) if self.widths[i] % g == 0] or [1]))
        self._layer(i, self._conv(self.widths[i], groups=groups))

    def make_depthwise(self) -> None:
        i = self._pick()
        width = self.widths[i]
        if width <= 32:
            self._layer(i, self._conv(width, width * int(self.rng.integers(1, 3)), groups=width))

    def make_norm(self) -> None:
        i = self._pick()
        width = self.widths[i]
        groups = [g for g in (1, 2, 4, width) if width % g == 0]
        norms = [nn.BatchNorm2d(width), nn.BatchNorm2d(width, affine=False), nn.InstanceNorm2d(width, affine=True)]
        norms += [nn.GroupNorm(int(self.rng.choice(groups)), width), nn.PReLU(width)]
        self._layer(i, self._module(norms[self.rng.integers(len(norms))]), width)

    make_another_norm = make_norm

    def make_activation(self) -> None:
        i = self._pick()
        functions = [F.relu, torch.sigmoid, torch.tanh, lambda x: x + 1, lambda x: F.avg_pool2d(x, 3, 1, 1), F.silu]
        functions += [
            lambda x: x.flip(1),
            lambda x: x / (1 + x.norm(dim=1, keepdim=True)),
            F.normalize,
            lambda x: 2 - x,
        ]
        which = int(self.rng.integers(len(functions)))
        self._add([i], lambda _, x: functions[which](x), self.widths[i], f"activation {which}")

    def make_residual(self) -> None:
        i = self._pick()
        j = self._fit(self._pick(), self.widths[i])
        functions = [torch.add, torch.mul, torch.maximum, lambda x, y: x.clone().add_(y), lambda x, y: x - y.sigmoid()]
        which = int(self.rng.integers(len(functions)))
        self._add([i, j], lambda _, x, y: functions[which](x, y), self.widths[i], f"residual {which}")

    make_another_residual = make_residual

    def make_concatenation(self) -> None:
        picked = [self._pick() for _ in range(int(self.rng.integers(2, 4)))]
        width = sum(self.widths[i] for i in picked)
        if width <= 48:
            self._add(picked, lambda _, *maps: torch.cat(maps, 1), width, "cat")

    make_another_concatenation = make_concatenation

    def make_interleaved(self) -> None:
        i = self._pick()
        j = self._fit(self._pick(), self.widths[i])
        if self.widths[i] <= 24:
            self._add([i, j], lambda _, x, y: torch.stack((x, y), 2).flatten(1, 2), 2 * self.widths[i], "interleave")

    def make_halves(self) -> None:
        i = self._pick()
        width, which = self.widths[i], int(self.rng.integers(5))
        if width % 2 or width < 4:
            return

        def halves(x: Tensor) -> tuple[Tensor, ...]:
            if which == 0:
                return x.chunk(2, 1)
            if which == 1:
                return x.split([width // 4, width - width // 4], 1)
            if which == 2:
                return x[:, : x.shape[1] // 2], x[:, x.shape[1] // 2 :]
            if which == 3:
                return x[:, ::2], x[:, 1::2]
            return x.view(x.size(0), -1, 2, SIDE, SIDE).unbind(2)

        self.steps.append(lambda _, pool: list(halves(pool[i])))
        self.widths += [width // 4, width - width // 4] if which == 1 else [width // 2] * 2
        self.lines.append(f"%{len(self.widths) - 2}, %{len(self.widths) - 1} = halves {which} of {i}")

    make_more_halves = make_halves

    def make_gate(self) -> None:
        i = self._pick()
        if self.widths[i] % 2 == 0 and self.widths[i] > 2:
            self._add([i], lambda _, x: F.glu(x, 1), self.widths[i] // 2, "glu")

    def make_shuffle(self) -> None:
        i = self._pick()
        groups = [g for g in (2, 4) if self.widths[i] % g == 0]
        if not groups:
            return
        g, which = int(self.rng.choice(groups)), int(self.rng.integers(3))

        def shuffle(_: Layers, x: Tensor) -> Tensor:
            b, c, h, w = x.shape
            if which == 0:
                return F.channel_shuffle(x, g)
            if which == 1:
                return x.view(b, g, c // g, h, w).transpose(1, 2).reshape(b, c, h, w)
            return x.reshape(b, -1, g, h, w).transpose(1, 2).flatten(1, 2)

        self._add([i], shuffle, self.widths[i], f"shuffle {which} by {g}")

    make_another_shuffle = make_shuffle

    def make_excitation(self) -> None:
        i = self._pick()
        width = self.widths[i]
        gate = self._module(nn.Sequential(nn.Linear(width, 4), nn.ReLU(), nn.Linear(4, width), nn.Sigmoid()))
        self._add(
            [i], lambda layers, x: x * layers[gate](x.mean((2, 3))).view(x.size(0), -1, 1, 1), width, "excitation"
        )

    def make_scale(self) -> None:
        i = self._pick()
        shape = [(1, self.widths[i], 1, 1), (self.widths[i], 1, 1)][self.rng.integers(2)]
        holder = self._module(nn.ParameterList([torch.ones(shape), torch.ones(shape)]))
        self._add([i], lambda layers, x: x * layers[holder][0] + layers[holder][1], self.widths[i], "scale")

    def make_tokens(self) -> None:
        i = self._pick()
        width = self.widths[i]
        up, down = self._module(nn.Linear(width, 6)), self._module(nn.Linear(6, width))

        def tokens(layers: Layers, x: Tensor) -> Tensor:
            y = x.flatten(2).transpose(1, 2)
            return x + layers[down](F.gelu(layers[up](y))).transpose(1, 2).reshape(x.shape)

        self._add([i], tokens, width, "tokens")

    def make_pixels(self) -> None:
        i = self._pick()
        width = self.widths[i]
        if width % 4 == 0 and width <= 16:
            inner = self._module(nn.Conv2d(width // 4, width // 4, 3, padding=1))
            self._add(
                [i], lambda layers, x: F.pixel_unshuffle(layers[inner](F.pixel_shuffle(x, 2)), 2), width, "pixels"
            )

    def make_repeated(self) -> None:
        i = self._pick()
        if self.widths[i] <= 16:
            self._add([i], lambda _, x: x.repeat(1, 2, 1, 1), 2 * self.widths[i], "repeat")

    def make_padded(self) -> None:
        i = self._pick()
        self._add([i], lambda _, x: F.pad(x, (0, 0, 0, 0, 1, 3)), self.widths[i] + 4, "pad")

    def make_shared(self) -> None:
        i = self._pick()
        conv = self._conv(self.widths[i], self.widths[i])
        self._layer(self._layer(i, conv), conv)

    def make_tied(self) -> None:
        i = self._pick()
        j = self._fit(self._pick(), self.widths[i])
        one, two = (nn.Conv2d(self.widths[i], 8, 1) for _ in range(2))
        two.weight = one.weight
        self._layer(i, self._module(one))
        self._layer(j, self._module(two))

    def make_refused(self) -> None:
        i = self._pick()
        functions = [
            lambda x: x.cumsum(1),
            lambda x: x.softmax(1),
            lambda x: x - x.mean(1, keepdim=True),
            lambda x: x.roll(1, 1),
        ]
        functions += [lambda x: x * x.shape[1], lambda x: x.reshape(2, -1).view(2, *x.shape[1:])]
        which = int(self.rng.integers(len(functions)))
        if self.rng.random() < 0.3:
            self._add([i], lambda _, x: functions[which](x), self.widths[i], f"refused {which}")
