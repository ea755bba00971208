"""Calibration: run mini-batches through a model for criteria of activations and gradients, and leave no trace."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

from secateur.errors import PlanError
from secateur.pruning.members import members_of
from secateur.thinning.state import named_parameters

if TYPE_CHECKING:
    from torch import Tensor, nn

    from secateur.pruning.collecting import Collector


def calibration(
    loader: Iterable[Any], loss: Callable[[Any, Any], Tensor] | None = None, batches: int | None = None
) -> Callable[[nn.Module], None]:
    """Make a function that runs mini-batches of a loader through a model in eval mode, for `plan(calibrate=...)`.

    A mini-batch is a tensor, a mapping of keyword arguments, or a tuple or list of which the last entry are the targets
    and the others the model's arguments. With `loss`, called with the outputs and the targets (of a mapping: the
    mapping itself; of a lone tensor: None), a backward follows; criteria of gradients need it. `batches`: at most so
    many. Tensors are moved to the device of the model's parameters.
    """
    if batches is not None and (isinstance(batches, bool) or not isinstance(batches, int) or batches < 1):
        raise PlanError(f"expected a positive integer, got {batches!r}", where="batches")

    def calibrate(model: nn.Module) -> None:
        import torch
        from torch.utils import _pytree as pytree

        device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
        with restored(model):
            model.eval()
            for batch in islice(loader, batches):
                moved = pytree.tree_map(lambda x: x.to(device) if isinstance(x, torch.Tensor) else x, batch)
                args, kwargs, targets = _split(moved)
                with torch.set_grad_enabled(loss is not None):
                    outputs = model(*args, **kwargs)
                    if loss is not None:
                        torch.autograd.backward(loss(outputs, targets))
                model.zero_grad(set_to_none=True)

    return calibrate


def _split(batch: Any) -> tuple[Sequence[Any], Mapping[str, Any], Any]:
    """The arguments of the model, and the targets."""
    if isinstance(batch, Mapping):
        return (), batch, batch
    if isinstance(batch, tuple | list):
        if not batch:
            raise PlanError("the loader gave an empty mini-batch", where="calibration")
        return (batch, {}, None) if len(batch) == 1 else (batch[:-1], {}, batch[-1])
    return (batch,), {}, None


def calibrated(
    model: nn.Module,
    dims: Sequence[Any],
    asked: Sequence[int],
    collector: Collector,
    calibrate: Callable[[nn.Module], Any],
) -> Collector:
    """Let a collector gather about the `asked` dims, by position, while `calibrate` runs; the model is as it was then.

    Raises `PlanError` if the collector cannot look at one of them, or nothing ran that it could see.
    """
    import torch

    parameters = named_parameters(model)
    with restored(model), torch.enable_grad():
        try:
            collector.attach(model, {i: members_of(dims[i].slices, dims[i].readers, parameters) for i in asked})
            calibrate(model)
        finally:
            collector.detach()
    if asked and not collector.seen:
        raise PlanError(
            "it ran no mini-batch that the criterion could see",
            where="calibrate",
            hint="call the model it is given; gradients need a backward too: secateur.calibration(loader, loss)",
        )
    return collector


@contextmanager
def restored(model: nn.Module) -> Iterator[None]:
    """Give a model back its gradients, training flags and buffers after the body."""
    import torch

    parameters, buffers = list(model.parameters()), dict(model.named_buffers(remove_duplicate=False))
    gradients = [parameter.grad for parameter in parameters]
    kept = {name: buffer.detach().clone() for name, buffer in buffers.items()}
    flags = [(module, module.training) for module in model.modules()]
    for parameter in parameters:
        parameter.grad = None
    try:
        yield
    finally:
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        for module, training in flags:
            module.training = training
        for name, buffer in buffers.items():
            path, _, last = name.rpartition(".")
            model.get_submodule(path)._buffers[last] = buffer
            if not torch.equal(buffer, kept[name]):
                with torch.no_grad():
                    buffer.copy_(kept[name])
