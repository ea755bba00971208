"""Merging two axes into one, splitting one into two, and reshaping as a sequence of both.

Merging a free axis with a fixed one repeats (or tiles) its atoms; merging two free axes makes new atoms for the product
and records the pair. Splitting is the inverse. A reshape is cut into the smallest groups of axes whose lengths
have equal products; within a group all axes are merged and split again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod

import numpy as np

from secateur.coupling.facts import Facts
from secateur.coupling.labels import Axis, fixed
from secateur.graph.ir import Op


def merge(facts: Facts, outer: Axis, inner: Axis, op: Op | None = None) -> Axis:
    """The axis that runs through `inner` for each index of `outer`."""
    m, n = len(outer), len(inner)
    if not outer.free:
        return Axis(np.tile(inner.atoms, m), inner.zero)
    if not inner.free:
        return Axis(np.repeat(outer.atoms, n), outer.zero)
    product = facts.fresh(m * n)
    facts.pair(product, outer.atoms, inner.atoms, op)
    return Axis(product, outer.zero and inner.zero)


def split(facts: Facts, axis: Axis, m: int, n: int, op: Op | None = None) -> tuple[Axis, Axis]:
    """The two axes of lengths m and n whose product is `axis`."""
    if not axis.free:
        return fixed(m), fixed(n)
    if n == 1:
        return axis, fixed(1)
    if m == 1:
        return fixed(1), axis
    table = axis.atoms.reshape(m, n)
    if (table == table[:, :1]).all():
        return Axis(table[:, 0].copy(), axis.zero), fixed(n)
    if (table == table[:1]).all():
        return fixed(m), Axis(table[0].copy(), axis.zero)
    outer, inner = facts.fresh(m), facts.fresh(n)
    facts.pair(axis.atoms, outer, inner, op)
    return Axis(outer, axis.zero), Axis(inner, axis.zero)


def groups(old: Sequence[int], new: Sequence[int]) -> Iterator[tuple[range, range]]:
    """Cut two shapes with one number of elements into the smallest ranges of equal product.

    >>> [(list(a), list(b)) for a, b in groups((2, 6, 5, 5), (2, 2, 3, 25))]
    [([0], [0]), ([1], [1, 2]), ([2, 3], [3])]
    """
    i = j = 0
    while i < len(old) or j < len(new):
        start_i, start_j = i, j
        left = right = 1
        if i < len(old):
            left, i = old[i], i + 1
        if j < len(new):
            right, j = new[j], j + 1
        while left != right:
            if left < right:
                left, i = left * old[i], i + 1
            else:
                right, j = right * new[j], j + 1
        yield range(start_i, i), range(start_j, j)


def reshape(facts: Facts, axes: Sequence[Axis], shape: Sequence[int], op: Op | None = None) -> list[Axis]:
    """The axes of a tensor viewed with another shape (of the same number of elements, in the same order)."""
    old = [len(axis) for axis in axes]
    if 0 in old:
        raise NotImplementedError("a tensor without elements cannot be followed through a reshape")
    made: list[Axis] = []
    for taken, given in groups(old, shape):
        if len(taken) == len(given) == 1:
            made.append(axes[taken[0]])
            continue
        merged = fixed(1)
        for index in taken:
            merged = merge(facts, merged, axes[index], op) if len(merged) > 1 else axes[index]
        if not taken:
            merged = fixed(1)
        lengths = [shape[index] for index in given]
        for position, length in enumerate(lengths):
            rest = prod(lengths[position + 1 :])
            head, merged = split(facts, merged, length, rest, op)
            made.append(head)
    return made
