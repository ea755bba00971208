"""Sources: the axes of parameters and buffers, which get their labels when an operation first looks at them.

A batch norm has four parameters along the channels of its input. Each of them could have atoms of its own, tied to
those of the channels; but nothing is known of such an axis before it meets the channels, so it takes their label
instead. There are then as many atoms as there are channels that something writes, however often they are read.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import field

from secateur.coupling.facts import Facts
from secateur.coupling.labels import Atoms, Axis, Labels, fixed
from secateur.graph.ir import Op
from secateur.graph.record import record


@record(eq=False)
class Source(Axis):
    """An axis of a parameter or buffer, without a label until one is asked for.

    `home`: the kind and the module of all operations that read the tensor; None if they differ. Elsewhere more may be
    said of the axis than at the first meeting, so it has atoms of its own then.
    """

    facts: Facts = field(kw_only=True, repr=False)
    key: tuple[str, int] = field(kw_only=True)
    length: int = field(kw_only=True)
    home: tuple[str, str] | None = field(kw_only=True)

    @property
    def atoms(self) -> Atoms:
        """The atom of each index; new ones if it has met no other axis so far."""
        return self.label() if self._atoms is None else self._atoms

    def label(self) -> Atoms:
        """Give it atoms of its own."""
        made = self.facts.fresh(self.length)
        object.__setattr__(self, "_atoms", made)
        return made

    def __len__(self) -> int:
        return self.length

    def meets(self, other: Axis, op: Op) -> bool:
        """Take the label of an axis that it leaves together with; False if it has a label, or the other partly stays.

        Which parts of an axis stay, and why, is told by facts, which need atoms.
        """
        if not self._blank(op) or other is self or len(other) != self.length or not other.free:
            return False
        atoms = other.atoms
        if not self.facts.whole(atoms):
            return False
        object.__setattr__(self, "_atoms", atoms)
        self.facts.shared[self.key] = False
        return True

    def stays(self, op: Op) -> bool:
        """Stay as a matter of course; False if it has a label."""
        if not self._blank(op):
            return False
        object.__setattr__(self, "_atoms", fixed(self.length).atoms)
        object.__setattr__(self, "_free", False)
        return True

    def reads(self) -> bool:
        """Note that something is read along it; False if its atoms, which are its own, say so."""
        if self.key not in self.facts.shared:
            return False
        self.facts.shared[self.key] = True
        return True

    def _blank(self, op: Op) -> bool:
        return self._atoms is None and self.home == (op.kind, op.module)


def met(left: Axis, right: Axis, op: Op) -> bool:
    """Whether one of two axes could take the label of the other."""
    return (isinstance(right, Source) and right.meets(left, op)) or (isinstance(left, Source) and left.meets(right, op))


def settle(tensors: Iterable[Labels]) -> None:
    """Give atoms to every source that met no other axis."""
    for tensor in tensors:
        for axis in tensor.axes:
            if isinstance(axis, Source) and axis._atoms is None:
                axis.label()
