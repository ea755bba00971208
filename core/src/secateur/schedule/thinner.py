"""The thinning event of a schedule: what is masked leaves the network."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from attrs import frozen

from secateur.errors import ConfigError
from secateur.thinning.optimizer import unfollowed

if TYPE_CHECKING:
    from torch.optim import Optimizer


@frozen(kw_only=True)
class Thinner:
    """Removes all masked units at the first mini-batch of its epochs, after the epoch's masks were made.

    `thinning_func_str`, `arch` and `dataset` are accepted for old schedules and mean nothing: the graph is derived
    from the model at hand.
    """

    name: ClassVar[str] = "thinner"
    aliases: ClassVar[tuple[str, ...]] = ("StructureRemover", "FilterRemover", "ChannelRemover")

    verify: bool = True
    thinning_func_str: Literal["remove_filters", "remove_channels", "contract_model"] | None = None
    arch: str | None = None
    dataset: str | None = None


def check_optimizer(optimizer: Optimizer, where: str) -> None:
    """Say now, not hours later, that the optimizer could not be thinned along; `where`: the policy that thins."""
    if reason := unfollowed(optimizer):
        raise ConfigError(
            f"the network cannot be thinned while it trains with {type(optimizer).__name__}, which {reason}",
            where=where,
            hint="train with another optimizer, or thin after training",
        )
