"""Sizes that must follow: which units would make a size come out wrong if they left.

Every size fact says: this integer equals the number of atoms of that vector that stay. A bare attribute is thereby
solved; any other expression is checked, for every unit at once, by asking what happens when that unit alone leaves.
Where it fails, the vectors it speaks of are tied, or else those units stay, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from attrs import frozen

from secateur.coupling.facts import Renormalisation, SizeFact
from secateur.coupling.labels import Atoms
from secateur.coupling.lengths import tie_lengths
from secateur.coupling.solver import Solution, unique
from secateur.coupling.system import Count, SizeSystem
from secateur.graph.sizes import Attribute

Array = np.ndarray[Any, Any]


def probe(system: SizeSystem, solution: Solution) -> bool:
    """Tie or fix the units whose leaving alone would make a size come out wrong; return whether there were any.

    A size that is the attribute of two vectors at once (`num_heads` used twice), or arithmetic that holds only if
    several vectors change together (`C // num_heads`), shows here.
    """
    wrong = _wrong(system, solution, scales=False)
    # Contradictions between attributes are settled first: what they fix may make the other sizes fit again.
    wrong = [entry for entry in wrong if isinstance(entry[0].expr, Attribute)] or wrong
    if sum([tie_lengths(system, fact) for fact, _ in wrong]):
        return True  # what was tied may make the other sizes fit again
    for fact, atoms in _atoms_of(wrong, system, solution):
        facts = system.labelling.facts
        facts.fix(atoms, _reason(fact), hint="use sizes that follow the tensor's shape", op=fact.op)
    return bool(wrong)


def renormalise_scales(system: SizeSystem, solution: Solution) -> None:
    """Record that units renormalise if their leaving changes a size that scales something."""
    for fact, atoms in _atoms_of(_wrong(system, solution, scales=True), system, solution):
        system.labelling.facts.renormalisations.append(Renormalisation(atoms, fact.use, fact.op, size=fact))


def _atoms_of(
    wrong: Sequence[tuple[SizeFact, Array]], system: SizeSystem, solution: Solution
) -> Iterator[tuple[SizeFact, Atoms]]:
    """The facts with an atom for each unit; one of the vectors they speak of stands best for a unit of it."""
    representative = np.zeros(solution.classes, np.int64)
    representative[solution.of] = np.arange(len(solution.of))
    for fact, units in wrong:
        nearest = representative.copy()
        for atoms in reversed(system.vectors(fact)):
            nearest[solution.of[atoms]] = atoms
        yield fact, nearest[units]


def _wrong(system: SizeSystem, solution: Solution, scales: bool) -> list[tuple[SizeFact, Array]]:
    """The facts that fail when one unit leaves, with the base classes of those units."""
    facts = [(fact, system.vectors(fact)) for fact in system.checked if fact.scales == scales]
    if not facts:
        return []
    changes = Changes.of([vector for _, vectors in facts for vector in vectors], solution)
    found = []
    with np.errstate(divide="ignore", invalid="ignore"):
        for fact, vectors in facts:
            units = changes.units(vectors)
            mask = system.fails(fact, changes.counter(units), changes.least)
            if len(units) and np.any(mask):
                found.append((fact, units[np.broadcast_to(mask, units.shape)]))
    return found


@frozen(eq=False)
class Changes:
    """How many atoms of each vector leave with each unit: a sparse table, one stretch of it for each vector."""

    solution: Solution
    position: dict[int, int]
    """Of each vector, by identity, in `starts`."""
    starts: Array
    bases: Array
    """Base classes, sorted within the stretch of each vector."""
    counts: Array

    @classmethod
    def of(cls, vectors: Sequence[Atoms], solution: Solution) -> Changes:
        """Find what each unit takes from each vector."""
        distinct = {id(vector): vector for vector in vectors}
        owner = np.repeat(np.arange(len(distinct)), [len(vector) for vector in distinct.values()])
        atoms = np.concatenate([np.empty(0, np.int64), *distinct.values()])
        rows, bases = solution.reach(np.arange(len(atoms)), solution.of[atoms])
        keys, counts = unique(owner[rows] * solution.classes + bases)
        starts = np.searchsorted(keys, np.arange(len(distinct) + 1) * solution.classes)
        position = {key: index for index, key in enumerate(distinct)}
        return cls(solution, position, starts, keys % max(solution.classes, 1), counts)

    def _stretch(self, vector: Atoms) -> slice:
        index = self.position[id(vector)]
        return slice(self.starts[index], self.starts[index + 1])

    def units(self, vectors: Sequence[Atoms]) -> Array:
        """The base classes that take anything from any of the vectors, sorted."""
        parts = [self.bases[self._stretch(vector)] for vector in vectors]
        if parts and all(np.array_equal(parts[0], part) for part in parts[1:]):
            return parts[0]
        return unique(np.concatenate([np.empty(0, np.int64), *parts]))[0]

    def counter(self, units: Array) -> Count:
        """The function that says how many atoms of a vector stay when each of these units leaves alone."""

        def count(vector: Atoms) -> Array:
            stretch = self._stretch(vector)
            stay = np.full(len(units), len(vector))
            stay[np.searchsorted(units, self.bases[stretch])] -= self.counts[stretch]
            return stay

        return count

    def least(self, vector: Atoms) -> int:
        """How few atoms of a vector can stay."""
        return max(1, int((self.solution.of[vector] == self.solution.fixed).sum()))


def _reason(fact: SizeFact) -> str:
    if fact.use:
        return fact.use
    if isinstance(fact.expr, Attribute):
        return f"the attribute {fact.expr} would have to take two values"
    return f"{fact.expr} would no longer fit"
