"""Remember a model and what trains it as they are, to put them back exactly if loading fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

from secateur.checkpoint.parts import Parts
from secateur.thinning.state import named_tensors

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer


class Snapshot:
    """What a model, an optimizer and the parts beside hold: tensors with their values, gradients, attributes, state.

    It takes as much memory as the model's tensors, for as long as it lives.
    """

    def __init__(self, model: nn.Module, optimizer: Optimizer | None, parts: Parts) -> None:
        self._tensors = [
            (tensor, tensor.data, tensor.data.clone(), tensor.grad if tensor.is_leaf else None)
            for tensor in named_tensors(model).values()
        ]
        self._modules = [
            (module, dict(module.__dict__), dict(module._parameters), dict(module._buffers))
            for module in model.modules()
        ]
        self._optimizer = (optimizer, dict(optimizer.__dict__)) if optimizer is not None else None
        self._restore_parts = parts.remember()

    def restore(self) -> None:
        """Put everything back."""
        import torch

        for module, attributes, parameters, buffers in self._modules:
            module.__dict__.clear()
            module.__dict__.update(attributes)
            module._parameters.clear()
            module._parameters.update(parameters)
            module._buffers.clear()
            module._buffers.update(buffers)
        for tensor, data, values, grad in self._tensors:
            if tensor.is_leaf:
                tensor.grad = None
            tensor.data = data
            if not torch.equal(data, values):
                tensor.data.copy_(values)
            if grad is not None:
                tensor.grad = grad
        if self._optimizer is not None:
            optimizer, held = self._optimizer
            optimizer.__dict__.clear()
            optimizer.__dict__.update(held)
        self._restore_parts()
