"""What a regularizer is: a frozen object that adds to the loss, and may say what is small enough to be masked.

Like a pruner it is an attrs class of which the fields are the keys of its section, and it changes nothing itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from secateur.pruning.base import Decision, Moment, Network
from secateur.pruning.spelling import Spelling

if TYPE_CHECKING:
    from torch import Tensor


class Regularizer(ABC):
    """Base class of all regularizers. Subclasses are frozen attrs classes with a `name`."""

    name: ClassVar[str]
    spellings: ClassVar[tuple[Spelling, ...]] = ()
    summary: ClassVar[str] = ""

    @abstractmethod
    def loss(self, network: Network, moment: Moment) -> Tensor:
        """What is added to the loss at a mini-batch: a scalar that can be differentiated, of the parameters' device."""

    def decide(self, network: Network, moment: Moment) -> Decision | None:
        """Say, after each step of the optimizer, what is so small that it is masked; None if nothing ever is.

        It holds until the next step, and after the window if the policy says `keep_mask`.
        """
        return None

    def check(self, window: Moment) -> None:
        """Raise `ValueError` if it cannot work in a window of the schedule."""
        return

    def check_names(self, network: Network) -> None:
        """Raise `SecateurError` if something it names is not in the network; called before training."""
        return
