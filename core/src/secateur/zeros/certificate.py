"""Check, on the whole graph, that nothing which stays depends on what is about to leave.

The network is run with everything unknown (NaN) that differs between it and its masked copy: the slices that leave,
unless they are zero. Readers get zeros for the channels that leave, since those are silenced or folded. If nothing that
stays becomes unknown at any operation, both compute the same, whatever their inputs are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import define, field

from secateur.coupling.binding import BindingError, bind
from secateur.coupling.labels import Atoms, Labels
from secateur.graph.ir import Op, Ref
from secateur.thinning.state import named_tensors
from secateur.zeros.constants import Constants, zero_indices
from secateur.zeros.forward import Runner
from secateur.zeros.unknowns import Unknowns

if TYPE_CHECKING:
    from torch import Tensor

Array = np.ndarray[Any, Any]

ATTENTION = {"scaled_dot_product_attention": ("query", "key")}
"""Arguments of which a zero silences the other; the softmax of their products reads everything else."""


def dependent(runner: Runner, constants: Constants, gone: Array) -> Atoms | None:
    """The leaving atoms of operations that let something that stays depend on them; none if all is well.

    `gone`: which atoms leave, bool, shape (atoms,). None stands for all of them: it cannot be told which.
    """
    check = _Check(runner, constants, gone, Unknowns(runner.rules, random=False), np.zeros_like(gone))
    with check.forgotten():
        runner.run(check.unknowns, unknown_inputs=False, before=check.before, after=check.after)
    return None if check.nameless else np.flatnonzero(check.found)


@define(eq=False)
class _Check:
    runner: Runner
    constants: Constants
    gone: Array
    unknowns: Unknowns
    found: Array
    nameless: bool = False
    read: dict[str, Array] = field(factory=dict)
    """The leaving atoms of each input of the operation at hand that are not known."""
    silent: Array = field(factory=lambda: np.empty(0, np.int64))
    """The atoms of the operation at hand that a factor of zero silences."""

    @property
    def labels(self) -> Any:
        """The labels of every value."""
        return self.runner.coupling.labelling.labels

    def before(self, op: Op, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Note what the operation reads, for blame; let readers read zeros where the data leaves."""
        self.read = {name: self._unknown_atoms(tensor, self.labels[name]) for name, tensor in tensors.items()}
        self.silent = self._silent_atoms(op, tensors)
        reader = self.constants.readers.get(op.name)
        if reader is None:
            return {}
        data = tensors[reader.data]
        return {reader.data: data.index_fill(reader.axis, _leaving(reader.channels, self.gone, data), 0)}

    def after(self, op: Op, tensors: dict[str, Tensor]) -> None:
        """Blame the operation if anything unknown stays; then take it for known, so that each is blamed for itself."""
        for name, tensor in tensors.items():
            if not (tensor.is_floating_point() or tensor.is_complex()):
                if self.unknowns.unknown(tensor):
                    self._blame(op)
                    self.unknowns.hidden.clear()  # all of it is blamed already
                continue
            unknown = tensor.isnan()
            if not bool(unknown.any()):
                continue
            staying, equal = unknown.clone(), unknown.new_zeros(unknown.shape)
            for place, axis in enumerate(self.labels[name].axes):
                staying.index_fill_(place, _leaving(axis.atoms, self.gone, tensor), False)
                if axis.zero and axis.free:
                    zeros = self.constants.zeros[name][place] & self.gone[axis.atoms]
                    equal.index_fill_(place, _index(np.flatnonzero(zeros), tensor), True)  # zero in both networks
            if bool(staying.any()):
                self._blame(op)
            if 0 not in tensor.stride():
                tensor.masked_fill_(staying | (equal & unknown), 0)

    def _unknown_atoms(self, tensor: Tensor, labels: Labels) -> Array:
        """The leaving atoms along which something of a tensor is not known."""
        leaving = [axis.atoms[self.gone[axis.atoms]] for axis in labels.axes]
        if not any(len(atoms) for atoms in leaving) or not self.unknowns.unknown(tensor):
            return np.empty(0, np.int64)
        if not (tensor.is_floating_point() or tensor.is_complex()):
            return np.concatenate(leaving)
        lost, found = tensor.isnan(), []
        for place, axis in enumerate(labels.axes):
            others = [other for other in range(tensor.dim()) if other != place]
            some = ((lost.sum(others) if others else lost) > 0).cpu().numpy()
            found.append(axis.atoms[self.gone[axis.atoms] & some])
        return np.concatenate(found)

    def _silent_atoms(self, op: Op, tensors: dict[str, Tensor]) -> Array:
        found = [np.empty(0, np.int64)]
        for name in self._factors(op):
            labels = self.labels[name]
            found += [labels[place].atoms[zeros] for place, zeros in zero_indices(tensors[name], labels).items()]
        return np.concatenate(found)

    def _factors(self, op: Op) -> list[str]:
        """The values that an operation multiplies and sums over."""
        rule = self.runner.rules[op.kind] if op.kind in self.runner.rules else None  # noqa: SIM401 - see `unknowns`
        names = ATTENTION.get(op.kind) or (rule.contracts.factors if rule is not None and rule.contracts else ())
        if rule is None or not names:
            return []
        try:
            named = bind(op, rule.signature)
        except BindingError:
            return []
        return [named[name].name for name in names if isinstance(named.get(name), Ref)]

    def _blame(self, op: Op) -> None:
        """Take the narrowest of: what is unknown of a factor, or of any input, and not silenced; what leaves."""
        of, nothing = self.runner.coupling.solution.of, np.empty(0, np.int64)
        multiplied = np.concatenate([nothing, *(self.read[name] for name in self._factors(op))])
        unknown = np.concatenate([nothing, *self.read.values()])
        heard = [atoms[~np.isin(of[atoms], of[self.silent])] for atoms in (multiplied, unknown)]
        every = np.concatenate([nothing, *(axis.atoms for name in op.inputs for axis in self.labels[name].axes)])
        atoms = next((atoms for atoms in (*heard, unknown, every[self.gone[every]]) if len(atoms)), None)
        if atoms is None:
            self.nameless = True
        else:
            self.found[atoms] = True

    @contextmanager
    def forgotten(self) -> Iterator[None]:
        """Slices of parameters and buffers that leave, and are not zero, are unknown while the body runs."""
        saved: list[tuple[Tensor, Tensor]] = []
        try:
            for name, tensor in named_tensors(self.runner.model).items():
                axes = self.labels[name].axes if name in self.labels else ()
                if not any(self.gone[axis.atoms].any() for axis in axes):
                    continue
                saved.append((tensor, tensor.data.clone()))
                for place, axis in enumerate(axes):
                    index = _leaving(axis.atoms, self.gone, tensor)
                    part = tensor.data.index_select(place, index)
                    tensor.data.index_copy_(place, index, part.masked_fill(part != 0, float("nan")))
            yield
        finally:
            for tensor, data in saved:
                tensor.data.copy_(data)


def _leaving(atoms: Atoms, gone: Array, like: Tensor) -> Tensor:
    return _index(np.flatnonzero(gone[atoms]), like)


def _index(indices: Array, like: Tensor) -> Tensor:
    import torch

    return torch.from_numpy(indices).to(like.device)
