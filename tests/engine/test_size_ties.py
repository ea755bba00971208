"""Sizes that forwards compute with: what follows, what ties dims together, and what is refused with its place."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import secateur

Forward = Callable[[Any, Tensor], Tensor]


class Net(nn.Module):
    """Layers a to c of 24 features, whatever else is held, and a forward that is given them."""

    def __init__(self, body: Forward, **held: Any) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Linear(10, 24) for _ in range(3))
        self.o = nn.Linear(24, 3)
        for name, value in held.items():
            setattr(self, name, value)
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return self.body(self, x)


def attend(m: Any, parts: Any) -> Tensor:
    q, k, v = (part.transpose(1, 2) for part in parts)
    return ((q @ k.mT * 0.3).softmax(-1) @ v).transpose(1, 2)


def layers(m: Any, x: Tensor) -> list[Tensor]:
    return [m.a(x), m.b(x), m.c(x)]


def divided(m: Any, x: Tensor) -> Tensor:
    """C // self.heads, where C is read from the tensor."""
    b, n, _ = x.shape
    return m.o(attend(m, (y.view(b, n, m.heads, y.shape[-1] // m.heads) for y in layers(m, x))).flatten(2))


def divided_once(m: Any, x: Tensor) -> Tensor:
    b, n, _ = x.shape
    made = layers(m, x)
    width = made[0].shape[-1] // m.heads
    return m.o(attend(m, (y.view(b, n, m.heads, width) for y in made)).flatten(2))


def held(m: Any, x: Tensor) -> Tensor:
    """self.dim // self.heads, and self.dim once more at the end."""
    b, n, _ = x.shape
    parts = (y.view(b, n, m.heads, m.dim // m.heads) for y in layers(m, x))
    return m.o(attend(m, parts).reshape(b, n, m.dim))


def fused(m: Any, x: Tensor) -> Tensor:
    """view(b, n, C) with the C of an inner width, as vision transformers have it; 3 * C rows are fused."""
    y = m.a(x)
    b, n, width = y.shape
    parts = m.qkv(y).reshape(b, n, 3, m.heads, width // m.heads).permute(2, 0, 1, 3, 4)
    return m.o(attend(m, parts).reshape(b, n, width))


def triple(m: Any, x: Tensor) -> Tensor:
    """The rows are counted as 3 * self.dim."""
    y = m.qkv(m.a(x))
    return m.o(y.view(*x.shape[:2], 3 * m.dim).chunk(3, -1)[1] * m.a(x))


class Sized(Net):
    """The width is a property of two attributes."""

    @property
    def width(self) -> int:
        return self.dim // self.heads


def by_property(m: Any, x: Tensor) -> Tensor:
    return m.o(attend(m, (y.unflatten(-1, (m.heads, m.width)) for y in layers(m, x))).flatten(2))


ATTENTION: dict[str, tuple[Forward, dict[str, Any], list[int]]] = {
    "shape // heads": (divided, {"heads": 4}, [4, 6, 6]),
    "one shape // heads for all": (divided_once, {"heads": 4}, [4, 6]),
    "dim // heads, and dim": (held, {"heads": 4, "dim": 24}, [4, 6]),
    "inner width": (fused, {"heads": 4, "qkv": nn.Linear(24, 72)}, [4, 6]),
    "a property": (by_property, {"heads": 4, "dim": 24}, [4, 6]),
}


@pytest.mark.parametrize("name", ATTENTION)
def test_arithmetic_on_sizes_ties_what_it_measures(law: Any, name: str) -> None:
    body, values, sizes = ATTENTION[name]
    model, x = (Sized if name == "a property" else Net)(body, **values), law.normal(2, 5, 10)
    thinned = law(model, x, {"a.weight": (6, 10), "o.weight": (3, 6)}, seeds=5)
    assert sorted(dim.size for dim in law.plan(model, x).dims) == sizes
    assert thinned.heads == 2
    assert getattr(thinned, "dim", 6) == 6
    assert type(thinned.heads) is int


def test_three_times_a_held_width(law: Any) -> None:
    thinned = law(Net(triple, qkv=nn.Linear(24, 72), dim=24), law.normal(2, 5, 10), {"qkv.weight": (36, 12)}, seeds=4)
    assert thinned.dim == 12


def again(m: Any, x: Tensor) -> Tensor:
    y = m.a(x).view(*x.shape[:2], m.dim)
    return m.o(m.d(y).view(-1, x.shape[1], m.dim))


def test_one_attribute_for_two_widths_ties_them(law: Any) -> None:
    model, x = Net(again, d=nn.Linear(24, 24), dim=24), law.normal(2, 5, 10)
    thinned = law(model, x, {"a.weight": (12, 10), "d.weight": (12, 12), "o.weight": (3, 12)}, seeds=4)
    assert [dim.size for dim in law.plan(model, x).dims] == [24]
    assert thinned.dim == 12


def split(m: Any, x: Tensor) -> Tensor:
    left, right = m.a(x).split(m.sizes, -1)
    return m.l(left) + m.r(right)


PARTS = {"l": nn.Linear(16, 3), "r": nn.Linear(8, 3)}


def looped(m: Any, x: Tensor) -> Tensor:
    y = m.a(x)
    return m.o(torch.cat([y[..., i * m.width : (i + 1) * m.width] for i in range(2)], -1))


SEQUENCES: dict[str, tuple[Forward, dict[str, Any], tuple[str, Any]]] = {
    "split by a list": (split, {"sizes": [16, 8], **PARTS}, ("sizes", [8, 4])),
    "split by a tuple": (split, {"sizes": (16, 8), **PARTS}, ("sizes", (8, 4))),
    "split by one number": (
        lambda m, x: m.o(torch.cat(m.a(x).split(m.n, -1)[::-1], -1)),
        {"n": 12},
        ("n", 6),
    ),
    "split by one number, twice": (
        lambda m, x: m.o(torch.cat(m.a(x).split([m.n, m.n], -1)[::-1], -1)),
        {"n": 12},
        ("n", 6),
    ),
    "unflatten": (lambda m, x: m.o(m.a(x).unflatten(-1, m.grid).flatten(-2)), {"grid": (4, 6)}, ("grid", (2, 3))),
    "reshape": (
        lambda m, x: m.o(m.a(x).reshape(*x.shape[:2], *m.grid).flatten(2)),
        {"grid": [4, 6]},
        ("grid", [2, 3]),
    ),
    "a whole shape": (lambda m, x: m.o(m.a(x).reshape(*m.whole)), {"whole": (-1, 5, 24)}, ("whole", (-1, 5, 12))),
    "slices in a loop": (looped, {"width": 12}, ("width", 6)),
    "max": (lambda m, x: m.o(m.a(x).view(2, 5, max(m.n, 1))), {"n": 24}, ("n", 12)),
}


@pytest.mark.parametrize("name", SEQUENCES)
def test_sequences_of_sizes_follow(law: Any, name: str) -> None:
    body, values, (attribute, after) = SEQUENCES[name]
    thinned = law(Net(body, **values), law.normal(2, 5, 10), seeds=4)
    assert getattr(thinned, attribute) == after
    assert type(getattr(thinned, attribute)) is type(after)
    assert len(thinned.a.weight) < 24


LITERALS: dict[str, tuple[Forward, dict[str, Any], str]] = {
    "view": (lambda m, x: m.o(m.a(x).view(2, 5, 24)), {}, "a size of this reshape is written as the number 24"),
    "merged": (
        lambda m, x: m.o(m.a(x).view(-1, 120).view(2, 5, 24)),
        {},
        "a size of this reshape is written as the number 120",
    ),
    "nested tuples": (
        lambda m, x: m.o(m.a(x).unflatten(-1, m.grid[0]).flatten(-2)),
        {"grid": ((4, 6), 2)},
        "written as the number",
    ),
    "a loop over channels": (
        lambda m, x: m.o(torch.stack([m.a(x)[..., i] for i in range(m.n)], -1)),
        {"n": 24},
        "is taken out of it, in getitem",
    ),
    "an integer of numpy": (lambda m, x: m.o(m.a(x).view(2, 5, m.n)), {"n": np.int64(24)}, "written as the number 24"),
    "a shape": (lambda m, x: m.o(m.a(x).view(m.n)), {"n": torch.Size((2, 5, 24))}, "written as the number 24"),
}


@pytest.mark.parametrize("name", LITERALS)
def test_numbers_of_no_known_origin_are_refused_with_their_place(law: Any, name: str) -> None:
    body, values, reason = LITERALS[name]
    law.refuses(Net(body, **values), law.normal(2, 5, 10), "a.weight", reason, "at the model itself", "size_ties.py:")


def test_the_place_names_the_module_and_the_line(law: Any) -> None:
    class Inner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(10, 8)

        def forward(self, x: Tensor) -> Tensor:
            return self.a(x).view(2, 5, 8)

    line = Inner.forward.__code__.co_firstlineno + 1
    model = nn.Sequential(Inner(), nn.Linear(8, 3))
    law.refuses(model, law.normal(2, 5, 10), "0.a.weight", f"in view at 0 (tests/engine/test_size_ties.py:{line})")
    found = next(str(r) for r in law.plan(model, law.normal(2, 5, 10)).refusals if r.parameter == "0.a.weight")
    assert "(take it from the tensor's shape or from an attribute of the module itself, or use -1)" in found


class Child(nn.Module):
    """Reads a size that its parent holds."""

    def __init__(self, parent: nn.Module) -> None:
        super().__init__()
        self.a = nn.Linear(10, 8)
        object.__setattr__(self, "parent", parent)

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x).view(*x.shape[:2], self.parent.dim)


def test_an_attribute_of_the_parent_follows(law: Any) -> None:
    model = nn.Sequential(nn.Identity(), nn.Linear(8, 3))
    model.dim = 8
    model[0] = Child(model)
    plan = law.plan(law.randomised(model), law.normal(2, 5, 10))
    assert plan.attributes["", "dim"] == (8, 4)
    secateur.thin(model, plan)
    assert model.dim == 4


def test_what_a_forward_writes_to_its_module_is_no_size_to_follow(law: Any) -> None:
    def body(m: Any, x: Tensor) -> Tensor:
        y = m.a(x)
        m.seen = y.shape[-1]
        return m.o(y.view(*x.shape[:2], m.seen))

    thinned = law(Net(body, seen=0), law.normal(2, 5, 10), {"a.weight": (12, 10)}, seeds=3)
    assert thinned.seen == 12


def test_a_name_made_of_a_size_is_refused_before_anything_changes(law: Any) -> None:
    """Text made of a number says nothing of where it came from; the rehearsal finds that it does not fit."""

    def body(m: Any, x: Tensor) -> Tensor:
        return m.o(m.stages[f"n{m.dim}"](m.a(x)).view(*x.shape[:2], m.dim))

    model = law.randomised(Net(body, dim=24, stages=nn.ModuleDict({"n24": nn.ReLU()})))
    plan = law.plan(model, law.normal(2, 5, 10))
    if not plan.cuts:
        return
    with pytest.raises(secateur.ThinError, match=r"the thin network would not run: .*KeyError: 'n12'; the model is as"):
        secateur.thin(model, plan)
    assert (model.dim, len(model.a.weight)) == (24, 24)


@dataclasses.dataclass
class Config:
    """What transformers hold."""

    heads: int = 4
    dim: int = 24


CONFIGS: dict[str, Callable[[], Any]] = {
    "a dataclass": Config,
    "a frozen dataclass": lambda: dataclasses.make_dataclass("F", [("heads", int), ("dim", int)], frozen=True)(4, 24),
    "a namespace": lambda: types.SimpleNamespace(heads=4, dim=24),
    "a dict": lambda: {"heads": 4, "dim": 24},
}


def entry(config: Any, name: str) -> int:
    found: int = config[name] if isinstance(config, dict) else getattr(config, name)
    return found


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("use", ["whole", "heads and the rest", "dim // heads"])
def test_numbers_within_configurations_are_never_wrong(law: Any, name: str, use: str) -> None:
    """They follow, or count as written in the source: then what they measure stays, and says so."""

    def body(m: Any, x: Tensor) -> Tensor:
        b, n, _ = x.shape
        heads, dim = entry(m.config, "heads"), entry(m.config, "dim")
        if use == "whole":
            return m.o(m.a(x).view(b, n, dim))
        width = -1 if use == "heads and the rest" else dim // heads
        return m.o(attend(m, (y.view(b, n, heads, width) for y in layers(m, x))).flatten(2))

    model, x = Net(body, config=CONFIGS[name]()), law.normal(2, 5, 10)
    thinned = law(model, x, seeds=4)
    after = (entry(thinned.config, "heads"), entry(thinned.config, "dim"))
    reasons = [str(r) for r in law.plan(model, x).refusals if (r.parameter, r.axis) == ("a.weight", 0)]
    if after == (4, 24) and use != "heads and the rest":
        assert len(thinned.a.weight) == 24
        assert "written as the number 24" in reasons[0] or "written as the number 4" in reasons[0]
    else:
        assert len(thinned.a.weight) < 24


@pytest.mark.parametrize("mix", ["sum", "slice"])
def test_sums_of_sizes_are_checked(law: Any, mix: str) -> None:
    def body(m: Any, x: Tensor) -> Tensor:
        y = torch.cat([m.a(x), m.b(x)], -1).view(*x.shape[:2], m.n + m.n)
        return m.r(y) if mix == "sum" else m.o(y[..., : m.n])

    model = Net(body, n=24, r=nn.Linear(48, 3))
    x = law.normal(2, 5, 10)
    law(model, x, seeds=5)
    found = [str(r) for r in law.plan(model, x).refusals if (r.parameter, r.axis) == ("a.weight", 0)]
    assert len(model.a.weight) == 24
    assert mix == "slice" or not found or "(n + n) would no longer fit" in found[0]


@pytest.mark.parametrize(
    "use",
    [
        lambda y, width: y + torch.ones(width, dtype=y.dtype),
        lambda y, width: y * width,
        lambda y, width: y * width**-0.5,
    ],
    ids=["length", "factor", "scale"],
)
def test_an_attribute_defined_by_arithmetic_binds_its_other_uses(law: Any, use: Any) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dim, self.heads = 24, 4
            self.qkv, self.out = nn.Linear(10, 72), nn.Linear(24, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            b, n, _ = x.shape
            q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, self.dim // self.heads).permute(2, 0, 3, 1, 4)
            y = ((q @ k.mT * 0.3).softmax(-1) @ v).transpose(1, 2).reshape(b, n, -1)
            return self.out(use(y, self.dim))

    assert not law.plan(Net().double(), (law.normal(2, 5, 10),)).cuts
