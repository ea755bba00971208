"""What pairs imply: the ties between products and their sides that do not hold yet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from attrs import frozen

from secateur.coupling.facts import Pair
from secateur.coupling.labels import Atoms

Array = np.ndarray[Any, Any]


def flattened(pairs: Sequence[Pair]) -> tuple[Atoms, Atoms, Atoms]:
    """All pairs as three vectors: the products, and for each of them its outer and its inner side."""
    empty = np.empty(0, np.int64)
    product = [pair.product for pair in pairs]
    outer = [np.repeat(pair.outer, len(pair.inner)) for pair in pairs]
    inner = [np.tile(pair.inner, len(pair.outer)) for pair in pairs]
    return (
        np.concatenate([empty, *product]),
        np.concatenate([empty, *outer]),
        np.concatenate([empty, *inner]),
    )


def consequences(of: Atoms, fixed: int, product: Atoms, outer: Atoms, inner: Atoms) -> list[tuple[Atoms, Atoms]]:
    """The ties that the pairs imply and that do not hold yet."""
    found: list[tuple[Atoms, Atoms]] = []

    def tie(where: Array, left: Atoms, right: Atoms) -> None:
        where = where & (of[left] != of[right])
        if where.any():
            found.append((left[where], right[where]))

    p, a, b = of[product], of[outer], of[inner]
    zero = np.zeros_like(product)
    tie(a == fixed, product, inner)
    tie(b == fixed, product, outer)
    tie(p == fixed, outer, zero)
    tie(p == fixed, inner, zero)
    return found  # what is fixed comes first: a pair with a fixed side is no product, and must not unify with others


@frozen(eq=False)
class Lines:
    """The rows (or columns) of all pairs, laid end to end: a product that is one class along each of them."""

    atoms: Atoms
    """Of the products, line after line."""
    starts: Array
    """Of the lines, in `atoms`."""
    firsts: Array
    """Of the pairs, in `starts`."""
    sides: tuple[Atoms, ...]
    """For each pair, the side that runs along the lines."""

    @classmethod
    def of(cls, pairs: Sequence[Pair], by_rows: bool) -> Lines:
        """Lay out the rows, or the columns, of some pairs."""
        shapes = [(len(pair.outer), len(pair.inner)) for pair in pairs]
        tables = [pair.product.reshape(shape) for pair, shape in zip(pairs, shapes, strict=True)]
        lines = [table if by_rows else table.T for table in tables]
        counts = np.array([0, *(len(line) for line in lines)])
        lengths = np.concatenate([[0], *(np.full(len(line), line.shape[1]) for line in lines)])
        atoms = np.concatenate([np.empty(0, np.int64), *(line.reshape(-1) for line in lines)])
        sides = tuple(pair.inner if by_rows else pair.outer for pair in pairs)
        return cls(atoms, np.cumsum(lengths)[:-1], np.cumsum(counts)[:-1], sides)

    def consequences(self, of: Atoms, fixed: int) -> list[tuple[Atoms, Atoms]]:
        """A side along which every product is one class cannot make any of them leave by itself: it is fixed.

        That a product is the same for all of one side, and another for each of the other, says that only the other
        counts. If all products are one class nothing is said.
        """
        if not self.sides:
            return []
        classes = of[self.atoms]
        low, high = np.minimum.reduceat(classes, self.starts), np.maximum.reduceat(classes, self.starts)
        flat = np.logical_and.reduceat(low == high, self.firsts)
        several = np.minimum.reduceat(low, self.firsts) != np.maximum.reduceat(low, self.firsts)
        sides = [self.sides[index] for index in np.flatnonzero(flat & several)]
        return [(side, np.zeros_like(side)) for side in sides if (of[side] != fixed).any()]


def unified(of: Atoms, fixed: int, product: Atoms, outer: Atoms, inner: Atoms) -> list[tuple[Atoms, Atoms]]:
    """The ties between pairs whose products are of one class, side by side."""
    found: list[tuple[Atoms, Atoms]] = []
    p, a, b = of[product], of[outer], of[inner]
    live = (a != fixed) & (b != fixed)
    where = ((p == a) | (p == b)) & live & (a != b)
    if where.any():
        found.append((outer[where], inner[where]))
    if live.any():  # neighbours of one class, after sorting, unify side by side
        order = np.flatnonzero(live)
        order = order[np.lexsort((b[order], a[order], p[order]))]
        before, after = order[:-1], order[1:]
        same = p[before] == p[after]
        same &= ~((a[before] == b[after]) & (b[before] == a[after]))
        for side in (outer, inner):
            left, right = side[before], side[after]
            where = same & (of[left] != of[right])
            if where.any():
                found.append((left[where], right[where]))
    return found
