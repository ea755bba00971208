"""Labels: every axis of every tensor carries one integer atom per index.

Atom 0 means *fixed*: the index can never leave. Two indices that carry the same atom (or atoms that are tied) leave
together. Vectors of atoms are numpy arrays; no Python object stands for a single channel.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from attrs import field

from secateur.graph.record import record

Atoms = np.ndarray[Any, np.dtype[np.int64]]

FIXED = 0
"""The atom of everything that stays."""


@record(eq=False)
class Axis:
    """One axis: an atom per index, and whether the tensor is exactly zero on the slices that leave.

    `zero` is what allows a sum over an axis whose indices leave: in the masked network those slices add nothing.
    """

    _atoms: Atoms | None
    zero: bool = True
    _free: bool | None = field(default=None, repr=False, kw_only=True)

    @property
    def atoms(self) -> Atoms:
        """The atom of each index."""
        assert self._atoms is not None
        return self._atoms

    def __len__(self) -> int:
        assert self._atoms is not None
        return len(self._atoms)

    @property
    def free(self) -> bool:
        """Whether any index of the axis may leave, as far as is known before solving."""
        known = self._free
        if known is None:
            known = bool(self.atoms.any())
            object.__setattr__(self, "_free", known)
        return known

    def nonzero(self) -> Axis:
        """The same labels on a tensor that may be anything on the slices that leave."""
        return Axis(self.atoms, zero=False, free=self._free) if self.zero else self


@record(eq=False)
class Labels:
    """The labelled axes of one tensor, with the name of its value in the graph."""

    name: str
    axes: tuple[Axis, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """The length of every axis."""
        return tuple(len(axis) for axis in self.axes)

    def __len__(self) -> int:
        return len(self.axes)

    def __getitem__(self, axis: int) -> Axis:
        return self.axes[axis]


def fixed(length: int, zero: bool = True) -> Axis:
    """An axis whose indices all stay."""
    return Axis(_stay(length), zero, free=False)


@lru_cache(maxsize=1024)
def _stay(length: int) -> Atoms:
    """The atoms of an axis that stays; nothing may write into them."""
    atoms: Atoms = np.zeros(length, np.int64)
    atoms.setflags(write=False)
    return atoms
