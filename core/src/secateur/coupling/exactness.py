"""Exactness: which units change the scale of something when they leave.

An operation that reads the size of an axis (a mean, a layer norm, an attention scale derived from a width) computes
otherwise when that axis becomes shorter. Units that reach such an axis leave on request only. Where every change can be
compensated by rescaling a parameter or an attribute, the thin network equals the masked one all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from attrs import evolve, frozen

from secateur.coupling.facts import Compensation, Facts, Renormalisation
from secateur.coupling.solver import Solution
from secateur.coupling.units import Units

Array = np.ndarray[Any, Any]

EXACT, COMPENSATED, RENORMALISES = 0, 1, 2


@frozen(eq=False)
class Renormalised:
    """The renormalisations of a solution, and the base classes that each of them depends on."""

    facts: tuple[Renormalisation, ...]
    rows: Array
    """Which fact, shape (records,), …"""
    bases: Array
    """… depends on which base class, shape (records,)."""

    @classmethod
    def of(cls, facts: Facts, solution: Solution) -> Renormalised:
        """Find what each renormalisation depends on."""
        found = tuple(_consistent(facts.renormalisations))
        facts.renormalisations[:] = found
        empty = np.empty(0, np.int64)
        rows = np.concatenate([empty, *(np.full(len(fact.atoms), i) for i, fact in enumerate(found))])
        atoms = np.concatenate([empty, *(fact.atoms for fact in found)])
        return cls(found, *solution.reach(rows, solution.of[atoms]))

    def marks(self, classes: int) -> Array:
        """`EXACT`, `COMPENSATED` or `RENORMALISES` for each class, shape (classes,)."""
        marks = np.full(classes, EXACT)
        kind = np.array([COMPENSATED if fact.compensations else RENORMALISES for fact in self.facts], np.int64)
        np.maximum.at(marks, self.bases, kind[self.rows])
        return marks

    def noted(self, dims: Sequence[Units]) -> list[Units]:
        """The dims, each with the renormalisations that its units take part in."""
        if not self.facts:
            return list(dims)
        made = []
        for dim in dims:
            touched = np.unique(self.rows[np.isin(self.bases, dim.classes)])
            made.append(evolve(dim, renormalisations=tuple(self.facts[i] for i in touched)) if len(touched) else dim)
        return made


def _consistent(facts: Sequence[Renormalisation]) -> list[Renormalisation]:
    """The facts, without compensations where an operation could not be compensated in all that it reads.

    Such an operation counts only what stays, so nothing that it reads may be rescaled for the sake of another either.
    """
    found = list(facts)
    while True:
        whole = {id(fact.op) for fact in found if not fact.compensations}
        barred = {_target(c) for old in facts if id(old.op) in whole for c in old.compensations}
        dropped = [
            index
            for index, fact in enumerate(found)
            if fact.compensations and (id(fact.op) in whole or any(_target(c) in barred for c in fact.compensations))
        ]
        if not dropped:
            return found
        for index in dropped:
            found[index] = evolve(found[index], compensations=())


def _target(compensation: Compensation) -> object:
    return compensation.attribute or compensation.value


def is_exact(dim: Units) -> bool:
    """Whether the thin network equals the masked one when units of this dim leave, as it is or after compensation."""
    return all(fact.compensations for fact in dim.renormalisations)
