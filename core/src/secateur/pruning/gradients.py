"""Collectors of gradients: how much the loss would change without a unit, from weights and their gradients.

A hook on each parameter sees its gradient in every backward, before it is added to `.grad`: gradients that a training
loop accumulates over several backwards count by backward.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from secateur.errors import PlanError
from secateur.pruning.base import Place
from secateur.pruning.collecting import Array, Collector
from secateur.pruning.members import Member, axis_sums, filters

if TYPE_CHECKING:
    from torch import Tensor, nn


class GradientCollector(Collector):
    """Calls `add` after each backward with the sums over each unit of a function of weight times gradient."""

    def __init__(self) -> None:
        self._handles: list[Any] = []
        self._members: dict[int, list[Member]] = {}
        self._pending: dict[Place, Tensor] = {}
        self._seen = 0
        self.gathered: dict[str, Tensor] = {}

    @abstractmethod
    def element(self, product: Tensor) -> Tensor:
        """What is summed over a unit, from weight times gradient; pointwise."""

    @abstractmethod
    def add(self, dim: int, sums: Array) -> None:
        """Take in one backward: `sums` of shape (members of the dim, units)."""

    @abstractmethod
    def total(self, dim: int, chosen: Sequence[int]) -> Array:
        """What was taken in of some of the dim's members, by position: a sum over backwards, shape (units,)."""

    def attach(self, model: nn.Module, dims: Mapping[int, Sequence[Member]]) -> None:
        """Put a hook on all weights of the dims; `PlanError` if no gradient of one will be computed."""
        self.detach()
        self._members = {dim: _trained(members) for dim, members in dims.items()}
        axes: dict[str, set[int]] = {}
        tensors: dict[str, Tensor] = {}
        for member in (member for members in self._members.values() for member in members):
            axes.setdefault(member.name, set()).add(member.axis)
            tensors[member.name] = member.tensor
        for name, tensor in tensors.items():
            register: Any = tensor.register_hook
            self._handles.append(register(self._hook(name, tensor, sorted(axes[name]))))

    def detach(self) -> None:
        """Take the hooks out."""
        self._flush()
        for handle in self._handles:
            handle.remove()
        self._handles = []

    @property
    def seen(self) -> int:
        """The number of backwards."""
        self._flush()
        return self._seen

    def scores(self, dim: int, members: Sequence[Member]) -> Array:
        """The mean over backwards, over the weights among the members that write the units, else over all."""
        self._flush()
        places = {(member.name, member.axis): i for i, member in enumerate(self._members.get(dim, []))}
        chosen = [m for m in filters(list(members)) if (m.name, m.axis) in places]
        chosen = chosen or [m for m in members if (m.name, m.axis) in places]
        if not chosen or not self._seen:
            raise PlanError(
                "no gradients of it were seen" if chosen else "gradients are looked at of weights, and it is none",
                where=members[0].name if members else f"dim {dim}",
                hint="let mini-batches run through the network, with a backward" if chosen else "",
            )
        return self.total(dim, [places[m.name, m.axis] for m in chosen]) / self._seen

    def reset(self) -> None:
        """Forget what was taken in."""
        self._pending, self.gathered, self._seen = {}, {}, 0

    def state(self) -> dict[str, Tensor]:
        """What was taken in by dim, and the number of backwards."""
        import torch

        self._flush()
        return {**{name: held.clone() for name, held in self.gathered.items()}, "seen": torch.tensor(self._seen)}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take it over."""
        self.gathered = {name: held.clone() for name, held in state.items() if name != "seen"}
        self._seen, self._pending = int(state.get("seen", 0)), {}

    def _hook(self, name: str, tensor: Tensor, axes: Sequence[int]) -> Any:
        def look(gradient: Tensor) -> None:
            if (name, axes[0]) in self._pending:  # its second gradient: another backward
                self._flush()
            product = tensor.detach() * gradient.detach()
            for axis in axes:
                self._pending[name, axis] = axis_sums(product, axis, self.element)

        return look

    def _flush(self) -> None:
        """Take in the backward that is over."""
        if not self._pending:
            return
        pending, self._pending = self._pending, {}
        self._seen += 1
        for dim, members in self._members.items():
            sums = np.zeros((len(members), len(members[0])))
            for row, member in zip(sums, members, strict=True):
                if (found := pending.get((member.name, member.axis))) is not None:
                    row[:] = found.numpy()[member.indices].sum(axis=1)
            self.add(dim, sums)


def _trained(members: Sequence[Member]) -> list[Member]:
    """The weights, else all, of which gradients are computed."""
    weights = [member for member in members if member.tensor.dim() > 1] or list(members)
    found = [member for member in weights if member.tensor.requires_grad]
    if not found:
        raise PlanError(
            "no gradients of it are computed (requires_grad is False)",
            where=members[0].name if members else "criterion",
            hint="prune it by a criterion of weights",
        )
    return found
