"""What a pruner is: a frozen object that says, at a moment of the schedule, what shall be masked.

A pruner is an attrs class; its fields are the keys of its section in a schedule. It decides and changes nothing: the
scheduler makes masks of its decisions, applies them, and hands them to thinning.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from attrs import field, frozen

from secateur.pruning.spelling import Spelling

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Array = np.ndarray[Any, Any]
Place = tuple[str, int]
"""A parameter and one of its axes."""


@frozen(kw_only=True)
class Moment:
    """When a pruner is asked: `epoch` of a window that runs from `start` to `end` (exclusive), every `frequency`.

    `step`: the mini-batch of the epoch, 0 at its begin, of `steps`.
    """

    epoch: int
    start: int
    end: int
    frequency: int = 1
    step: int = 0
    steps: int = 1

    @property
    def last(self) -> int:
        """The last epoch of the window at which the pruner is asked."""
        return self.start + (self.end - self.start - 1) // self.frequency * self.frequency


class Network(Protocol):
    """What a pruner may look at: the dims and parameters of the network as it is now, and scores of units."""

    @property
    def dims(self) -> Sequence[Any]:
        """The dims; see `secateur.pruning.selection.NamedDim`."""

    @property
    def original(self) -> Mapping[str, int]:
        """The size each dim had before anything was thinned."""

    @property
    def thinned(self) -> bool:
        """Whether anything was thinned since the schedule began."""

    @property
    def staying(self) -> Mapping[str, str]:
        """What cannot be pruned, and why."""

    @property
    def parameters(self) -> Mapping[str, Tensor]:
        """The parameters themselves, by name; a tied one under its first name."""

    @property
    def memory(self) -> MutableMapping[str, float]:
        """Numbers that the pruner keeps from one decision to the next, by a name of its own; saved with the run."""

    @property
    def generator(self) -> torch.Generator:
        """Where random numbers come from, on the CPU; its state is saved with the run."""

    def resolve(self, pattern: str) -> Sequence[str]:
        """The names of the parameters that a name or glob means; see `secateur.pruning.naming.resolve`."""

    def factor(self, parameter: str) -> Tensor | None:
        """The factor that the pruner's last decision put on a parameter; None if there was none."""

    def scores(self, dim: int, criterion: str, places: Sequence[Place] | None = None) -> Array:
        """The scores of one dim's units by a criterion, shape (units,); `places`: only by these slices of them."""


@frozen(kw_only=True, eq=False)
class Decision:
    """What shall be masked from now on, until the same pruner decides otherwise.

    `units`: {position of a dim: its units that leave, sorted}; they also leave the network when it is thinned.
    `factors`: {name of a parameter: what multiplies it}, of its shape or one that broadcasts to it, bool (False is
    masked) or floating point; for what is masked within a parameter and does not leave.
    `whole`: whether units are masked in all that writes them. If not, only `factors` masks, until they leave.
    """

    units: Mapping[int, Array] = field(factory=dict)
    factors: Mapping[str, Tensor] = field(factory=dict)
    whole: bool = True


class Pruner(ABC):
    """Base class of all pruners. Subclasses are frozen attrs classes with a `name`."""

    name: ClassVar[str]
    spellings: ClassVar[tuple[Spelling, ...]] = ()
    drops: ClassVar[bool] = False
    """Whether it drops at random and scales what stays, as dropout does: it must be masked in the forward only, and the
    weights put back after each step."""
    summary: ClassVar[str] = ""

    @abstractmethod
    def decide(self, network: Network, moment: Moment) -> Decision:
        """Say what shall be masked from now on."""

    def check(self, window: Moment) -> None:
        """Raise `ValueError` if the pruner cannot work in a window of the schedule; most can work in any."""
        return

    def check_names(self, network: Network) -> None:
        """Raise `SecateurError` if something the pruner names is not in the network; called before training."""
        return
