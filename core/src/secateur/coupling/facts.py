"""Facts: what the rules found out, recorded as vectors and solved later.

A fact is a tie (two vectors of atoms are equal, index by index), a fix (a vector stays, and why), a pair (slice
p[i,j] leaves if unit a[i] or unit b[j] leaves), or a size that must follow (an integer argument of a call equals
the number of atoms that stay in a vector).
"""

from __future__ import annotations

import numpy as np
from attrs import define, field

from secateur.coupling.labels import FIXED, Atoms
from secateur.graph.ir import Op
from secateur.graph.record import record
from secateur.graph.sizes import Expr

MEETS_FIXED = "it meets an input of the model or another axis that stays"


@record(eq=False)
class Tie:
    """Atoms of two vectors, index by index, are the same."""

    left: Atoms
    right: Atoms
    op: Op | None


@record(eq=False)
class Fix:
    """The atoms of a vector stay. A `silent` fix goes without saying (kernel axes) and is not reported."""

    atoms: Atoms
    reason: str
    hint: str
    op: Op | None
    silent: bool


@record(eq=False)
class Pair:
    """`product[i, j]` leaves exactly if `outer[i]` or `inner[j]` leaves; the product is flattened, row by row."""

    product: Atoms
    outer: Atoms
    inner: Atoms
    op: Op | None


@record(eq=False)
class Compensation:
    """What is multiplied by (kept / size) ** power when a vector becomes shorter, so that nothing changes by that.

    Either `value`, a parameter, with the `indices` of its first axis (None: all of it), or `attribute`, a number held
    by a module: (module path, attribute).
    """

    power: float
    value: str = ""
    indices: Atoms | None = None
    attribute: tuple[str, str] | None = None
    default: float = 0.0
    """What stands for an attribute that is None."""


@record(eq=False)
class SizeFact:
    """An integer of a call, or an attribute, that must equal the number of atoms of a vector that stay.

    With `constant` it must equal that number instead, and there is no vector.
    """

    expr: Expr
    atoms: Atoms
    op: Op | None
    constant: int = 0
    use: str = ""
    """What else than a length the integer is used for, and where, if no axis follows it."""
    scales: bool = False
    """The integer only scales something: units that change it renormalise."""


@record(eq=False)
class Renormalisation:
    """An operation reads the size of a vector: what leaves it changes the scale of what stays.

    With `compensations` the change can be undone exactly.
    """

    atoms: Atoms
    reason: str
    op: Op | None
    compensations: tuple[Compensation, ...] = ()
    size: SizeFact | None = None
    """The integer that changes, if it is not the length of `atoms` itself."""


@record(eq=False)
class Order:
    """More atoms of one vector stay than of another, whatever leaves."""

    longer: Atoms
    shorter: Atoms
    reason: str
    op: Op | None


@define(eq=False)
class Facts:
    """The facts of one graph, appended by rules."""

    count: int = 1  # atom 0 exists from the start
    ties: list[Tie] = field(factory=list)
    fixes: list[Fix] = field(factory=list)
    pairs: list[Pair] = field(factory=list)
    sizes: list[SizeFact] = field(factory=list)
    renormalisations: list[Renormalisation] = field(factory=list)
    orders: list[Order] = field(factory=list)
    unmasked: set[tuple[str, int]] = field(factory=set)
    """(parameter, axis) along which slices that leave must not be set to zero in the masked network."""
    tied: dict[int, SizeFact] = field(factory=dict)
    """Size facts whose vectors were tied to make them hold, by identity."""
    followed: set[int] = field(factory=set)
    """Identities of the size arguments that rules accounted for; all others must keep their value."""
    reads: list[Atoms] = field(factory=list)
    """Vectors along which a parameter is contracted with what it reads."""
    shared: dict[tuple[str, int], bool] = field(factory=dict)
    """Of every (parameter, axis) that has the label of an axis it met: whether something is read along it."""

    _whole: dict[int, tuple[bool, Atoms]] = field(factory=dict)

    def whole(self, atoms: Atoms) -> bool:
        """Whether nothing of a vector is fixed, as far as is known before solving; found once for each vector."""
        if id(atoms) not in self._whole:
            self._whole[id(atoms)] = bool(atoms.all()), atoms
        return self._whole[id(atoms)][0]

    def fresh(self, length: int) -> Atoms:
        """Make `length` new atoms."""
        made: Atoms = np.arange(self.count, self.count + length, dtype=np.int64)
        self.count += length
        return made

    def tie(self, left: Atoms, right: Atoms, op: Op | None = None) -> None:
        """Record that two vectors are the same, index by index; they must be of one length."""
        if left.shape != right.shape:
            raise ValueError(f"cannot tie {len(left)} atoms to {len(right)}")
        if left is right:
            return
        if len(left) and self.whole(left) and self.whole(right):
            self.ties.append(Tie(left, right, op))
            return
        half = (left == FIXED) != (right == FIXED)
        if half.any():
            self.fix((left + right)[half], MEETS_FIXED, op=op)
        if not half.all():
            self.ties.append(Tie(left[~half], right[~half], op) if half.any() else Tie(left, right, op))

    def fix(self, atoms: Atoms, reason: str, *, hint: str = "", op: Op | None = None, silent: bool = False) -> None:
        """Record that the atoms stay, and why."""
        if atoms.any():
            self.fixes.append(Fix(atoms[atoms != FIXED], reason, hint, op, silent))

    def pair(self, product: Atoms, outer: Atoms, inner: Atoms, op: Op | None = None) -> None:
        """Record that `product`, of length len(outer) * len(inner), is made of all pairs of outer and inner."""
        if len(product) != len(outer) * len(inner):
            raise ValueError(f"a product of {len(outer)} and {len(inner)} cannot have {len(product)} atoms")
        self.pairs.append(Pair(product, outer, inner, op))
