"""The thinning event of a schedule: what is masked leaves the network."""

from __future__ import annotations

from typing import ClassVar, Literal

from attrs import frozen


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
