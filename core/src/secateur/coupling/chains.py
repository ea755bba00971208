"""Chains: which operations, one after another, lead from an axis of a parameter to what leaves, or stays, with it.

A chain is found for one unit: from the axis that starts it, breadth first over (value, axis, atom), where one
operation leads from an axis to every axis that carries the same atom or one tied to it there. Nothing is computed
before it is asked for, and only the atoms of that one unit are looked at.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
from attrs import define, field, frozen
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order

from secateur.coupling.analysis import Coupling
from secateur.coupling.engine import Labelling
from secateur.coupling.facts import Fix, Pair, Renormalisation, Tie
from secateur.coupling.labels import Atoms
from secateur.coupling.refusals import REQUEST
from secateur.coupling.solver import components
from secateur.coupling.units import TensorAxis, Units
from secateur.graph.ir import Op

State = tuple[str, int, int]
"""A value, one of its axes, and an atom that lies there."""

Array = np.ndarray[Any, Any]


@frozen
class Step:
    """One operation of a chain. `upstream`: it was entered at its output, against the flow of data.

    `carries`: it takes one tensor and passes the axis on as it is (an activation, a pooling): of no interest by itself.
    """

    op: Op
    upstream: bool
    carries: bool


@frozen
class Chain:
    """The operations between an axis of a parameter and where they lead.

    `end` is an axis of a parameter or buffer that leaves together with `start`; for a chain that says why `start`
    stays it is None, and `reason` says what the last operation does to it.
    """

    start: TensorAxis
    steps: tuple[Step, ...]
    end: TensorAxis | None = None
    reason: str = ""


@define(slots=False, frozen=True, eq=False)
class Chains:
    """The chains of one coupling, found when they are asked for."""

    coupling: Coupling

    def of_dim(self, name: str) -> tuple[Chain, ...]:
        """One chain to every axis that a unit of the dim consists of, from the axis that first writes it.

        They are those of the first unit; all units of a dim have the same footprint. An unknown name is a `KeyError`.
        """
        dim = self._dims[name]
        start = first_axis(dim)
        walk = _Walk(self.coupling.labelling, self._index, self._unit(dim), start)
        nearest = {state[:2]: state for state in reversed(walk.tree)}
        return tuple(
            Chain(start, walk.steps(nearest[place]) if place in nearest else (), place) for place in dim.slices
        )

    def of_renormalisations(self, name: str) -> tuple[Chain, ...]:
        """One chain to every operation that reads a size which the units of the dim change, the shortest first."""
        dim = self._dims[name]
        found = self._to_ends(first_axis(dim), self._unit(dim), dim.renormalisations) if dim.renormalisations else []
        return tuple(sorted(found, key=lambda chain: len(chain.steps)))

    def of_refusal(self, parameter: str, axis: int) -> tuple[Chain, ...]:
        """One chain to every reason for which an axis of a parameter stays, the shortest first."""
        coupling, start = self.coupling, (parameter, axis)
        atoms = coupling.labelling.labels[parameter][axis].atoms
        stays = atoms[coupling.solution.of[atoms] == coupling.solution.fixed]
        facts = coupling.labelling.facts
        _, part = self._parts
        loud = [fix for fix in facts.fixes if not fix.silent]
        left, found = loud, list[Chain]()
        for group in dict.fromkeys(part[stays].tolist()):
            here = [fix for fix in left if (part[fix.atoms] == group).any()]
            if here:
                left = [fix for fix in left if fix not in here]
                found += self._to_ends(start, part == group, here)
        if not found and len(stays):
            found = self._to_ends(start, self._way(stays, facts.fixes), facts.fixes)
        for dim in coupling.on_request:
            if start in dim.slices:
                found += self._to_ends(start, self._unit(dim), dim.renormalisations, REQUEST)
        return tuple(sorted(found, key=lambda chain: len(chain.steps)))

    @cached_property
    def _dims(self) -> Mapping[str, Units]:
        return {dim.name: dim for dim in (*self.coupling.dims, *self.coupling.on_request)}

    @cached_property
    def _index(self) -> _Index:
        return _Index(self.coupling.labelling)

    @cached_property
    def _parts(self) -> tuple[int, Atoms]:
        """The components of all atoms as the ties alone make them."""
        facts = self.coupling.labelling.facts
        return components(facts.count, [(tie.left, tie.right) for tie in facts.ties])

    def _unit(self, dim: Units) -> Array:
        """The atoms that leave with the first unit of a dim, shape (atoms,)."""
        return self.coupling.leaving(dim.classes[:1]).atoms

    def _to_ends(
        self, start: TensorAxis, mine: Array, ends: Iterable[Fix | Renormalisation], hint: str = ""
    ) -> list[Chain]:
        """Chains from an axis to each of the facts that end one, one per operation and reason."""
        walk = _Walk(self.coupling.labelling, self._index, mine, start)
        wanted: dict[Op | None, list[tuple[str, frozenset[int]]]] = {}
        for end in ends:
            wanted.setdefault(end.op, []).append((_said(end, hint), frozenset(end.atoms[mine[end.atoms]].tolist())))
        found: dict[tuple[str, str], Chain] = {}
        for state in walk.tree:
            for op in (None, *self._index.around(state[0])):
                if op not in wanted:
                    continue
                reached = walk.reached(op, state[2]) if op else {state[2]}
                for reason, atoms in wanted[op]:
                    key = (f"{op.kind} at {op.place}" if op else "", reason)
                    if key in found or not atoms & reached:
                        continue
                    steps = walk.steps(state)
                    if op and (not steps or steps[-1].op is not op):
                        steps = (*steps, self._index.step(op, state))
                    found[key] = Chain(start, steps, None, reason)
        return list(found.values())

    def _way(self, stays: Atoms, fixes: Iterable[Fix]) -> Array:
        """The atoms on a shortest way, over ties and products, from those of an axis to one that is fixed."""
        facts, solution = self.coupling.labelling.facts, self.coupling.solution
        edges = [(tie.left, tie.right) for tie in facts.ties]
        for pair in facts.pairs:
            edges += [(pair.product, outer_of(pair)), (pair.product, inner_of(pair))]
        left, right = (np.concatenate([np.empty(0, np.int64), *(edge[side] for edge in edges)]) for side in (0, 1))
        both = (solution.of[left] == solution.fixed) & (solution.of[right] == solution.fixed)
        left, right = left[both], right[both]
        matrix = coo_array((np.ones(len(left), np.int8), (left, right)), shape=(facts.count, facts.count)).tocsr()
        order, before = breadth_first_order(matrix, int(stays[0]), directed=False)
        target = np.zeros(facts.count, bool)
        for fix in fixes:
            target[fix.atoms] = True
        way = np.zeros(facts.count, bool)
        reached = order[target[order]]
        atom = int(reached[0]) if len(reached) else int(stays[0])
        while atom >= 0:
            way[atom] = True
            atom = int(before[atom])
        return way


def first_axis(dim: Units) -> TensorAxis:
    """The axis that first writes what the units of a dim are (of a dim that is only read, the first that reads it)."""
    return next((place for place in dim.slices if place not in dim.readers), next(iter(dim.slices)))


def outer_of(pair: Pair) -> Atoms:
    """The outer side of every entry of a product."""
    return np.repeat(pair.outer, len(pair.inner))


def inner_of(pair: Pair) -> Atoms:
    """The inner side of every entry of a product."""
    return np.tile(pair.inner, len(pair.outer))


def _said(end: Fix | Renormalisation, hint: str) -> str:
    hint = hint or (end.hint if isinstance(end, Fix) else "")
    return f"{end.reason} ({hint})" if hint else end.reason


class _Index:
    """What each operation recorded, and which operations touch each value."""

    def __init__(self, labelling: Labelling) -> None:
        self.graph = labelling.graph
        self.ties: dict[Op | None, list[Tie]] = {}
        self.pairs: dict[Op | None, list[Pair]] = {}
        for tie in labelling.facts.ties:
            self.ties.setdefault(tie.op, []).append(tie)
        for pair in labelling.facts.pairs:
            self.pairs.setdefault(pair.op, []).append(pair)

    def around(self, value: str) -> Iterator[Op]:
        """The operations that read a value, then the one that made it."""
        yield from self.graph.consumers.get(value, ())
        if value in self.graph.producer:
            yield self.graph.producer[value]

    def step(self, op: Op, state: State) -> Step:
        """The step through an operation that is entered at a state."""
        plain = len(op.inputs) == 1 and op not in self.ties and op not in self.pairs
        return Step(op, upstream=state[0] in op.outputs, carries=plain)


@define(eq=False)
class _Walk:
    """A breadth-first walk from one axis over the atoms in `mine`, shape (atoms,)."""

    labelling: Labelling
    index: _Index
    mine: Array
    start: TensorAxis
    tree: dict[State, tuple[State, Op] | None] = field(init=False)
    """Every state that was met, in order, with the one before it and the operation between."""
    _there: dict[str, list[tuple[int, frozenset[int]]]] = field(factory=dict)
    _links: dict[Op, Mapping[int, set[int]]] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        name, axis = self.start
        atoms = next((found for place, found in self.there(name) if place == axis), frozenset())
        self.tree = {(name, axis, atom): None for atom in sorted(atoms)}
        pending = deque(self.tree)
        while pending:
            state = pending.popleft()
            for following, op in self._following(state):
                if following not in self.tree:
                    self.tree[following] = (state, op)
                    pending.append(following)

    def _following(self, state: State) -> Iterator[tuple[State, Op]]:
        for op in self.index.around(state[0]):
            reached = self.reached(op, state[2])
            for name in dict.fromkeys((*op.outputs, *op.inputs)):
                for axis, atoms in self.there(name):
                    for atom in atoms & reached:
                        yield (name, axis, atom), op

    def there(self, value: str) -> list[tuple[int, frozenset[int]]]:
        """The axes of a value on which atoms of the walk lie, with these atoms."""
        if value not in self._there:
            axes = enumerate(self.labelling.labels[value].axes)
            found = ((axis, frozenset(labels.atoms[self.mine[labels.atoms]].tolist())) for axis, labels in axes)
            self._there[value] = [(axis, atoms) for axis, atoms in found if atoms]
        return self._there[value]

    def reached(self, op: Op, atom: int) -> set[int]:
        """The atoms that an operation makes leave together with one."""
        links = self._linked(op)
        found, pending = {atom}, [atom]
        while pending:
            fresh = links.get(pending.pop(), set()) - found
            found |= fresh
            pending += fresh
        return found

    def _linked(self, op: Op) -> Mapping[int, set[int]]:
        if op not in self._links:
            links: dict[int, set[int]] = {}
            edges = [(tie.left, tie.right) for tie in self.index.ties.get(op, ())]
            for pair in self.index.pairs.get(op, ()):
                edges += [(pair.product, outer_of(pair)), (pair.product, inner_of(pair))]
            for left, right in edges:
                both = self.mine[left] & self.mine[right]
                for a, b in zip(left[both].tolist(), right[both].tolist(), strict=True):
                    links.setdefault(a, set()).add(b)
                    links.setdefault(b, set()).add(a)
            self._links[op] = links
        return self._links[op]

    def steps(self, state: State) -> tuple[Step, ...]:
        """The steps from the start to a state."""
        found: list[Step] = []
        entry = self.tree[state]
        while entry is not None:
            before, op = entry
            found.append(self.index.step(op, before))
            entry = self.tree[before]
        return tuple(reversed(found))


__all__ = ["Chain", "Chains", "Step", "first_axis"]
