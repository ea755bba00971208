"""Sizes that must follow: which attributes change, and which units would make a size come out wrong.

Every size fact says: this integer equals the number of atoms of that vector that stay. A bare attribute is thereby
solved; any other expression is checked, for every unit at once, by asking what happens when that unit alone leaves.
Units for which it fails stay, with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from secateur.coupling.engine import Labelling
from secateur.coupling.facts import SizeFact
from secateur.coupling.labels import Atoms
from secateur.coupling.lengths import tie_lengths
from secateur.coupling.solver import Solution
from secateur.coupling.system import SizeSystem
from secateur.graph.sizes import Attribute, AxisLength, leaves

Array = np.ndarray[Any, Any]


def probe(labelling: Labelling, solution: Solution) -> bool:
    """Tie or fix the units whose leaving alone would make a size come out wrong; return whether there were any.

    A size that is the attribute of two vectors at once (`num_heads` used twice), or arithmetic that holds only if
    several vectors change together (`C // num_heads`), shows here.
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
    if sum([tie_lengths(system, fact) for fact, _ in wrong]):
        return True  # what was tied may make the other sizes fit again
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
