"""Check, on the whole graph, that nothing which stays depends on what is about to leave.

The network is run with everything unknown (NaN) that differs between it and its masked copy: the slices that leave,
unless they are zero. Readers get zeros for the channels that leave, since those are silenced or folded. If nothing that
stays becomes unknown at any operation, both compute the same, whatever their inputs are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from secateur.coupling.labels import Atoms, Labels
from secateur.graph.ir import Op
from secateur.thinning.state import named_tensors
from secateur.zeros.forward import Runner
from secateur.zeros.readers import Reader
from secateur.zeros.unknowns import Unknowns

if TYPE_CHECKING:
    from torch import Tensor

Array = np.ndarray[Any, Any]


def dependent(runner: Runner, readers: Mapping[str, Reader], gone: Array) -> Atoms | None:
    """The leaving atoms of operations that let something that stays depend on them; none if all is well.

    `gone`: which atoms leave, bool, shape (atoms,). None stands for all of them: it cannot be told which.
    """
    coupling = runner.coupling
    labels = coupling.labelling.labels
    unknowns = Unknowns(runner.rules, random=False)
    found = np.zeros_like(gone)
    nameless = False

    def blame(op: Op) -> None:
        nonlocal nameless
        atoms = np.concatenate([axis.atoms for name in op.inputs for axis in labels[name].axes] or [np.empty(0, int)])
        atoms = atoms[gone[atoms]]
        nameless |= not len(atoms)
        found[atoms] = True

    def before(op: Op, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        reader = readers.get(op.name)
        if reader is None:
            return {}
        data = tensors[reader.data]
        return {reader.data: data.index_fill(reader.axis, _leaving(reader.channels, gone, data), 0)}

    def after(op: Op, tensors: dict[str, Tensor]) -> None:
        for name, tensor in tensors.items():
            if not (tensor.is_floating_point() or tensor.is_complex()):
                if unknowns.unknown(tensor):
                    blame(op)
                    unknowns.hidden.clear()  # all of it is blamed already
                continue
            lost = tensor.isnan()
            if not bool(lost.any()):
                continue
            for axis, labelled in enumerate(labels[name].axes):
                if labelled.free:
                    lost.index_fill_(axis, _leaving(labelled.atoms, gone, tensor), False)
            if bool(lost.any()):
                blame(op)
                tensor.masked_fill_(lost, 0)

    with _forgotten(runner, labels, gone):
        runner.run(unknowns, unknown_inputs=False, before=before, after=after)
    return None if nameless else np.flatnonzero(found)


@contextmanager
def _forgotten(runner: Runner, labels: Mapping[str, Labels], gone: Array) -> Iterator[None]:
    """Slices of parameters and buffers that leave, and are not zero, are unknown while the body runs."""
    saved: list[tuple[Tensor, Tensor]] = []
    try:
        for name, tensor in named_tensors(runner.model).items():
            axes = labels[name].axes if name in labels else ()
            if not any(gone[axis.atoms].any() for axis in axes):
                continue
            saved.append((tensor, tensor.data.clone()))
            for place, axis in enumerate(axes):
                index = _leaving(axis.atoms, gone, tensor)
                part = tensor.data.index_select(place, index)
                tensor.data.index_copy_(place, index, part.masked_fill(part != 0, float("nan")))
        yield
    finally:
        for tensor, data in saved:
            tensor.data.copy_(data)


def _leaving(atoms: Atoms, gone: Array, like: Tensor) -> Tensor:
    import torch

    return torch.from_numpy(np.flatnonzero(gone[atoms])).to(like.device)
