"""Drop filters: each filter is dropped at random, and what is kept is scaled so that its expectation stays.

    k ~ Bernoulli(1 - s) by filter; factor = k / (1 - s)

It is dropout (Srivastava et al., JMLR 2014) of filters by their weights, drawn anew at each call. Nothing leaves the
network. It is meant for masks of the forward only: a policy with `mask_on_forward_only`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from attrs import field, frozen

from secateur.config.validators import non_empty
from secateur.hookspecs import hookimpl
from secateur.pruning.base import Moment, Network, Pruner
from secateur.pruning.rate import RatedPruner
from secateur.pruning.spelling import Spelling
from secateur.pruning.weights import WeightPruner, by_weights
from secateur_pruners.ranked import FILTERS

if TYPE_CHECKING:
    from torch import Tensor


@frozen(kw_only=True)
class BernoulliPruner(WeightPruner, RatedPruner):
    """Drops each filter of the `weights` with a probability, the share, and scales the others by 1 / (1 - share)."""

    name: ClassVar[str] = "bernoulli"
    drops: ClassVar[bool] = True
    summary: ClassVar[str] = "filters dropped at random, the others scaled up (drop filter)"
    spellings: ClassVar[tuple[Spelling, ...]] = tuple(
        Spelling(
            name=f"BernoulliFilterPruner{ending}",
            keys={**keys},
            ignored={"group_type": "it drops filters"},
            when={"group_type": frozenset(FILTERS)},
        )
        for ending, keys in (("", {"desired_sparsity": "sparsity"}), ("_AGP", {}))
    )

    weights: str | list[str] = field(validator=non_empty)

    def __attrs_post_init__(self) -> None:
        RatedPruner.__attrs_post_init__(self)

    @property
    def patterns(self) -> Mapping[str, None]:
        """Nothing is told about any weight."""
        return by_weights(self.weights, None)

    def refusal(self, tensor: Tensor) -> str:
        """It must have filters."""
        return "" if tensor.dim() > 1 else f"its shape {tuple(tensor.shape)} has no filters"

    def keep(self, network: Network, moment: Moment, name: str, value: Any) -> Tensor:
        """The factor of a weight, shape (filters, 1, ...), of its dtype."""
        import torch

        tensor, stays = network.parameters[name], 1 - self.share(moment)
        kept = torch.rand(tensor.shape[0], generator=network.generator, dtype=torch.float64) < stays
        factor = kept.to(torch.float64) / stays if stays else kept.to(torch.float64)
        return factor.to(tensor.device, tensor.dtype).reshape(-1, *[1] * (tensor.dim() - 1))


@hookimpl
def secateur_pruners() -> list[type[Pruner]]:
    """Provide "bernoulli"."""
    return [BernoulliPruner]
