"""The coupling of a graph: label it, solve it, drop the units whose sizes could not follow, and name what is left."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from itertools import pairwise

import numpy as np
from attrs import define

from secateur.coupling.engine import Labelling, label
from secateur.coupling.exactness import Renormalised
from secateur.coupling.facts import Order
from secateur.coupling.labels import Atoms
from secateur.coupling.refusals import REQUEST, Refusal, reason_of, refusals_of
from secateur.coupling.sizes import probe, renormalise_scales
from secateur.coupling.solver import Solution, solve
from secateur.coupling.system import SizeSystem
from secateur.coupling.units import Membership, TensorAxes, TensorAxis, Units, dims_of, keep_something
from secateur.graph.ir import Graph
from secateur.graph.sizes import Attribute
from secateur.records import LayerAdapter, OpRule


@define(slots=False, frozen=True, eq=False)
class Coupling:
    """What can leave together in one model: its dims, its refusals, and the sizes that follow a choice."""

    labelling: Labelling
    sizes: SizeSystem
    solution: Solution
    axes: TensorAxes
    dims: tuple[Units, ...]
    """What may be pruned."""
    on_request: tuple[Units, ...] = ()
    """What renormalises, and may be pruned only if that was asked for."""

    @property
    def graph(self) -> Graph:
        """The graph this is the coupling of."""
        return self.labelling.graph

    @cached_property
    def refusals(self) -> tuple[Refusal, ...]:
        """What stays, and why."""
        return refusals_of(self.labelling, self.solution, self.axes, self.on_request)

    @cached_property
    def staying(self) -> Mapping[str, str]:
        """{parameter or module that nothing can leave along its first axis, or dim that is on request only: why}."""
        found: dict[str, str] = {}
        for refusal in self.refusals:
            if refusal.axis == 0 and refusal.indices == refusal.size:
                found[refusal.parameter] = refusal.reasons[0]
                found.setdefault(refusal.parameter.rpartition(".")[0], refusal.reasons[0])
        for dim in self.on_request:
            found.setdefault(dim.name, f"{reason_of(dim.renormalisations[0])} ({REQUEST})")
        return found

    def leaving(self, classes: Atoms) -> Leaving:
        """What leaves when the units of these base classes do."""
        return Leaving(self, classes)

    @cached_property
    def _reached(self) -> tuple[Atoms, Atoms]:
        return self.solution.reach(np.arange(self.solution.classes), np.arange(self.solution.classes))


class Leaving:
    """The consequences of letting some base classes leave: atoms, slices, attributes."""

    def __init__(self, coupling: Coupling, classes: Atoms) -> None:
        self.coupling = coupling
        self.classes = classes
        chosen = np.zeros(coupling.solution.classes, bool)
        chosen[classes] = True
        rows, bases = coupling._reached
        leaves = np.zeros(coupling.solution.classes, bool)
        leaves[rows[chosen[bases]]] = True
        self.atoms = leaves[coupling.solution.of]
        self._counts: dict[int, tuple[int, Atoms]] = {}

    def count(self, vector: Atoms) -> int:
        """How many atoms of a vector stay."""
        if id(vector) not in self._counts:
            self._counts[id(vector)] = len(vector) - int(self.atoms[vector].sum()), vector
        return self._counts[id(vector)][0]

    def cuts(self) -> dict[str, dict[int, Atoms]]:
        """{parameter or buffer: {axis: sorted leaving indices}}, only where something leaves."""
        axes = self.coupling.axes
        found: dict[str, dict[int, Atoms]] = {}
        gone = self.atoms[axes.atoms]
        indices = [gone[start:stop].nonzero()[0] for start, stop in pairwise(axes.starts.tolist())]
        for (name, axis), number in zip(axes.keys, axes.label.tolist(), strict=True):
            if len(indices[number]):
                found.setdefault(name, {})[axis] = indices[number]
        return found

    def emptied(self) -> list[TensorAxis]:
        """The axes of parameters and buffers of which nothing would stay."""
        axes = self.coupling.axes
        if not axes.keys:
            return []
        return axes.having(np.logical_and.reduceat(self.atoms[axes.atoms], axes.starts[:-1]))

    def disorder(self) -> Order | None:
        """The first of the facts that one vector stays longer than another which would not hold."""
        orders = self.coupling.labelling.facts.orders
        return next((order for order in orders if self.count(order.longer) <= self.count(order.shorter)), None)

    def taking(self, atoms: Atoms) -> Atoms:
        """The base classes that leave and take any of these atoms."""
        found = self.coupling.solution.reach(np.arange(len(atoms)), self.coupling.solution.of[atoms])[1]
        return np.intersect1d(found, self.classes)

    def attributes(self) -> dict[Attribute, tuple[int, int]]:
        """{attribute: (old, new)} for every integer that changes; raises `ValueError` if sizes contradict."""
        system = self.coupling.sizes
        if wrong := system.failing(self.count):
            fact = wrong[0]
            raise ValueError(f"{fact.expr} cannot follow this choice" + (f" at {fact.op.place}" if fact.op else ""))
        found = {}
        for attribute, fact in system.bound.items():
            old, new = len(fact.atoms), self.count(fact.atoms)
            if old != new:
                found[attribute] = (old, new)
        return found


def analyse(
    graph: Graph,
    rules: Mapping[str, OpRule],
    adapters: Mapping[str, LayerAdapter],
    renormalise: bool = False,
    states: bool = True,
) -> Coupling:
    """Find the dims of a graph. With `renormalise` those that change the scale of something may be pruned too; without
    `states` recurrent states that the model takes and returns stay as all its inputs and outputs."""
    labelling = label(graph, rules, adapters, states)
    axes = TensorAxes.of(labelling)
    while True:
        solution, sizes = solve(labelling.facts), SizeSystem(labelling)
        if probe(sizes, solution):
            continue
        membership = Membership.of(axes, solution)
        if not keep_something(labelling, solution, axes, membership):
            break
    renormalise_scales(sizes, solution)
    renormalised = Renormalised.of(labelling.facts, solution)
    dims = renormalised.noted(dims_of(labelling, axes, membership, renormalised.marks(solution.classes)))
    prunable = tuple(dim for dim in dims if renormalise or not dim.renormalisations)
    on_request = () if renormalise else tuple(dim for dim in dims if dim.renormalisations)
    return Coupling(labelling, sizes, solution, axes, prunable, on_request)


__all__ = ["Coupling", "Leaving", "TensorAxis", "Units", "analyse"]
