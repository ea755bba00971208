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

from secateur.coupling.facts import Facts, Renormalisation
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
        whole = {id(fact.op) for fact in facts.renormalisations if not fact.compensations}
        found = tuple(  # an operation is compensated in all that it reads, or counts only what stays
            evolve(fact, compensations=()) if id(fact.op) in whole else fact for fact in facts.renormalisations
        )
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


def is_exact(dim: Units) -> bool:
    """Whether the thin network equals the masked one when units of this dim leave, as it is or after compensation."""
    return all(fact.compensations for fact in dim.renormalisations)
