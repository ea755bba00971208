"""Which dims lie along the axes of every value of a graph, and how wide these are before and after a plan."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from attrs import define, frozen

from secateur.coupling.analysis import Coupling, Leaving, Units, analyse
from secateur.errors import PlanError, suggestion
from secateur.graph.ir import Graph
from secateur.plugins import current

if TYPE_CHECKING:
    from secateur.coupling.labels import Atoms, Axis
    from secateur.thinning.plan import Plan


@frozen
class Width:
    """One axis of a value that units may lie along: its length before and after, and its dims with their shares.

    `dims`: the positions of the dims, in the order in which they lie there; `shares`: how many of the indices before
    belong to each. An axis that nothing can leave has none.
    """

    before: int
    after: int
    dims: tuple[int, ...] = ()
    shares: tuple[int, ...] = ()

    def __str__(self) -> str:
        return f"{self.before:,}" if self.before == self.after else f"{self.before:,} → {self.after:,}"


@define(slots=False, frozen=True, eq=False)
class Widths:
    """The dims of a graph, and the widths of its values."""

    coupling: Coupling
    leaving: Leaving
    plan: Plan | None

    @classmethod
    def of(cls, graph: Graph, plan: Plan | None) -> Widths:
        """Find the dims of a graph, and what of them leaves by a plan.

        Raises `PlanError` if the plan is of another model.
        """
        manager = current()
        coupling = analyse(graph, manager.op_rules, manager.adapters)
        if plan is None:
            return cls(coupling, coupling.leaving(np.empty(0, np.int64)), None)
        _check_shapes(graph, plan)
        known = {dim.name: dim for dim in (*coupling.dims, *coupling.on_request)}
        gone = [np.empty(0, np.int64)]
        for dim in plan.dims:
            if len(dim.leaving):
                gone.append(_same(dim.name, dim.size, known).classes[dim.leaving])
        return cls(coupling, coupling.leaving(np.concatenate(gone)), plan)

    @cached_property
    def dims(self) -> tuple[Units, ...]:
        """All dims, those that are pruned on request only behind the others."""
        return (*self.coupling.dims, *self.coupling.on_request)

    def on_request(self, dim: int) -> bool:
        """Whether a dim stays unless the user asks for what renormalises."""
        return bool(self.dims[dim].renormalisations)

    def kept(self, dim: int) -> int:
        """How many units of a dim stay."""
        return self.leaving.count(self._atoms_of(dim))

    def writers(self, dim: int) -> list[str]:
        """The modules whose weights (or, without any, vectors) are written along a dim."""
        units, values = self.dims[dim], self.coupling.graph.values
        written = [name for name, axis in units.slices if (name, axis) not in units.readers]
        weights = [name for name in written if len(values[name].shape) > 1]
        return list(dict.fromkeys(name.rpartition(".")[0] or name for name in weights or written))

    def of_value(self, name: str) -> tuple[Width, ...]:
        """The widths of a value: of the axes along which units lie or, if there is none, might have lain."""
        labels = self.coupling.labelling.labels.get(name)
        axes = labels.axes if labels is not None else ()
        found = [self._width(axis) for axis in axes if axis.free]
        return tuple(width for width in found if width.dims) or tuple(found)

    def of_axis(self, name: str, axis: int) -> Width:
        """The width of one axis of a value."""
        return self._width(self.coupling.labelling.labels[name].axes[axis])

    def _atoms_of(self, dim: int) -> Atoms:
        representative = np.zeros(self.coupling.solution.classes, np.int64)
        representative[self.coupling.solution.of] = np.arange(len(self.coupling.solution.of))
        return representative[self.dims[dim].classes]

    @cached_property
    def _of_class(self) -> Atoms:
        """The position of the dim that each base class belongs to, or -1, shape (classes,)."""
        found = np.full(self.coupling.solution.classes, -1, np.int64)
        for position, dim in enumerate(self.dims):
            found[dim.classes] = position
        return found

    @cached_property
    def _known(self) -> dict[int, tuple[Atoms, Width]]:
        return {}

    def _width(self, axis: Axis) -> Width:
        atoms = axis.atoms
        if id(atoms) not in self._known:
            solution = self.coupling.solution
            _, bases = solution.reach(np.arange(len(atoms)), solution.of[atoms])
            dims = self._of_class[bases]
            dims = dims[dims >= 0]
            names, first, counts = np.unique(dims, return_index=True, return_counts=True)
            order = np.argsort(first)
            width = Width(
                len(atoms),
                self.leaving.count(atoms),
                tuple(names[order].tolist()),
                tuple(counts[order].tolist()),
            )
            self._known[id(atoms)] = atoms, width
        return self._known[id(atoms)][1]


def _check_shapes(graph: Graph, plan: Plan) -> None:
    """Raise `PlanError` for a plan whose parameters are not those of the graph."""
    for name in plan.cuts:
        value = graph.values.get(graph.aliases.get(name, name))
        if value is not None and value.shape != plan.shapes.get(name, value.shape):
            raise PlanError(
                f"the plan was made for shape {plan.shapes[name]}, it has {value.shape}",
                where=name,
                hint="draw the graph of the model that the plan was made for, before it is thinned",
            )


def _same(name: str, size: int, known: dict[str, Units]) -> Units:
    """The dim that a plan means; `PlanError` if the graph has none of that name and size."""
    hint = "draw the graph of the model that the plan was made for, before it is thinned"
    if name not in known:
        raise PlanError(
            f"the plan lets units of {name!r} leave, and the graph has no such dim",
            where="picture",
            hint=f"{hint}; {suggestion(name, known)}",
        )
    if len(known[name]) != size:
        raise PlanError(f"the plan knows {size} units, the graph {len(known[name])}", where=name, hint=hint)
    return known[name]
