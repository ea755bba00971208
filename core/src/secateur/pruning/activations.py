"""Collectors of activations: what the modules that read the units of a dim are given, summed up by unit.

Activations are looked at where they are read: a hook before each convolution (of one group) and each linear layer that
reads the units sees them after batch norm and nonlinearity, whatever the forward does.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from secateur.errors import PlanError
from secateur.pruning.collecting import Array, Collector
from secateur.pruning.members import Member

if TYPE_CHECKING:
    from torch import Tensor, nn


class ActivationCollector(Collector):
    """Sums up a pointwise `measure` of the activations, by channel of each reading module; scores are its means."""

    def __init__(self) -> None:
        self._handles: list[Any] = []
        self._readers: dict[int, dict[str, Array]] = {}
        self._totals: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}
        self._seen = 0

    @abstractmethod
    def measure(self, values: Tensor) -> Tensor:
        """What is summed up, of the shape of the activations."""

    def score(self, means: Array) -> Array:
        """The scores, from the means of the measure by unit: the lowest leave first."""
        return means

    def attach(self, model: nn.Module, dims: Mapping[int, Sequence[Member]]) -> None:
        """Put a hook before every module that reads the units; `PlanError` if none reads those of a dim."""
        self.detach()
        readers = {dim: _reading(model, members) for dim, members in dims.items()}
        self._readers = {dim: {m.name: m.indices for m in found} for dim, found in readers.items()}
        for name in dict.fromkeys(name for found in self._readers.values() for name in found):
            module = model.get_submodule(name.rpartition(".")[0])
            self._handles.append(module.register_forward_pre_hook(self._hook(name, module)))
        self._handles.append(model.register_forward_pre_hook(self._count))

    def detach(self) -> None:
        """Take the hooks out."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    @property
    def seen(self) -> int:
        """The number of forwards of the model."""
        return self._seen

    def scores(self, dim: int, members: Sequence[Member]) -> Array:
        """Means over all that the given members read; over all that is read of the dim, if none of them reads."""
        readers = self._readers.get(dim, {})
        chosen = {m.name for m in members if m.reads and m.name in readers} or set(readers)
        means = [self._means(name, readers[name]) for name in readers if name in chosen and self._counts.get(name)]
        if not means:
            raise PlanError(
                "no mini-batch came to the modules that read its units",
                where=members[0].name if members else f"dim {dim}",
                hint="prune it by a criterion of weights",
            )
        return self.score(np.mean(means, axis=0))

    def reset(self) -> None:
        """Forget all sums."""
        self._totals, self._counts, self._seen = {}, {}, 0

    def state(self) -> dict[str, Tensor]:
        """The sums by channel, the number of values summed up in each, and the number of forwards."""
        import torch

        found = {f"total:{name}": total.clone() for name, total in self._totals.items()}
        found |= {f"count:{name}": torch.tensor(count) for name, count in self._counts.items()}
        return {**found, "seen": torch.tensor(self._seen)}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take over sums."""
        self._totals = {k.removeprefix("total:"): t.clone() for k, t in state.items() if k.startswith("total:")}
        self._counts = {k.removeprefix("count:"): int(t) for k, t in state.items() if k.startswith("count:")}
        self._seen = int(state["seen"]) if "seen" in state else 0

    def _means(self, name: str, indices: Array) -> Array:
        sums: Array = self._totals[name].numpy()[indices].sum(axis=1)
        means: Array = sums / (self._counts[name] * indices.shape[1])
        return means

    def _count(self, module: nn.Module, args: Any) -> None:
        self._seen += 1

    def _hook(self, name: str, module: nn.Module) -> Any:
        behind = module.weight.dim() - 2  # type: ignore[operator] # axes of the input behind the channels

        def look(module: nn.Module, args: tuple[Any, ...]) -> None:
            import torch

            if not args:
                return
            with torch.no_grad():
                values = args[0].detach()
                axis = values.dim() - 1 - behind
                measured, others = self.measure(values), [at for at in range(values.dim()) if at != axis]
                wide = torch.float64 if measured.dtype == torch.float64 else torch.float32
                wide = wide if measured.is_floating_point() else torch.int64
                total = (measured.sum(others, dtype=wide) if others else measured).to("cpu", torch.float64)
            self._totals[name] = self._totals[name] + total if name in self._totals else total
            self._counts[name] = self._counts.get(name, 0) + values.numel() // values.shape[axis]

        return look


def _reading(model: nn.Module, members: Sequence[Member]) -> list[Member]:
    """The members that are the weights of modules whose input's channels are the units."""
    found = [member for member in members if member.reads and member.axis == 1 and _reads_channels(model, member.name)]
    if not found:
        raise PlanError(
            "no convolution of one group and no linear layer reads its units, so their activations cannot be seen",
            where=members[0].name if members else "criterion",
            hint="prune it by a criterion of weights",
        )
    return found


def _reads_channels(model: nn.Module, name: str) -> bool:
    from torch import nn

    path, _, last = name.rpartition(".")
    module = model.get_submodule(path)
    if last != "weight" or isinstance(module, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d):
        return False
    return isinstance(module, nn.Linear) or (
        isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d) and module.groups == 1
    )
