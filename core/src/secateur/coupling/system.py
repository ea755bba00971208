"""The size facts of a labelling as a system: what every expression is worth when some atoms leave.

An integer of a call equals the number of atoms of some vector that stay. A bare attribute is thereby solved; any other
expression is checked against the number it must equal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from attrs import define, field

from secateur.coupling.engine import Labelling
from secateur.coupling.facts import SizeFact
from secateur.coupling.labels import Atoms
from secateur.graph.sizes import COMPARISONS, OPERATIONS, Arithmetic, Attribute, AxisLength, Expr, evaluate, leaves

Count = Callable[[Atoms], Any]


@define(eq=False)
class SizeSystem:
    """The size facts of a labelling: evaluate them for any way to count what stays of a vector."""

    labelling: Labelling
    bound: dict[Attribute, SizeFact] = field(init=False)
    checked: list[SizeFact] = field(init=False)
    """The facts that could fail: all but those that say what an attribute is, or say so once more."""

    def __attrs_post_init__(self) -> None:
        self.bound, self.checked = {}, []
        for fact in self.labelling.facts.sizes:
            expr, atoms = fact.expr, fact.atoms
            defined = isinstance(expr, Attribute) and len(atoms) and self.bound.setdefault(expr, fact).atoms is atoms
            if not defined:
                self.checked.append(fact)

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

    def vectors(self, fact: SizeFact) -> list[Atoms]:
        """The vectors on whose lengths a fact depends, by identity, once each."""
        found = {id(fact.atoms): fact.atoms} if len(fact.atoms) else {}
        for leaf in leaves(fact.expr):
            if isinstance(leaf, AxisLength):
                atoms = self.labelling.labels[leaf.value][leaf.axis].atoms
            elif isinstance(leaf, Attribute) and leaf in self.bound:
                atoms = self.bound[leaf].atoms
            else:
                continue
            found[id(atoms)] = atoms
        return list(found.values())

    def failing(self, count: Count) -> list[SizeFact]:
        """The facts that do not hold when `count(vector)` atoms of each vector stay; what only scales may change."""
        facts = [fact for fact in self.checked if not fact.scales]
        return [fact for fact in facts if np.any(self.fails(fact, count))]

    def fails(self, fact: SizeFact, count: Count, least: Count | None = None) -> Any:
        """Whether (for arrays: where) a fact does not hold.

        `least` says that each unit leaves by itself while the answer must hold for several together, and how few may
        stay of a vector: then a division must also keep its remainder, and a comparison its outcome down to there.
        """
        due = count(fact.atoms) if len(fact.atoms) else fact.constant
        wrong = np.not_equal(self.value(fact.expr, count), due)
        if least is None:
            return wrong
        return wrong | self._uneven(fact.expr, count) | self._undecided(fact.expr, count, least)

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
