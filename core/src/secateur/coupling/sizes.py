"""Sizes that must follow: which attributes change, and which units would make a size come out wrong.

Every size fact says: this integer equals the number of atoms of that vector that stay. A bare attribute is thereby
solved; any other expression is checked, for every unit at once, by asking what happens when that unit alone leaves.
Units for which it fails stay, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from attrs import define, field

from secateur.coupling.engine import Labelling
from secateur.coupling.facts import SizeFact
from secateur.coupling.labels import Atoms
from secateur.coupling.solver import Solution
from secateur.graph.sizes import COMPARISONS, OPERATIONS, Arithmetic, Attribute, AxisLength, Expr, evaluate, leaves

Array = np.ndarray[Any, Any]
Count = Callable[[Atoms], Any]


@define(eq=False)
class SizeSystem:
    """The size facts of a labelling: evaluate them for any way to count what stays of a vector."""

    labelling: Labelling
    bound: dict[Attribute, SizeFact] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.bound = {}
        for fact in self.labelling.facts.sizes:
            if isinstance(fact.expr, Attribute) and len(fact.atoms):
                self.bound.setdefault(fact.expr, fact)

    def value(self, expr: Expr, count: Count) -> Any:
        """The value of an expression when `count(vector)` atoms of each vector stay."""

        def length(value: str, axis: int) -> Any:
            labels = self.labelling.labels[value]
            return count(labels[axis].atoms)

        return evaluate(expr, length, lambda attribute: self.attribute(attribute, count))

    def attribute(self, attribute: Attribute, count: Count) -> Any:
        """The value of an attribute: what it is bound to, or what it was."""
        if attribute in self.bound:
            return count(self.bound[attribute].atoms)
        held = self.labelling.graph.attributes[attribute.module, attribute.name]
        return held if attribute.index is None else held[attribute.index]

    def failing(self, count: Count, least: Count | None = None) -> list[tuple[SizeFact, Any]]:
        """The facts that do not hold, with a mask of where (a bool, or one per unit).

        `least` says that each unit leaves by itself while the answer must hold for several together, and how few may
        stay of a vector: then a division must also keep its remainder, and a comparison its outcome down to there.
        """
        found = []
        for fact in self.labelling.facts.sizes:
            due = count(fact.atoms) if len(fact.atoms) else fact.constant
            wrong = np.not_equal(self.value(fact.expr, count), due)
            if least is not None:
                wrong = wrong | self._uneven(fact.expr, count) | self._undecided(fact.expr, count, least)
            if np.any(wrong):
                found.append((fact, wrong))
        return found

    def _uneven(self, expr: Expr, count: Count) -> Any:
        """Where a division within an expression leaves another remainder than in the dense network."""
        if not isinstance(expr, Arithmetic):
            return False
        wrong = self._uneven(expr.left, count) | self._uneven(expr.right, count)
        if expr.operation in ("//", "%"):
            rest = Arithmetic("%", expr.left, expr.right)
            wrong = wrong | np.not_equal(self.value(rest, count), self.value(rest, len))
        return wrong

    def _undecided(self, expr: Expr, count: Count, least: Count) -> Any:
        """Where a side of a comparison changes whose outcome depends on how many leave."""
        if not isinstance(expr, Arithmetic) or expr.operation not in COMPARISONS:
            return False
        sides = (expr.left, expr.right)
        left, right = ((self.value(side, len), self.value(side, least)) for side in sides)
        if expr.operation in ("==", "!=") and left[0] == right[0]:
            return False  # what is equal for each unit alone is equal for several
        if len({bool(OPERATIONS[expr.operation](a, b)) for a in left for b in right}) == 1:
            return False
        changed = [np.not_equal(self.value(side, count), self.value(side, len)) for side in sides]
        return changed[0] | changed[1]


def probe(labelling: Labelling, solution: Solution) -> bool:
    """Fix the units whose leaving alone would make a size come out wrong; return whether any was fixed.

    A size that is the attribute of two vectors at once (`num_heads` used twice), or arithmetic that cannot hold
    (`C // 2` where only one half is pruned), shows here.
    """
    sizes = labelling.facts.sizes
    if not sizes:
        return False
    system = SizeSystem(labelling)
    vectors = _vectors(labelling, system)
    keys = list(vectors)
    lengths = np.array([len(vectors[key]) for key in keys])
    owner = np.repeat(np.arange(len(keys)), lengths)
    atoms = np.concatenate([vectors[key] for key in keys])
    rows, bases = solution.reach(np.arange(len(atoms)), solution.of[atoms])
    if not len(rows):
        return False
    units, unit_of = np.unique(bases, return_inverse=True)
    position = {key: index for index, key in enumerate(keys)}
    order = np.argsort(owner[rows], kind="stable")
    sorted_units, bounds = unit_of[order], np.searchsorted(owner[rows][order], np.arange(len(keys) + 1))
    cached: dict[int, Array] = {}

    def count(vector: Atoms) -> Array:
        index = position[id(vector)]
        if index not in cached:
            leaving = np.bincount(sorted_units[bounds[index] : bounds[index + 1]], minlength=len(units))
            cached[index] = lengths[index] - leaving
        return cached[index]

    def least(vector: Atoms) -> int:
        return max(1, int((solution.of[vector] == solution.fixed).sum()))

    with np.errstate(divide="ignore", invalid="ignore"):
        wrong = system.failing(count, least)
    # Contradictions between attributes are settled first: what they fix may make the other sizes fit again.
    wrong = [entry for entry in wrong if isinstance(entry[0].expr, Attribute)] or wrong
    representative = np.zeros(solution.classes, np.int64)
    representative[solution.of] = np.arange(len(solution.of))
    for fact, mask in wrong:
        nearest = representative.copy()  # an atom of the vector itself stands best for a unit of it
        for atoms in (system.bound[fact.expr].atoms if fact.expr in system.bound else fact.atoms, fact.atoms):
            nearest[solution.of[atoms]] = atoms
        found: Atoms = nearest[units[np.broadcast_to(mask, units.shape)]]
        labelling.facts.fix(found, _reason(fact), hint="use sizes that follow the tensor's shape", op=fact.op)
    return bool(wrong)


def _reason(fact: SizeFact) -> str:
    if fact.use:
        return fact.use
    if isinstance(fact.expr, Attribute):
        return f"the attribute {fact.expr} would have to take two values"
    return f"{fact.expr} would no longer fit"


def _vectors(labelling: Labelling, system: SizeSystem) -> Mapping[int, Atoms]:
    """Every vector that a size fact counts, by identity."""
    found: dict[int, Atoms] = {}
    for fact in labelling.facts.sizes:
        if len(fact.atoms):
            found[id(fact.atoms)] = fact.atoms
        for leaf in leaves(fact.expr):
            if isinstance(leaf, AxisLength):
                atoms = labelling.labels[leaf.value][leaf.axis].atoms
                found[id(atoms)] = atoms
    return found
