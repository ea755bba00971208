"""Collectors: they gather what a criterion needs to know while mini-batches run through the network.

A criterion of weights looks at the parameters alone. One of activations or gradients names a collector, which puts
hooks into the model, adds up numbers by unit, and takes its hooks out again. The scheduler attaches it in the epochs
before its pruner is asked; `secateur.plan` attaches it while its `calibrate` runs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from secateur.pruning.members import Member

if TYPE_CHECKING:
    from torch import Tensor, nn

Array = np.ndarray[Any, Any]


class Collector(ABC):
    """Gathers numbers about the units of some dims; one object serves one network between two thinnings."""

    @abstractmethod
    def attach(self, model: nn.Module, dims: Mapping[int, Sequence[Member]]) -> None:
        """Put hooks in. `dims`: {position of a dim: its members}.

        Raises `PlanError` if it cannot look at one of them, naming the dim's first member.
        """

    @abstractmethod
    def detach(self) -> None:
        """Take all hooks out; what was gathered stays. Calling it twice is fine."""

    @property
    @abstractmethod
    def seen(self) -> int:
        """The number of mini-batches gathered since the last `reset`."""

    @abstractmethod
    def scores(self, dim: int, members: Sequence[Member]) -> Array:
        """The scores of a dim's units by some of its members, shape (units,), float64, from what was gathered."""

    @abstractmethod
    def reset(self) -> None:
        """Forget what was gathered."""

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """What was gathered, as tensors by name; saved with the run."""

    @abstractmethod
    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take over what another one gathered for the same network; `attach` comes first."""
