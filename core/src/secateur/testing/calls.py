"""Calls of an operation in every form the kit can think of, each with layers around it."""

from __future__ import annotations

import operator
import random
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from itertools import islice
from typing import Any

import torch
from attrs import frozen
from torch import Tensor, nn
from torch.nn import functional as F

from secateur.testing.layers import INPUTS, OUTPUTS, Mix
from secateur.testing.values import randomised

WIDTH = 8
SHAPES = ((3, WIDTH), (3, 6, WIDTH), (3, WIDTH, 4, 4))
"""Shapes of what is called on; channels lie along the axis of this width."""
FORMS = (
    *("f(x)", "f(x, 1)", "f(x, -1)", "f(x, dim=1)", "f(x, dim=-1, keepdim=True)", "f(x, 2)", "f(x, 0.5)", "f(x, 2, 1)"),
    *(
        "f(x, x.tanh())",
        "f(x, y)",
        "f(y, x)",
        "f(x, x, x)",
        "f(x, y, 0.5)",
        "f([x, y], 1)",
        "f([x, y], -1)",
        "f(0.5, x)",
    ),
    *("f(x, 0, 1)", "f(x, (0, 1))", "f(x, 1, 2)", "f(x, (2, 3))", "f(x, 1, -1)", "f(x, 2, -1)", "f(x, x.shape[0], -1)"),
    *("f(x, x.size(0), -1)", "f(x, (x.size(0), -1))", "f(x, 1, (2, -1))", "f(x, -1, (-1, 2))", "f(x, [1, 1])"),
    *("f(x, 1, 0, 1)", "f(x, 0, 2, 1)", "f(x, 0, 2, 3, 1)", "f(x, (1, 1))", "f(x, 3, 1, 1)", "f(x, (1, -1, 1))"),
    *("f(x, slice(None))", "f(x, (slice(None), slice(1, 5)))", "f(x, (slice(None), None))", "f(x, (..., 0))"),
    *("f(x, v)", "f(x, c)", "f(x, l)", "f(x, l, b)", "f(x, l.t())", "f(x, k, b, padding=1)", "f(x, k)", "f(x, t, b)"),
    *("f(x, g, b, 1, 1, 1, 2)", "f(x, m, s, v, v2)", "f(x, None, None, v, v2)", "f(x, m, s, v, v2, True)"),
    *("f(x, (x.shape[-1],), v, v2)", "f(x, (x.shape[-1],), v)", "f(x, 2, v, v2)", "f(x, 4)", "f(x > 0, x, y)"),
    *("f(x, x < 0, 0.5)", "f(x, x > 0.1)", "f(y, b, x)", "f(x, y.transpose(-1, -2))", "f(x, x.argmax(1))"),
    *("f(x, i)", "f(x, 1, i)", "f('bnc,oc->bno', x, l)", "f('bchw,oc->bohw', x, l)", "f(ids, e)", "f(x, 1, 1, 1, 1)"),
)
"""Forms of calls: `x` is written by one layer, `y`, of the same shape, by another, letters are parameters."""
STEPS = (
    *(f"f(x, x[:1], (r{n}, r{n}), False, 1, 0.0, False, False, False)" for n in (1, 3)),
    "f(x, (x[:1], y[:1]), (r4, r4), False, 1, 0.0, False, False, False)",
    "f(x, (x[:1], x[:1].cos()), (r4, r4, b4, b4), True, 1, 0.0, False, False, False)",
    *(f"f(x, {state}, r{n}, r{n})" for n in (1, 3) for state in ("y", "x.cos()")),
    *("f(x, (x, y), r4, r4)", "f(x, (x, y.cos()), r4, r4, b4, b4)"),
)
"""Forms of recurrent layers and cells, with as many units as there are channels; tried after all others."""
BUFFERS = ("m", "s")
MOST = 3
"""Forms that are tried of one operation on one shape, chosen at random, the same ones each time."""


