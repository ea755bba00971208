"""Units and dims: what leaves together, grouped by what it consists of.

A unit is a base class with all slices that reach it. Units with the same footprint (the same parameters and axes,
the same number of slices in each) form a dim.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate, chain, pairwise
from operator import itemgetter
from typing import Any

import numpy as np
from attrs import evolve, frozen

from secateur.coupling.engine import Labelling
from secateur.coupling.facts import Renormalisation
from secateur.coupling.labels import Atoms
from secateur.coupling.solver import Solution

Array = np.ndarray[Any, Any]
TensorAxis = tuple[str, int]


@frozen(eq=False)
class Units:
    """One dim: its units, and where the slices of each lie.

    `classes`, shape (units,): the base class of each unit. `slices`: {(parameter or buffer, axis): indices}, shape
    (units, slices per unit). `readers`: the axes along which a parameter reads what the units write.
    """

    name: str
    classes: Atoms
    slices: Mapping[TensorAxis, Array]
    readers: frozenset[TensorAxis]
    renormalisations: tuple[Renormalisation, ...] = ()
    """Operations that read a size which its units change."""

    def __len__(self) -> int:
        return len(self.classes)


@frozen(eq=False)
class TensorAxes:
    """All axes of all parameters and buffers, and the labels that they share, laid end to end."""

    keys: tuple[TensorAxis, ...]
    label: Array
    """Of each axis, which of the labels it has."""
    starts: Array
    """Of the labels in `atoms`, with the end."""
    atoms: Atoms

    @classmethod
    def of(cls, labelling: Labelling) -> TensorAxes:
        """Collect the axes, in the order in which the graph first uses their tensors."""
        values = labelling.graph.values
        used = [name for op in labelling.graph.ops.values() for name in op.inputs]
        order = [name for name in dict.fromkeys([*used, *values]) if values[name].kind in ("parameter", "buffer")]
        keys: list[TensorAxis] = []
        label: list[int] = []
        vectors: list[Atoms] = []
        known: dict[int, int] = {}
        for name in order:
            for axis, labelled in enumerate(labelling.labels[name].axes):
                if labelled.free:
                    atoms = labelled.atoms
                    number = known.setdefault(id(atoms), len(vectors))
                    if number == len(vectors):
                        vectors.append(atoms)
                    keys.append((name, axis))
                    label.append(number)
        starts = np.cumsum([0, *map(len, vectors)])
        return cls(tuple(keys), np.array(label, np.int64), starts, np.concatenate([np.empty(0, np.int64), *vectors]))

    def having(self, labels: Array) -> list[TensorAxis]:
        """The axes that have some of the labels; `labels` is a mask, shape (labels,)."""
        return [self.keys[index] for index in np.flatnonzero(labels[self.label])] if self.keys else []


@frozen(eq=False)
class Membership:
    """Which units the slices of which axes belong to.

    Axes whose slices are of the same classes, one by one, share a `column`: a filter's batch norm entries lie where the
    filter does. The records (row of a column, unit) are sorted by unit and then by row, and lie in `runs` of one unit
    and one column each.
    """

    columns: tuple[tuple[int, ...], ...]
    """The positions of the axes in each column."""
    lengths: Sequence[int]
    """Of the axes in each column."""
    units: Array
    """The base class of each unit."""
    rows: Array
    """The index along its axis of each record."""
    starts: Array
    """Of the runs among the records, with the end."""
    unit: Array
    """Of each run, by position in `units`."""
    column: Array
    """Of each run."""

    @classmethod
    def of(cls, axes: TensorAxes, solution: Solution) -> Membership:
        """Find the units of all slices."""
        classes = solution.of[axes.atoms]
        shared: dict[bytes, int] = {}
        vectors: list[Array] = []
        place: list[int] = []
        for start, stop in pairwise(axes.starts.tolist()):
            vector = classes[start:stop]
            place.append(shared.setdefault(vector.tobytes(), len(vectors)))
            if place[-1] == len(vectors):
                vectors.append(vector)
        columns: list[list[int]] = [[] for _ in vectors]
        for position, label in enumerate(axes.label.tolist()):
            columns[place[label]].append(position)
        lengths = [len(vector) for vector in vectors]
        every = np.concatenate([np.empty(0, np.int64), *vectors])
        rows, bases = solution.reach(np.arange(len(every)), every)
        present = np.zeros(solution.classes, bool)
        present[bases] = True
        unit = (np.cumsum(present) - 1)[bases]
        column = np.repeat(np.arange(len(lengths)), lengths)[rows]
        rows = rows - (np.cumsum(lengths) - lengths)[column]
        order = by_size(unit, int(present.sum()))
        rows, unit, column = rows[order], unit[order], column[order]
        begins = np.flatnonzero(
            np.concatenate([[len(unit) > 0], (unit[1:] != unit[:-1]) | (column[1:] != column[:-1])])
        )
        starts = np.append(begins, len(unit))
        found = tuple(tuple(group) for group in columns)
        return cls(found, lengths, np.flatnonzero(present), rows, starts, unit[begins], column[begins])

    def footprints(self) -> tuple[Array, list[Array]]:
        """The footprint of each unit, and of each footprint the columns and how many slices there are in each."""
        firsts = np.append(np.flatnonzero(np.diff(self.unit, prepend=-1)), len(self.unit))
        counts = np.diff(self.starts)
        records = (self.column << 32) + counts
        lengths = np.diff(firsts)
        back = np.arange(len(records)) - lengths[self.unit]  # where the unit before has its record, if it has as many
        same = records == records[np.maximum(back, 0)]
        same = np.logical_and.reduceat(same, firsts[:-1]) & (lengths == np.roll(lengths, 1))
        same[0] = False
        stretch = np.cumsum(~same) - 1  # units whose footprint is that of the one before
        known: dict[bytes, int] = {}
        tables: list[Array] = []
        found = []
        for unit in np.flatnonzero(~same):
            stretch_of = slice(firsts[unit], firsts[unit + 1])
            found.append(known.setdefault(records[stretch_of].tobytes(), len(known)))
            if len(known) > len(tables):
                tables.append(np.array((self.column[stretch_of], counts[stretch_of])).T)
        return np.array(found)[stretch], tables

    def by_axes(self, table: Array) -> tuple[int, list[tuple[int, int]]]:
        """What footprints are sorted by: their length, and then their axes and counts."""
        records = sorted((axis, count) for column, count in table.tolist() for axis in self.columns[column])
        return len(records), records


def by_size(numbers: Array, limit: int) -> Array:
    """The stable order of numbers from 0 to a limit: numpy sorts short integers many times as fast."""
    found: Array = np.argsort(numbers.astype(np.uint16) if limit <= 1 << 16 else numbers, kind="stable")
    return found


def dims_of(labelling: Labelling, axes: TensorAxes, membership: Membership, marks: Array) -> list[Units]:
    """Group the free units of a graph into dims, in the order in which the graph first writes them.

    `marks`, shape (classes,): units whose marks differ belong to different dims.
    """
    if not len(membership.units):
        return []
    footprint, tables = membership.footprints()
    kinds = int(marks.max()) + 1
    kind = footprint * kinds + marks[membership.units]
    reads = _read_axes(labelling, axes)
    columns = [_Column.of(axes, reads, positions) for positions in membership.columns]
    bounds = membership.starts[np.flatnonzero(np.diff(membership.unit, prepend=-1))]
    order = by_size(kind, kinds * len(tables))
    cuts = [0, *(np.flatnonzero(np.diff(kind[order])) + 1).tolist(), len(order)]
    parts = [order[start:stop] for start, stop in pairwise(cuts)]
    found = [_dim(axes, columns, membership, units, bounds, tables[footprint[units[0]]]) for units in parts]
    if len({place for place, _ in found}) < len(found):  # slices of several units: dims that begin at one place
        ranks = [(membership.by_axes(tables[footprint[units[0]]]), int(kind[units[0]]) % kinds) for units in parts]
        found = [found[index] for index in sorted(range(len(found)), key=ranks.__getitem__)]
    return _named([dim for _, dim in sorted(found, key=itemgetter(0))])


def keep_something(labelling: Labelling, solution: Solution, axes: TensorAxes, membership: Membership) -> bool:
    """Fix every unit without which nothing would be left of some axis; return whether there was any."""
    whole = np.flatnonzero(np.diff(membership.starts) == np.array(membership.lengths, np.int64)[membership.column])
    if not len(whole):
        return False
    representative = np.zeros(solution.classes, np.int64)
    representative[solution.of] = np.arange(len(solution.of))
    for unit, axis in sorted(
        (unit, axis)
        for unit, column in zip(membership.unit[whole].tolist(), membership.column[whole].tolist(), strict=True)
        for axis in membership.columns[column]
    ):
        name, which = axes.keys[axis]
        atoms = representative[membership.units[unit]][None]
        labelling.facts.fix(atoms, f"nothing would be left of {name} axis {which} without it")
    return True


def _read_axes(labelling: Labelling, axes: TensorAxes) -> list[bool]:
    """Which axes something is read along, shape (axes,): their atoms are those of a contraction, or it was noted."""
    facts = labelling.facts
    marked = np.zeros(facts.count, bool)
    for atoms in facts.reads:
        marked[atoms] = True
    own = np.logical_or.reduceat(marked[axes.atoms], axes.starts[:-1])[axes.label].tolist()
    return [facts.shared.get(key, mine) for key, mine in zip(axes.keys, own, strict=True)]


@frozen(eq=False)
class _Column:
    """The axes of one column of a membership, with what dims want to know of them."""

    axes: tuple[int, ...]
    keys: tuple[TensorAxis, ...]
    readers: tuple[TensorAxis, ...]
    first: tuple[bool, int]
    """Whether all are only read, and the first axis that is not, or the first of all."""

    @classmethod
    def of(cls, axes: TensorAxes, reads: Sequence[bool], positions: tuple[int, ...]) -> _Column:
        """The column of the axes at these positions."""
        keys = tuple([axes.keys[axis] for axis in positions])
        readers = tuple([axes.keys[axis] for axis in positions if reads[axis]])
        return cls(positions, keys, readers, min([(reads[axis], axis) for axis in positions]))


def _dim(
    axes: TensorAxes, columns: Sequence[_Column], membership: Membership, units: Array, bounds: Array, table: Array
) -> tuple[tuple[int, int], Units]:
    """The dim of some units of one footprint: their records are a table, with a row for each unit.

    With it comes where the dim is first written (only read, if nothing writes it): the axis, and the index of its first
    unit. It is named after the module of that axis.
    """
    parts = [columns[column] for column in table[:, 0].tolist()]
    ends = [0, *accumulate(table[:, 1].tolist())]
    (_, first), leader = min([(part.first, index) for index, part in enumerate(parts)])
    records = membership.rows[bounds[units][:, None] + np.arange(ends[-1])]
    order = np.argsort(records[:, ends[leader]], kind="stable")
    lines = np.ascontiguousarray(records[order].T)
    tables = [_upright(lines[start:end]) for start, end in pairwise(ends)]
    name = axes.keys[first][0]
    dim = Units(
        name.rpartition(".")[0] or name,
        membership.units[units][order],
        _slices(axes, parts, tables),
        frozenset(chain.from_iterable([part.readers for part in parts])),
    )
    return (first, int(lines[ends[leader], 0])), dim


def _slices(axes: TensorAxes, parts: Sequence[_Column], tables: Sequence[Array]) -> dict[TensorAxis, Array]:
    """{axis: its table}, in the order of the axes. Most columns follow one after another, without being mixed."""
    order = sorted(range(len(parts)), key=lambda index: parts[index].axes)
    found: dict[TensorAxis, Array] = {}
    if all(parts[a].axes[-1] < parts[b].axes[0] for a, b in pairwise(order)):
        for index in order:
            found |= dict.fromkeys(parts[index].keys, tables[index])
        return found
    of_axis = {axis: table for part, table in zip(parts, tables, strict=True) for axis in part.axes}
    return {axes.keys[axis]: of_axis[axis] for axis in sorted(of_axis)}


def _upright(lines: Array) -> Array:
    """The transposed table, contiguous; a single line is not copied."""
    return lines.reshape(-1, 1) if len(lines) == 1 else np.ascontiguousarray(lines.T)


def _named(dims: list[Units]) -> list[Units]:
    """The dims under names of their own: a second one of a module gets `:2` after its name, and so on."""
    taken: dict[str, int] = {}
    named = []
    for dim in dims:
        taken[dim.name] = number = taken.get(dim.name, 0) + 1
        named.append(dim if number == 1 else evolve(dim, name=f"{dim.name}:{number}"))
    return named
