"""What `torch.export` is given in place of a model: tensors in, tensors out, and everything watched in between."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.utils import _pytree as pytree

from secateur.graph.nested import tensors_in
from secateur_builders.export_sizes import SizeWatcher


class Watched(nn.Module):
    """Calls a model with its example inputs, in which the tensors it is given take the place of the tensors.

    It returns the tensors within the model's result, and after them the tensors whose sizes the model read, which would
    be dropped from the graph as dead code otherwise.
    """

    def __init__(
        self, model: nn.Module, watcher: SizeWatcher, leaves: list[Any], structure: Any, keywords: bool
    ) -> None:
        super().__init__()
        self.model = model
        self._held = (watcher, leaves, structure, keywords)

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Run the model, watched."""
        watcher, leaves, structure, keywords = self._held
        given = iter(tensors)
        filled = [next(given) if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        inputs = pytree.tree_unflatten(filled, structure)
        with watcher.watching():
            result = self.model(**inputs) if keywords else self.model(*inputs)
        found, watcher.opaque = tensors_in(result)
        watcher.outputs = len(found)
        return (*found, *watcher.measured.values())