def parameters(rank: int) -> dict[str, tuple[int, ...]]:
    """The shapes of the parameters that forms name, for an input of that rank."""
    kernel = (3,) * (rank - 2)
    return {
        "v": (WIDTH,),
        "v2": (WIDTH,),
        "m": (WIDTH,),
        "s": (WIDTH,),
        "c": (WIDTH, *(1,) * (rank - 2)),
        "l": (6, WIDTH),
        "b": (6,),
        "k": (6, WIDTH, *kernel),
        "t": (WIDTH, 6, *kernel),
        "g": (6, WIDTH // 2, *kernel),
        "e": (7, WIDTH),
        "b4": (4 * WIDTH,),
        **{f"r{gates}": (gates * WIDTH, WIDTH) for gates in (1, 3, 4)},
    }


@frozen
class Form:
    """One form of a call, on one shape, with the channels along one axis."""

    operation: str
    text: str
    shape: tuple[int, ...]
    axis: int

    def __str__(self) -> str:
        shown = self.text.replace("f(", f"{self.operation}(", 1)
        return f"{shown} with x of shape {self.shape}, channels along axis {self.axis}"


class Branch(nn.Module):
    """Layers that write `x` and `y`, the call, and a layer that reads what it gives along the axis of the channels."""

    def __init__(self, form: Form) -> None:
        super().__init__()
        rank, self.form = len(form.shape), form
        names = form_names(form.text)
        self.x = Mix(INPUTS, WIDTH, form.axis, rank)
        if "y" in names:
            self.y = Mix(INPUTS, WIDTH, form.axis, rank)
        for name, shape in parameters(rank).items():
            if name in names and name in BUFFERS:
                self.register_buffer(name, torch.ones(shape))
            elif name in names:
                self.register_parameter(name, nn.Parameter(torch.ones(shape)))
        self.readers = nn.ModuleList()

    def forward(self, given: Tensor) -> list[Tensor]:
        """The outputs of the call, each read by a layer if there is one for it."""
        made = self.call(given)
        return [reader(tensor) for reader, tensor in zip(self.readers, made, strict=True)]

    def call(self, given: Tensor) -> list[Tensor]:
        """The outputs of the call itself."""
        table = {name: getattr(self, name) for name in form_names(self.form.text) if hasattr(self, name)}
        table |= {"f": function(self.form.operation), "ids": torch.tensor([[1, 2, 3]]), "i": torch.tensor([2, 0, 1])}
        table["x"] = self.x(given)
        if "y" in table:
            table["y"] = self.y(given)
        made = eval(compiled(self.form.text), table)
        return [made] if isinstance(made, Tensor) else list(made)

    def read(self, given: Tensor) -> None:
        """Add the readers that fit what the call gives."""
        for tensor in self.call(given):
            axis, rank = self.form.axis % len(self.form.shape), tensor.dim()
            fits = axis < rank and tensor.shape[axis] > 1 and tensor.is_floating_point()
            self.readers.append(Mix(tensor.shape[axis], OUTPUTS, axis, rank) if fits else nn.Identity())


class Branches(nn.Module):
    """Branches side by side, each with its own layers and its own input."""

    def __init__(self, branches: list[Branch]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, *inputs: Tensor) -> list[Any]:
        """The outputs of all branches."""
        return [branch(given) for branch, given in zip(self.branches, inputs, strict=True)]

    def inputs(self) -> tuple[Tensor, ...]:
        """Example inputs."""
        return tuple(_given(branch.form) for branch in self.branches if isinstance(branch, Branch))


def branches(operation: str) -> list[Branch]:
    """Branches with forms in which an operation can be called; none if torch has no function of that name."""
    return list(_branches(operation)) if function(operation) is not None else []


def _branches(operation: str) -> Iterator[Branch]:
    for shape in SHAPES:
        texts = list(FORMS)
        random.Random(f"{operation} {shape}").shuffle(texts)
        found = (Branch(Form(operation, text, shape, shape.index(WIDTH, 1))) for text in (*texts, *STEPS))
        yield from islice(filter(_runs, found), MOST)


def _runs(branch: Branch) -> bool:
    """Whether a call is possible without a warning, differentiable, and gives finite numbers, the same ones again."""
    given = _given(branch.form)
    randomised(branch)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            branch.read(given)
            made, again = randomised(branch)(given), branch(given)
            if not made or not all(tensor.numel() and tensor.dim() for tensor in made):
                return False
            torch.stack([tensor.sum() for tensor in made if tensor.is_floating_point()]).sum().backward()  # type: ignore[no-untyped-call]
    except Exception:  # noqa: BLE001 - most forms fit few operations
        return False
    branch.zero_grad()
    return all(torch.equal(a, b) and bool(a.isfinite().all()) for a, b in zip(made, again, strict=True))


def _given(form: Form) -> Tensor:
    shape = list(form.shape)
    shape[form.axis] = INPUTS
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@cache
def function(operation: str) -> Callable[..., Any] | None:
    """The function of torch that bears an operation's name, if there is one."""
    if operation in ("getitem", "matmul"):
        return getattr(operator, operation)  # type: ignore[no-any-return]
    for home in (F, torch, Tensor, torch.linalg, torch.special):
        found = getattr(home, operation, None)
        if callable(found) and not isinstance(found, type):
            return found  # type: ignore[no-any-return]
    return None


@cache
def compiled(text: str) -> Any:
    """A form as code."""
    return compile(text, "form_of_a_call.py", "eval")


def form_names(text: str) -> tuple[str, ...]:
    """The names in a form."""
    return tuple(compiled(text).co_names)
