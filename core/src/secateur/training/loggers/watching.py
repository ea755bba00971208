"""What loggers are told of a network between two epochs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from secateur.training.loggers.base import DimLog, TensorLog

if TYPE_CHECKING:
    from secateur.schedule.scheduler import Scheduler


def tensors_of(scheduler: Scheduler) -> list[TensorLog]:
    """The weights (parameters of two axes or more), as they are masked."""
    import torch

    found = []
    with scheduler.masked(), torch.no_grad():
        for name, tensor in scheduler.network.parameters.items():
            if tensor.dim() > 1:
                found.append(TensorLog(name, tensor.numel(), tensor.numel() - int(torch.count_nonzero(tensor))))
    return found


def dims_of(scheduler: Scheduler) -> list[DimLog]:
    """The dims there were when the schedule began; one that came down to a single unit is no dim any more."""
    now = {dim.name: (len(dim), len(leaving)) for dim, leaving in zip(scheduler.dims, scheduler.leaving, strict=True)}
    return [DimLog(name, size, *now.get(name, (1, 0))) for name, size in scheduler.original.items()]
