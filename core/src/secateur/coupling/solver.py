"""Solve the facts: which atoms are one, which are fixed, and which base units make each product leave.

1. Ties and fixes give connected components (classes); the class of atom 0 is fixed.
2. A pair (p, a, b) with a fixed side ties p to the other side; a fixed product fixes both sides; a product that is
   one class along a whole side fixes that side; two pairs of one class unify side by side. Each step adds ties, so
   1 and 2 are repeated until nothing changes.
3. A class that is the product of a pair is derived: it leaves if either side leaves. All other classes are base
   classes, and every class reaches the base classes it is made of.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from attrs import define
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from secateur.coupling.facts import Facts
from secateur.coupling.implications import Lines, consequences, flattened, unified
from secateur.coupling.labels import FIXED, Atoms

Array = np.ndarray[Any, Any]


@define(slots=False, frozen=True, eq=False)
class Solution:
    """The classes of all atoms, numbered by the least atom of each."""

    of: Atoms
    """Class of each atom, shape (atoms,)."""
    classes: int
    fixed: int
    """The class that stays."""
    children: Array
    """(product class, class it is made of), shape (n, 2), sorted by the first."""
    tied: Atoms
    """Class of each atom by ties alone, without what is fixed and what products imply, shape (atoms,)."""

    def reach(self, rows: Array, classes: Array) -> tuple[Array, Array]:
        """Expand (row, class) records to (row, base class), sorted, one record each, without the fixed class."""
        if len(self.children):
            starts, bases = self._bases
            counts = starts[classes + 1] - starts[classes]
            found = bases[np.repeat(starts[classes] - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())]
            rows = np.repeat(rows, counts)
        else:
            free = classes != self.fixed
            rows, found = (rows, classes) if free.all() else (rows[free], classes[free])
        ordered = rows[1:] > rows[:-1] if not len(self.children) else rows[1:] >= rows[:-1]
        if ordered.all() and (not len(self.children) or (found[1:] > found[:-1])[rows[1:] == rows[:-1]].all()):
            return rows, found
        keys = unique(rows * self.classes + found)[0]
        return keys // self.classes, keys % self.classes

    @cached_property
    def _bases(self) -> tuple[Array, Array]:
        """The base classes of every class, without the fixed one, end to end: where each class begins, and they."""
        counts = np.ones(self.classes, np.int64)
        counts[self.fixed] = 0
        products = unique(self.children[:, 0])[0]
        counts[products] = 0
        plain = np.flatnonzero(counts)
        rows, found = self._expand(products)
        counts += np.bincount(rows, minlength=self.classes)
        starts = np.concatenate([[0], np.cumsum(counts)])
        bases = np.empty(starts[-1], np.int64)
        bases[starts[plain]] = plain
        lengths = counts[products]
        bases[np.repeat(starts[products] - np.cumsum(lengths) + lengths, lengths) + np.arange(len(rows))] = found
        return starts, bases

    def _expand(self, products: Array) -> tuple[Array, Array]:
        """The (product, base class) records of some products, sorted."""
        derived = np.zeros(self.classes, bool)
        derived[self.children[:, 0]] = True
        starts = np.searchsorted(self.children[:, 0], np.arange(self.classes + 1))
        base: list[Array] = []
        seen = np.empty(0, np.int64)
        rows = classes = products
        while len(rows):
            keys, _ = unique(rows * self.classes + classes)
            keys = keys[~np.isin(keys, seen)] if len(seen) else keys
            rows, classes = keys // self.classes, keys % self.classes
            more = derived[classes]
            base.append(keys[~more])
            if not more.any():
                break
            seen = np.concatenate([seen, keys[more]])
            rows, classes = rows[more], classes[more]
            counts = starts[classes + 1] - starts[classes]
            offsets = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
            picked = np.repeat(starts[classes], counts) + offsets
            rows, classes = np.repeat(rows, counts), self.children[picked, 1]
        keys = unique(np.concatenate(base))[0] if base else np.empty(0, np.int64)
        rows, classes = keys // self.classes, keys % self.classes
        free = classes != self.fixed
        return rows[free], classes[free]


def unique(numbers: Array) -> tuple[Array, Array]:
    """The distinct numbers, sorted, and how often each occurs (`np.unique` is several times slower on these)."""
    ordered = np.sort(numbers)
    first = np.flatnonzero(np.concatenate([np.ones(min(len(ordered), 1), bool), ordered[1:] != ordered[:-1]]))
    return ordered[first], np.diff(first, append=len(ordered))


def components(count: int, edges: Sequence[tuple[Atoms, Atoms]]) -> tuple[int, Atoms]:
    """Connected components of `count` atoms under edges given as pairs of vectors, numbered by their least atom.

    Most vectors are stretches of consecutive atoms (an axis of a parameter), tied as a whole: those become one by
    vectors, and only what is left of the edges goes to the search over atoms.
    """
    least, rest = _stretches(count, edges)
    if rest:
        left = least[np.concatenate([edge[0] for edge in rest])]
        right = least[np.concatenate([edge[1] for edge in rest])]
        return _merged(least, left, right)
    return numbered(least)


def numbered(of: Atoms) -> tuple[int, Atoms]:
    """The same classes, numbered from 0 in the order of their old numbers."""
    used = np.zeros(int(of.max()) + 1 if len(of) else 0, bool)
    used[of] = True
    ranks = np.cumsum(used) - 1
    return int(used.sum()), ranks[of]


def _merged(of: Atoms, left: Array, right: Array) -> tuple[int, Atoms]:
    """The classes after those on the left and on the right have become one, pair by pair."""
    size = int(of.max()) + 1
    matrix = coo_array((np.ones(len(left), np.int8), (left, right)), shape=(size, size))
    _, labels = connected_components(matrix, directed=False)
    return numbered(labels.astype(np.int64)[of])


def _stretches(count: int, edges: Sequence[tuple[Atoms, Atoms]]) -> tuple[Atoms, list[tuple[Atoms, Atoms]]]:
    """For each atom the least one that ties of whole stretches make it the same as, and the ties that are left.

    Vectors are the nodes of a small graph: stretches that overlap no other one, and all other vectors, by identity.
    """
    line = np.arange(count, dtype=np.int64)
    vectors = {id(vector): vector for edge in edges for vector in edge}
    spans = {key: span for key, vector in vectors.items() if (span := _span(vector, line)) is not None}
    lonely = _apart(set(spans.values()))
    node = {key: spans[key] if spans.get(key) in lonely else key for key in vectors}
    parent: dict[Any, Any] = {key: key for key in node.values()}

    def root(key: Any) -> Any:
        while parent[key] != key:
            parent[key] = key = parent[parent[key]]
        return key

    for left, right in edges:
        parent[root(node[id(left)])] = root(node[id(right)])
    groups: dict[Any, list[Any]] = {}
    for key in dict.fromkeys(node.values()):
        groups.setdefault(root(key), []).append(key)
    least, rest = line.copy(), []
    for group in groups.values():
        stretches = sorted(key for key in group if isinstance(key, tuple))
        others = [vectors[key] for key in group if not isinstance(key, tuple)]
        first = line[slice(*stretches[0])] if stretches else others.pop()
        for start, stop in stretches[1:]:
            least[start:stop] = first
        rest += [(other, first) for other in others]
    return least, rest


def _span(vector: Atoms, line: Atoms) -> tuple[int, int] | None:
    """Where a vector begins and ends if it is a stretch of consecutive atoms."""
    if not len(vector):
        return None
    start, stop = int(vector[0]), int(vector[-1]) + 1
    return (start, stop) if stop - start == len(vector) and bool((vector == line[start:stop]).all()) else None


def _apart(spans: Iterable[tuple[int, int]]) -> set[tuple[int, int]]:
    """The spans that overlap no other one."""
    found: set[tuple[int, int]] = set()
    end, last = -1, None
    for span in sorted(spans):
        if span[0] >= end:
            found.add(span)
            last = span
        elif last is not None:
            found.discard(last)
            last = None
        end = max(end, span[1])
    return found


def solve(facts: Facts) -> Solution:
    """Solve the facts; see the module's docstring."""
    _, tied = components(facts.count, [(tie.left, tie.right) for tie in facts.ties])
    stays = np.zeros(int(tied.max()) + 1, bool)
    stays[tied[FIXED]] = True
    for fix in facts.fixes:
        stays[tied[fix.atoms]] = True
    count, of = numbered(np.where(stays[tied], tied[FIXED], tied))
    fixed = int(of[FIXED])
    if not facts.pairs:
        return Solution(of, count, fixed, np.empty((0, 2), np.int64), tied)
    product, outer, inner = flattened(facts.pairs)
    constant = [Lines.of(facts.pairs, by_rows) for by_rows in (True, False)]
    while True:
        fresh = consequences(of, fixed, product, outer, inner)
        fresh = fresh or [edge for lines in constant for edge in lines.consequences(of, fixed)]
        fresh = fresh or unified(of, fixed, product, outer, inner)
        if not fresh:
            break
        left, right = (of[np.concatenate([edge[side] for edge in fresh])] for side in (0, 1))
        count, of = _merged(of, left, right)
        fixed = int(of[FIXED])
    p, a, b = of[product], of[outer], of[inner]
    real = (p != a) & (p != b)  # a product that is one of its own sides is no product
    keys = unique(np.concatenate([p[real] * count + a[real], p[real] * count + b[real]]))[0]
    return Solution(of, count, fixed, np.stack([keys // count, keys % count], axis=1), tied)
