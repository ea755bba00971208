"""Find what a network computes whatever its inputs are: run it with inputs of which nothing is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import define, field

from secateur.coupling.labels import Labels
from secateur.coupling.site import plain
from secateur.graph.ir import Op
from secateur.zeros.forward import Runner
from secateur.zeros.readers import Reader, reader_of, summary
from secateur.zeros.unknowns import Unknowns

if TYPE_CHECKING:
    from torch import Tensor


Array = np.ndarray[Any, Any]


@define(eq=False)
class Constants:
    """What is known of a network: its readers, by the names of their operations in execution order, with the constants
    they read; and of every activation, along which indices of which axis it is zero throughout."""

    readers: dict[str, Reader] = field(factory=dict)
    zeros: dict[str, dict[int, Array]] = field(factory=dict)


def find_constants(runner: Runner) -> Constants:
    """Run a network on unknown inputs; raises `NotFollowedError` if it hides what depends on what."""
    coupling, rules = runner.coupling, runner.rules
    graph, labels = coupling.graph, coupling.labelling.labels
    constants = Constants()
    readers = constants.readers

    def before(op: Op, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        found = reader_of(op, graph, labels, rules, tensors)
        if found is not None:
            readers[op.name] = found
        return {}

    def after(op: Op, tensors: dict[str, Tensor]) -> None:
        made = tensors[op.outputs[0]]
        for name, tensor in tensors.items():
            constants.zeros[name] = zero_indices(tensor, labels[name])
        if op.name in readers and readers[op.name].bordered:
            _distrust_borders(readers[op.name], made)
        elif op.kind.startswith("avg_pool") and _padded(op):
            made[made != 0] = float("nan")

    runner.run(Unknowns(rules), unknown_inputs=True, before=before, after=after)
    return constants


def zero_indices(tensor: Tensor, labels: Labels) -> dict[int, Array]:
    """{axis whose indices may leave: along which of them the tensor is zero throughout}."""
    found = {}
    for place, axis in enumerate(labels.axes):
        if axis.free:
            others = [other for other in range(tensor.dim()) if other != place]
            some = (tensor != 0).sum(others) if others else tensor != 0
            found[place] = (some == 0).cpu().numpy()
    return found


def _distrust_borders(reader: Reader, made: Tensor) -> None:
    """Constants that meet a border may look uniform in a small result, and would not in a larger one: unknown."""
    import torch

    live, uniform, _ = summary(made, reader.axis)
    groups, _, inputs = reader.summed.shape
    constants = ~reader.live & ((reader.value != 0) | ~reader.uniform)
    reads = (reader.nonzero & constants.reshape(groups, 1, inputs)).any(-1).reshape(-1)
    wrong = torch.from_numpy(np.flatnonzero(reads & ~live & uniform)).to(made.device)
    made.index_fill_(made.dim() + reader.axis, wrong, float("nan"))


def _padded(op: Op) -> bool:
    padding = plain(op.kwargs.get("padding", op.args[3] if len(op.args) > 3 else 0))
    return bool(np.any(padding))


__all__ = ["Constants", "find_constants", "zero_indices"]
