"""Einsum: any equation, by hand and at random."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from torch import Tensor, nn


class Two(nn.Module):
    """What two layers write, (batch, 6, 8), multiplied by einsum with parameters, and read."""

    def __init__(self, equation: str, *operands: str, parameters: dict[str, tuple[int, ...]] | None = None) -> None:
        super().__init__()
        self.a, self.b, self.read = nn.Linear(5, 8), nn.Linear(5, 8), nn.LazyLinear(4, dtype=torch.float64)
        for name, shape in (parameters or {}).items():
            self.register_parameter(name, nn.Parameter(torch.empty(*shape)))
        self.equation, self.operands = equation, operands

    def forward(self, x: Tensor) -> Tensor:
        made = {"a": self.a(x), "b": self.b(x), "sigmoid": self.a(x).sigmoid(), "cos": self.b(x).cos()}
        return self.read(torch.einsum(self.equation, *(made.get(n, getattr(self, n, None)) for n in self.operands)))


def two(law: Any, *arguments: Any, **options: Any) -> tuple[Two, Tensor]:
    model, x = Two(*arguments, **options), law.normal(3, 6, 5)
    model.double()(x)
    return model, x


WIDTHS: dict[str, tuple[str, tuple[str, ...], dict[str, tuple[int, ...]]]] = {
    "scores": ("bik,bjk->bij", ("a", "b"), {"a.weight": (4, 5), "b.weight": (4, 5)}),
    "spaces": (" b i k , b j k -> b i j ", ("a", "b"), {"a.weight": (4, 5), "b.weight": (4, 5)}),
    "capitals": ("BIk,BJk->BIJ", ("a", "b"), {"a.weight": (4, 5), "b.weight": (4, 5)}),
    "ellipsis": ("...ik,...jk->...ij", ("a", "b"), {"a.weight": (4, 5), "b.weight": (4, 5)}),
    "ellipsis in the middle": ("b...k,b...k->b...", ("a", "b"), {"a.weight": (4, 5), "b.weight": (4, 5)}),
    "ellipsis over the width": ("bi...,bj...->b...", ("a", "b"), {"a.weight": (4, 5), "read.weight": (4, 4)}),
    "ellipsis summed": ("b...,c...->bc", ("a", "b"), {"a.weight": (4, 5), "b.weight": (4, 5)}),
    "implicit": ("bik,bjk", ("a", "b"), {"a.weight": (4, 5), "b.weight": (4, 5)}),
    "implicit, capitals first": ("Zic,ZiJ", ("a", "b"), {"a.weight": (4, 5), "read.weight": (4, 4)}),
    "carried": ("bik,bil->bkl", ("a", "b"), {"b.weight": (4, 5), "read.weight": (4, 4)}),
    "elementwise": ("bik,bik->bik", ("a", "b"), {"a.weight": (4, 5), "b.weight": (4, 5), "read.weight": (4, 4)}),
    "one, turned": ("bik->ibk", ("a",), {"a.weight": (4, 5), "read.weight": (4, 4)}),
    "one, summed": ("bik->bi", ("a",), {"a.weight": (4, 5)}),
    "diagonal": ("bik,kk->bik", ("a", "w"), {"a.weight": (4, 5), "w": (4, 4), "read.weight": (4, 4)}),
    "diagonal summed": ("bik,kk->bi", ("a", "w"), {"a.weight": (4, 5), "w": (4, 4)}),
    "outer": ("bik,bjl->bijkl", ("a", "b"), {"b.weight": (4, 5), "read.weight": (4, 4)}),
    "three": ("bik,kl,bjl->bij", ("a", "w", "b"), {"a.weight": (4, 5), "b.weight": (4, 5), "w": (4, 4)}),
    "three of one letter": ("bik,bjk,k->bij", ("a", "b", "v"), {"a.weight": (4, 5), "b.weight": (4, 5), "v": (4,)}),
    "one zero is enough": ("bik,bjk->bij", ("sigmoid", "b"), {"a.weight": (4, 5), "b.weight": (4, 5)}),
    "a zero among three": ("bik,bjk,k->bij", ("sigmoid", "cos", "v"), {"a.weight": (4, 5), "v": (4,)}),
    "stretched": ("bik,ik->bik", ("a", "column"), {"a.weight": (4, 5), "read.weight": (4, 4)}),
}
SHAPES = {"w": (8, 8), "v": (8,), "column": (6, 1)}
"""Parameters that some equations use."""


@pytest.mark.parametrize("name", WIDTHS)
def test_letters_are_followed(law: Any, name: str) -> None:
    equation, operands, shapes = WIDTHS[name]
    used = {key: shape for key, shape in SHAPES.items() if key in operands}
    model, x = two(law, equation, *operands, parameters=used)
    law(model, x, shapes, seeds=2)


def test_subscripts_as_lists(law: Any) -> None:
    class Listed(Two):
        def forward(self, x: Tensor) -> Tensor:
            return self.read(torch.einsum(self.a(x), [..., 0, 30], self.b(x), [..., 1, 30], [..., 0, 1]))

    model, x = Listed(""), law.normal(3, 6, 5)
    model.double()(x)
    law(model, x, {"a.weight": (4, 5), "b.weight": (4, 5)})


def test_operands_in_a_list(law: Any) -> None:
    class Listed(Two):
        def forward(self, x: Tensor) -> Tensor:
            return self.read(torch.einsum("bik,bjk->bij", [self.a(x), self.b(x)]))

    model, x = Listed(""), law.normal(3, 6, 5)
    model.double()(x)
    law(model, x, {"a.weight": (4, 5), "b.weight": (4, 5)})


REFUSED = {
    "both not zero": ("bik,bjk->bij", ("sigmoid", "cos"), "b.weight"),
    "sum of one that is not zero": ("bik,bjl->bij", ("a", "cos"), "b.weight"),
    "sum over an ellipsis": ("b...,b...->b", ("sigmoid", "cos"), "a.weight"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_summed_letter_needs_a_zero(law: Any, name: str) -> None:
    equation, operands, parameter = REFUSED[name]
    model, x = two(law, equation if name != "sum over an ellipsis" else "b...,c...->bc", *operands)
    law.refuses(model, x, parameter, "a sum is taken over it in which nothing is zero on pruned slices, in einsum at")


def test_a_learned_operand_reads_along_summed_letters(law: Any) -> None:
    model, x = two(law, "bik,lk,l->bil", "a", "w", "v", parameters=SHAPES)
    law(model, x, {"a.weight": (4, 5), "w": (4, 4), "v": (4,), "read.weight": (4, 4)})
    readers = {name: dim.readers for dim in law.plan(model, x).dims for name in dim.slices}
    assert readers["a.weight", 0] == {("w", 1)}
    assert readers["w", 0] == {("read.weight", 1)}


def test_the_law_of_three_operands_in_training(law: Any) -> None:
    """A bilinear form by einsum."""
    model, x = two(law, "bik,okl,bil->bio", "a", "form", "b", parameters={"form": (7, 8, 8)})
    law(model, x, {"a.weight": (4, 5), "b.weight": (4, 5), "form": (4, 4, 4), "read.weight": (4, 4)})


# -- random equations ----------------------------------------------------------------------------------------------

LENGTHS = {"a": 4, "b": 3, "c": 2, "D": 5, "E": 3, "...": 2}


class Drawn(nn.Module):
    """Parameters, some of them not zero where they are cut, in a random equation; all of the result is weighed."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        draw = random.Random(seed)
        count = draw.choice((1, 2, 2, 2, 3, 3, 4))
        terms = [self.term(draw) for _ in range(count)]
        self.operands = nn.ParameterList([torch.empty([self.length(draw, n, t) for n in t]) for t in terms])
        self.bends = [draw.random() < 0.25 for _ in terms]
        self.activations = [draw.random() < 0.5 for _ in terms]
        space = draw.choice(("", " "))
        texts = [space.join("..." if n == "..." else n for n in t).replace("... ...", "...") for t in terms]
        texts = [t if t.count("...") < 2 else t.replace("...", "", 1) for t in texts]
        self.equation = f"{space},".join(texts)
        if draw.random() < 0.7:
            letters = sorted({n for t in terms for n in t})
            kept = draw.sample(letters, draw.randint(0, len(letters)))
            self.equation += f"{space}->{space}" + space.join(kept)
        with torch.no_grad():
            shape = torch.einsum(self.equation, *self.operands).shape
        self.weigh = nn.Parameter(torch.empty(shape)) if draw.random() < 0.5 else None

    @staticmethod
    def term(draw: random.Random) -> list[str]:
        """Up to three letters, perhaps one of them twice, and perhaps an ellipsis of one axis."""
        letters = [draw.choice("abcDE") for _ in range(draw.randint(1, 3))]
        if draw.random() < 0.3:
            letters.insert(draw.randint(0, len(letters)), "...")
        return letters

    @staticmethod
    def length(draw: random.Random, name: str, term: list[str]) -> int:
        """The axis is now and then of length 1, to be stretched, unless the letter is repeated."""
        return 1 if draw.random() < 0.1 and term.count(name) == 1 else LENGTHS[name]

    def forward(self, x: Tensor) -> Tensor:
        made = []
        for operand, bent, activation in zip(self.operands, self.bends, self.activations, strict=True):
            tensor = operand * x.sum() if activation else operand + 0
            made.append(tensor.cos() if bent else tensor)
        result = torch.einsum(self.equation, *made)
        return (result if self.weigh is None else result * self.weigh).sum()[None]


def test_random_equations_keep_the_law(law: Any) -> None:
    pruned = 0
    for seed in range(30):
        model, x = Drawn(seed).double(), law.normal(2)
        thinned = law(model, x, seeds=2)
        pruned += sum(p.numel() for p in thinned.parameters()) < sum(p.numel() for p in model.parameters())
    assert pruned > 15
