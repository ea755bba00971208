"""The site of one call, as an op rule sees it: its arguments, with tensors as labels, and the facts it may record.

A rule is a function of a site. It reads arguments by the names of its signature, records facts, and returns the labels
of the output: a sequence of `Axis` for one output, a list of such sequences for several.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from secateur.coupling import products
from secateur.coupling.facts import Compensation, Facts, Order, Renormalisation, SizeFact
from secateur.coupling.labels import Atoms, Axis, Labels, fixed
from secateur.coupling.sources import Source, met
from secateur.graph.ir import Graph, Op, Ref
from secateur.graph.sizes import Attribute, AxisLength, Literal, Size, leaves


class Site:
    """One call: `site["input"]` is an argument, the methods record facts about it."""

    def __init__(self, op: Op, graph: Graph, facts: Facts, labels: Mapping[str, Labels], bound: dict[str, Any]) -> None:
        self.op, self.graph, self._facts, self._labels = op, graph, facts, labels
        self._bound = bound

    # -- reading ---------------------------------------------------------------------------------------------

    def __getitem__(self, name: str) -> Any:
        """The argument bound to a parameter; tensors (also within tuples) come as `Labels`."""
        argument = self._bound[name]
        return self._labels[argument.name] if type(argument) is Ref else self._resolve(argument)

    def _resolve(self, argument: Any) -> Any:
        if isinstance(argument, Ref):
            return self._labels[argument.name]
        if isinstance(argument, tuple | list):
            return tuple(self._resolve(entry) for entry in argument)
        if isinstance(argument, slice):
            return slice(*(self._resolve(part) for part in (argument.start, argument.stop, argument.step)))
        return argument

    def number(self, name: str) -> Any:
        """An argument with every integer as a plain `int`, nested or not."""
        return plain(self[name])

    def tensors(self) -> list[Labels]:
        """The labels of all tensor inputs, in order, once each."""
        return [self._labels[name] for name in self.op.inputs]

    def data(self, labels: Labels) -> np.ndarray[Any, Any] | None:
        """The numbers of an integer constant, if they are known."""
        return self.graph.values[labels.name].data

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """The shapes of the outputs, as recorded."""
        return [self.graph.values[name].shape for name in self.op.outputs]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the first output, as recorded."""
        return self.shapes[0]

    # -- facts -----------------------------------------------------------------------------------------------

    def tie(self, left: Axis, right: Axis) -> Axis:
        """Two axes whose indices leave together; returns them as one, zero where both are zero."""
        if not met(left, right, self.op):
            self._facts.tie(left.atoms, right.atoms, self.op)
        led = left if left.free else right
        return Axis(led.atoms, left.zero and right.zero, free=led.free)

    def fix(self, axis: Axis | Atoms, reason: str, hint: str = "") -> Axis:
        """An axis that stays, with the reason; returns a fixed axis of the same length."""
        if not isinstance(axis, Axis):
            self._facts.fix(axis, reason, hint=hint, op=self.op)
        elif axis.free:
            self._facts.fix(axis.atoms, reason, hint=hint, op=self.op)
        return fixed(len(axis))

    def stay(self, axes: Sequence[Axis]) -> list[Axis]:
        """Axes that stay as a matter of course (kernel and other spatial axes): fixed without a reason."""
        for axis in axes:
            if axis.free and not (isinstance(axis, Source) and axis.stays(self.op)):
                self._facts.fix(axis.atoms, "", op=self.op, silent=True)
        return [fixed(len(axis)) for axis in axes]

    def fresh(self, length: int, zero: bool = True) -> Axis:
        """A new axis that can leave independently of every other."""
        return Axis(self._facts.fresh(length), zero)

    def renormalise(self, axis: Axis, reason: str, *compensations: Compensation) -> Axis:
        """An axis whose length the operation reads (a mean over it, a norm): it leaves on request only.

        In the reference such an operation counts only what stays, so its output is zero on what leaves; the axis comes
        back so. `compensations`: what must be rescaled for the masked network itself to be matched exactly.
        """
        if not axis.free:
            return axis
        self._facts.renormalisations.append(Renormalisation(axis.atoms, reason, self.op, compensations))
        return Axis(axis.atoms, zero=True)

    def scale(self, size: Any) -> None:
        """An integer argument by which the operation scales its input: units that change it renormalise."""
        if isinstance(size, Size) and not isinstance(size.expr, Literal):
            self._facts.followed.add(id(size))
            use, nothing = f"it is scaled by {size}", np.empty(0, np.int64)
            self._facts.sizes.append(SizeFact(size.expr, nothing, self.op, size.value, use, scales=True))

    def exceed(self, longer: Axis, shorter: Axis, reason: str) -> None:
        """One axis must stay longer than another; the `reason` says so, as a sentence about the first."""
        if longer.free:
            self._facts.orders.append(Order(longer.atoms, shorter.atoms, reason, self.op))

    def leave_unmasked(self, parameter: Labels, axis: int) -> None:
        """The masked network must not set leaving slices of a parameter to zero: the operation is undefined there.

        The rule must see to it that its output is zero on them all the same (a weight norm is, through its gain).
        """
        self._facts.unmasked.add((parameter.name, axis))

    def mirror(self, attribute: str, axis: Axis) -> None:
        """An integer that the calling module holds, and that no argument mentions, is the length of an axis."""
        if axis.free and self.graph.attributes.get((self.op.module, attribute)) == len(axis):
            self._facts.sizes.append(SizeFact(Attribute(self.op.module, attribute), axis.atoms, None))

    def held_by(self, kind: str, name: str, tensor: Labels) -> bool:
        """Whether a tensor is the parameter `name` of the calling module, which is exactly of type `kind` (qualified),
        and only calls like this one read it: then its values may be rescaled for this call."""
        graph, module = self.graph, self.op.module
        path = f"{module}.{name}" if module else name
        readers = graph.consumers.get(tensor.name, ())
        return (
            graph.types.get(module) == kind
            and graph.aliases.get(path, path) == tensor.name
            and all((op.kind, op.module) == (self.op.kind, module) for op in readers)
        )

    def is_read(self, name: str) -> bool:
        """Whether any operation reads a value, or the model returns it."""
        return bool(self.graph.consumers.get(name)) or name in self.graph.outputs

    def learned(self, tensor: Labels) -> bool:
        """Whether a tensor is a parameter, or computed from parameters alone (a transposed weight)."""
        values, producer = self.graph.values, self.graph.producer
        if values[tensor.name].kind == "parameter":  # by far the most, and never made by an operation
            return True
        pending, seen = [tensor.name], set[str]()
        while pending:
            name = pending.pop()
            if name in seen:
                continue
            seen.add(name)
            if name in producer:
                pending += producer[name].inputs
            elif values[name].kind == "input":
                return False
        return True

    def contract(self, data: Axis, weight: Axis, *, reads: bool = True) -> None:
        """A sum over the products of two axes: they leave together.

        The sum over slices that leave is zero if either side is zero there; otherwise both axes are fixed. `reads`: the
        second is an axis of a parameter (or of what is computed from parameters alone, `learned`), which reads the
        data along it; false for the product of two activations.
        """
        if not (data.zero or weight.zero):
            self.fix(data, "the values on both sides of a sum of products may be non-zero on pruned slices")
            self.fix(weight, "the values on both sides of a sum of products may be non-zero on pruned slices")
        source = weight if isinstance(weight, Source) else None
        if source is None or not source.meets(data, self.op):
            self._facts.tie(data.atoms, weight.atoms, self.op)
        if reads and (source is None or not source.reads()):
            self._facts.reads.append(weight.atoms)

    def merge(self, outer: Axis, inner: Axis) -> Axis:
        """One axis that runs through `inner` for each index of `outer`."""
        return products.merge(self._facts, outer, inner, self.op)

    def split(self, axis: Axis, m: int, n: int) -> tuple[Axis, Axis]:
        """Two axes of lengths m and n whose product is `axis`."""
        return products.split(self._facts, axis, m, n, self.op)

    def reshape(self, axes: Sequence[Axis], shape: Sequence[int]) -> list[Axis]:
        """The axes of the same elements in another shape."""
        return products.reshape(self._facts, axes, shape, self.op)

    def varies(self, size: Any) -> bool:
        """Whether an integer argument depends on the length of an input, or of another axis that stays."""
        return isinstance(size, Size) and any(
            isinstance(leaf, AxisLength) and not self._labels[leaf.value][leaf.axis].free for leaf in leaves(size.expr)
        )

    def length_of(self, size: Any) -> Axis | None:
        """The axis of an earlier tensor whose length an integer argument is, or None if it is none."""
        if isinstance(size, Size) and isinstance(size.expr, AxisLength):
            return self._labels[size.expr.value][size.expr.axis]
        return None

    def require(self, size: Any, axis: Axis, what: str = "a size") -> Axis:
        """An integer argument that must equal the length of an axis after thinning.

        A literal fixes the axis, with the place in the source; an attribute or a shape expression is recorded and
        solved for. `None` and -1 ask for nothing. A size that a rule does not require has to keep its value.
        """
        if size is None or (isinstance(size, Size | int) and int_of(size) == -1):
            return axis
        if isinstance(size, Size) and not isinstance(size.expr, Literal) and size.value == len(axis):
            self._facts.followed.add(id(size))
            self._facts.sizes.append(SizeFact(size.expr, axis.atoms, self.op))
            return axis
        if not axis.free:
            return axis
        return self.fix(
            axis,
            f"{what} is written as the number {plain(size)}",
            hint="take it from the tensor's shape or from an attribute of the module itself, or use -1",
        )


def int_of(number: Any) -> int:
    """The plain integer of a recorded integer argument."""
    return number.value if isinstance(number, Size) else int(number)


def plain(argument: Any) -> Any:
    """A recorded argument with every integer as a plain `int`, nested or not."""
    if isinstance(argument, Size):
        return argument.value
    if isinstance(argument, tuple | list):
        return tuple(plain(entry) for entry in argument)
    return argument
