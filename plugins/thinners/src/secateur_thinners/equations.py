"""Sums of products in Einstein's notation: what matrix products, einsum and bilinear forms are made of.

An equation such as `"bhik,bhjk->bhij"` names every axis of every factor. Axes of one name leave together. The result is
zero where any factor is, so a name that is summed needs one factor that is zero on pruned slices. An axis of
length 1 that is stretched over others of its name stays.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

from attrs import frozen

from secateur.coupling.binding import BindingError, bind
from secateur.coupling.labels import Axis, Labels
from secateur.coupling.site import Site
from secateur.graph.ir import Ref
from secateur.records import Contraction, OpRule
from secateur_thinners.pointwise import broadcast

if TYPE_CHECKING:
    from secateur.graph.ir import Graph, Op

NOT_ZERO = "a sum is taken over it in which nothing is zero on pruned slices"
STRETCHED = "it is stretched over other channels"
WRITTEN = "its result is written into another tensor"

Names = tuple[str, ...]


@frozen
class Equation:
    """The names of the axes of every factor and of the result; those of an ellipsis are numbered from the right."""

    factors: tuple[Names, ...]
    result: Names

    @classmethod
    def parse(cls, text: str, ranks: Sequence[int]) -> Equation:
        """Read an equation as `torch.einsum` does, for factors of these numbers of axes.

        Without an arrow the result has the axes of the ellipsis, then the letters that occur once, capitals first.

        >>> Equation.parse("...ij, ...jk", (3, 2)).result
        ('...-1', 'i', 'k')
        """
        left, arrow, right = text.replace(" ", "").partition("->")
        factors = tuple(_names(part, rank) for part, rank in zip(left.split(","), ranks, strict=True))
        hidden = max(sum(len(name) > 1 for name in names) for names in factors)
        if arrow:
            letters = len(right.replace("...", ""))
            return cls(factors, _names(right, letters + (hidden if "..." in right else 0)))
        counts = Counter(name for names in factors for name in names if len(name) == 1)
        once = sorted(name for name, count in counts.items() if count == 1)
        return cls(factors, (*_hidden(hidden), *once))

    def macs(self, shapes: Sequence[Sequence[int]]) -> int:
        """Multiply-accumulates for factors of these shapes, multiplied from left to right."""
        lengths: dict[str, int] = {}
        for names, shape in zip(self.factors, shapes, strict=True):
            for name, length in zip(names, shape, strict=True):
                lengths[name] = max(length, lengths.get(name, 0))
        total, left = 0, set(self.factors[0])
        for index, factor in enumerate(self.factors[1:], start=2):
            right = set(factor)
            later = {*self.result, *(name for names in self.factors[index:] for name in names)}
            total += prod(lengths[name] for name in left | right if name in later or name in left & right)
            left = (left | right) & later
        return total


def _names(part: str, rank: int) -> Names:
    before, dots, after = part.partition("...")
    return (*before, *_hidden(rank - len(before) - len(after) if dots else 0), *after)


def _hidden(count: int) -> Iterable[str]:
    return (f"...{place}" for place in range(-count, 0))


def sum_of_products(site: Site, equation: Equation, factors: Sequence[Labels]) -> list[Axis]:
    """The axes of the result of an equation, for factors that have the axes it names."""
    places: dict[str, list[tuple[Labels, Axis]]] = {}
    for names, factor in zip(equation.factors, factors, strict=True):
        for name, axis in zip(names, factor.axes, strict=True):
            places.setdefault(name, []).append((factor, axis))
    together = {name: _tied(site, found) for name, found in places.items()}
    for name, axis in together.items():
        if name not in equation.result and axis.free:
            if axis.zero:
                for reader in _readers(site, factors, places[name]):
                    site.contract(axis, reader)
            else:
                site.fix(axis, NOT_ZERO)
    return [together[name] for name in equation.result]


def _tied(site: Site, places: Sequence[tuple[Labels, Axis]]) -> Axis:
    """All axes of one name as one, zero where any is."""
    length = max(len(axis) for _, axis in places)
    full = [axis for _, axis in places if len(axis) == length]
    for _, axis in places:
        if len(axis) != length:
            site.fix(axis, STRETCHED)
    result = full[0]
    for axis in full[1:]:
        result = site.tie(result, axis)
    return Axis(result.atoms, any(axis.zero for axis in full))


def _readers(site: Site, factors: Sequence[Labels], places: Sequence[tuple[Labels, Axis]]) -> list[Axis]:
    """The summed axes of learned factors along which they read others.

    A learned factor reads what is not. Of learned factors alone one reads the rest: the last, if the data comes from
    the left (`x @ a @ b`), else the first (`a @ b @ x`).
    """
    length = max(len(axis) for _, axis in places)
    full = [(factor, axis) for factor, axis in places if len(axis) == length]
    learned = [axis for factor, axis in full if site.learned(factor)]
    if len(learned) < len(full):
        return learned
    if len(full) < 2:
        return []
    return learned[:1] if site.learned(factors[0]) else learned[-1:]


@frozen(kw_only=True)
class Product:
    """A family of operations that compute one equation of their arguments, and may add a tensor to the result.

    `factors`: the parameters of `signature` that are multiplied, in the order of the equation; `equation` makes it from
    their numbers of axes and the other arguments; `added`: the parameter that is added; `reads`: the axis along which a
    second factor of two axes reads the last axis of the first.
    """

    ops: str
    signature: str
    factors: tuple[str, ...]
    equation: Callable[[Sequence[int], Mapping[str, Any]], str]
    added: str = ""
    reads: int | None = None

    def apply(self, site: Site, arguments: Mapping[str, Any]) -> Sequence[Axis]:
        """The rule."""
        if arguments.get("out") is not None:
            raise NotImplementedError(WRITTEN)
        factors = self._multiplied(arguments, Labels)
        ranks = [len(factor) for factor in factors]
        axes = sum_of_products(site, Equation.parse(self.equation(ranks, arguments), ranks), factors)
        added = arguments[self.added] if self.added else None
        return axes if added is None else broadcast(site, [added, Labels("", tuple(axes))], all)

    def macs(self, op: Op, graph: Graph) -> int:
        """Products over all names, from left to right; a form of the call without a rule counts nothing."""
        try:
            arguments = bind(op, self.signature)
            shapes = [graph.values[factor.name].shape for factor in self._multiplied(arguments, Ref)]
            ranks = [len(shape) for shape in shapes]
            equation = Equation.parse(self.equation(ranks, arguments), ranks)
        except (BindingError, NotImplementedError):
            return 0
        return equation.macs(shapes)

    def _multiplied(self, arguments: Mapping[str, Any], kind: type[Any]) -> list[Any]:
        given = [arguments[name] for name in self.factors]
        entries = [entry for value in given for entry in (value if isinstance(value, tuple | list) else (value,))]
        if not all(isinstance(entry, kind) for entry in entries):
            raise NotImplementedError("a factor is not a tensor")
        return entries

    def rule(self) -> OpRule:
        """The record for core."""
        names = tuple(self.ops.split())
        parameters = [part.partition("=")[0].strip("* ").partition("|")[0] for part in self.signature.split(", ")]

        def apply(site: Site) -> Sequence[Axis]:
            return self.apply(site, {name: site[name] for name in parameters})

        return OpRule(
            name=names[0],
            ops=names,
            signature=self.signature,
            apply=apply,
            macs=self.macs,
            contracts=self._contraction(),
        )

    def _contraction(self) -> Contraction | None:
        """What core may know of a product of two parameters."""
        if len(self.factors) != 2:
            return None
        return Contraction(factors=(self.factors[0], self.factors[1]), added=self.added, reads=self.reads)


def constant(text: str) -> Callable[[Sequence[int], Mapping[str, Any]], str]:
    """An equation that is the same for all arguments."""
    return lambda ranks, arguments: text


__all__ = ["Equation", "Product", "constant", "sum_of_products"]
