"""Units and dims: what leaves together, grouped by what it consists of.

A unit is a base class with all slices that reach it. Units with the same footprint (the same parameters and axes,
the same number of slices in each) form a dim.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from attrs import frozen

from secateur.coupling.engine import Labelling
from secateur.coupling.facts import Renormalisation
from secateur.coupling.labels import Atoms
from secateur.coupling.solver import Solution, unique

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
    """All axes of all parameters and buffers, laid end to end: one row per slice."""

    keys: tuple[TensorAxis, ...]
    starts: Array
    atoms: Atoms

    @classmethod
    def of(cls, labelling: Labelling) -> TensorAxes:
        """Collect the axes, in the order in which the graph first uses their tensors."""
        values = labelling.graph.values
        used = [name for op in labelling.graph.ops.values() for name in op.inputs]
        order = dict.fromkeys(n for n in [*used, *values] if values[n].kind in ("parameter", "buffer"))
        keys: list[TensorAxis] = []
        vectors: list[Atoms] = []
        for name in order:
            for axis, labelled in enumerate(labelling.labels[name].axes):
                if labelled.free:
                    keys.append((name, axis))
                    vectors.append(labelled.atoms)
        lengths = np.array([0, *(len(vector) for vector in vectors)])
        atoms = np.concatenate([np.empty(0, np.int64), *vectors])
        return cls(tuple(keys), np.cumsum(lengths), atoms)

    def owner(self, rows: Array) -> Array:
        """The position in `keys` of each row."""
        found: Array = np.searchsorted(self.starts, rows, side="right") - 1
        return found


def dims_of(labelling: Labelling, solution: Solution, axes: TensorAxes, marks: Array) -> list[Units]:
    """Group the free units of a graph into dims, in the order in which the graph first writes them.

    `marks`, shape (classes,): units whose marks differ belong to different dims.
    """
    rows, bases = solution.reach(np.arange(len(axes.atoms)), solution.of[axes.atoms])
    if not len(rows):
        return []
    owners = axes.owner(rows)
    units, unit_of = np.unique(bases, return_inverse=True)
    order = np.lexsort((rows, owners, unit_of))
    rows, owners, unit_of = rows[order], owners[order], unit_of[order]
    dim_of = _footprints(unit_of, owners, len(units), len(axes.keys))
    _, dim_of = np.unique(dim_of * (int(marks.max()) + 1) + marks[units], return_inverse=True)
    reads = _read_axes(labelling, solution, axes)
    found = []
    by_dim = np.argsort(dim_of[unit_of], kind="stable")
    bounds = np.searchsorted(dim_of[unit_of][by_dim], np.arange(dim_of.max() + 2))
    for dim in range(dim_of.max() + 1):
        picked = by_dim[bounds[dim] : bounds[dim + 1]]
        found.append(_dim(axes, reads, rows[picked], owners[picked], unit_of[picked], units))
    position = {key: index for index, key in enumerate(axes.keys)}
    found.sort(key=lambda dim: _first(dim, position))
    return _named(found)


def keep_something(labelling: Labelling, solution: Solution, axes: TensorAxes) -> bool:
    """Fix every unit without which nothing would be left of some axis; return whether there was any."""
    rows, bases = solution.reach(np.arange(len(axes.atoms)), solution.of[axes.atoms])
    if not len(rows):
        return False
    pairs, counts = unique(bases * len(axes.keys) + axes.owner(rows))
    whole = counts == np.diff(axes.starts)[pairs % len(axes.keys)]
    representative = np.zeros(solution.classes, np.int64)
    representative[solution.of] = np.arange(len(solution.of))
    for pair in pairs[whole]:
        name, axis = axes.keys[pair % len(axes.keys)]
        atoms = representative[pair // len(axes.keys)][None]
        labelling.facts.fix(atoms, f"nothing would be left of {name} axis {axis} without it")
    return bool(whole.any())


def _footprints(unit_of: Array, owners: Array, units: int, keys: int) -> Array:
    """The dim of each unit: units whose rows of (axis, count) are equal share one."""
    pairs, counts = unique(unit_of * keys + owners)
    unit, records = pairs // keys, np.stack([pairs % keys, counts], axis=1)
    lengths = np.bincount(unit, minlength=units)
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    dims = np.zeros(units, np.int64)
    following = 0
    for length in np.unique(lengths):  # units with equally many entries are compared as rows of one table
        members = np.flatnonzero(lengths == length)
        table = records[starts[members][:, None] + np.arange(length)].reshape(len(members), -1)
        _, inverse = np.unique(table, axis=0, return_inverse=True)
        dims[members] = following + inverse.reshape(-1)
        following += int(inverse.max()) + 1
    return dims


def _read_axes(labelling: Labelling, solution: Solution, axes: TensorAxes) -> frozenset[TensorAxis]:
    """The parameter axes along which something is read: their atoms are those of a contraction."""
    marked = np.zeros(labelling.facts.count, bool)
    for atoms in labelling.facts.reads:
        marked[atoms] = True
    read = [
        key
        for key, start, stop in zip(axes.keys, axes.starts[:-1], axes.starts[1:], strict=True)
        if marked[axes.atoms[start:stop]].any()
    ]
    return frozenset(read)


def _dim(
    axes: TensorAxes, reads: frozenset[TensorAxis], rows: Array, owners: Array, unit_of: Array, units: Array
) -> Units:
    members = np.unique(unit_of)
    slices: dict[TensorAxis, Array] = {}
    for owner in np.unique(owners):
        picked = owners == owner
        slices[axes.keys[owner]] = (rows[picked] - axes.starts[owner]).reshape(len(members), -1)
    first = next((key for key in slices if key not in reads), next(iter(slices)))
    order = np.argsort(slices[first][:, 0], kind="stable")
    ordered = {key: indices[order] for key, indices in slices.items()}
    readers = frozenset(key for key in slices if key in reads)
    return Units("", units[members][order], ordered, readers)


def _first(dim: Units, position: Mapping[TensorAxis, int]) -> tuple[int, int]:
    """Where a dim is first written: the axis, and the index of its first unit."""
    writers = [key for key in dim.slices if key not in dim.readers] or list(dim.slices)
    first = min(writers, key=position.__getitem__)
    return position[first], int(dim.slices[first][0, 0])


def _named(dims: list[Units]) -> list[Units]:
    """Name each dim after the module that first writes it; a second dim of that module gets `:2`, and so on."""
    taken: dict[str, int] = {}
    named = []
    for dim in dims:
        writers = [key for key in dim.slices if key not in dim.readers] or list(dim.slices)
        name = writers[0][0]
        path = name.rpartition(".")[0] or name
        taken[path] = taken.get(path, 0) + 1
        unique = path if taken[path] == 1 else f"{path}:{taken[path]}"
        named.append(Units(unique, dim.classes, dim.slices, dim.readers))
    return named
