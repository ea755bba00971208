"""How much is pruned at a moment: a fixed share, or one that grows along the cubic curve of gradual pruning.

Zhu & Gupta, "To prune, or not to prune", 2017, equation 1:

    s(t) = s_f + (s_i - s_f) * (1 - (t - t_0) / span) ** 3

The span ends at the last epoch of the window at which the pruner is asked, so that it reaches s_f exactly there.
"""

from __future__ import annotations

from attrs import field, frozen, validators

from secateur.config.validators import in_range
from secateur.pruning.base import Moment, Pruner

_share = validators.optional(in_range(0, 1))


@frozen(kw_only=True)
class RatedPruner(Pruner):
    """Base of pruners that take a share: give `sparsity`, or `initial_sparsity` and `final_sparsity`, in [0, 1]."""

    sparsity: float | None = field(default=None, validator=_share)
    initial_sparsity: float | None = field(default=None, validator=_share)
    final_sparsity: float | None = field(default=None, validator=_share)

    def __attrs_post_init__(self) -> None:
        ends = (self.initial_sparsity, self.final_sparsity)
        if (self.sparsity is None) == (ends == (None, None)) or (self.sparsity is None and None in ends):
            raise ValueError("give either sparsity, or initial_sparsity and final_sparsity")

    @property
    def gradual(self) -> bool:
        """Whether the share grows over the window."""
        return self.sparsity is None

    def check(self, window: Moment) -> None:
        """A window with a single epoch cannot hold a curve."""
        if self.gradual and window.last == window.start:
            raise ValueError(
                f"{self.name} needs at least two epochs at which it prunes: widen the window or lower frequency"
            )

    def share(self, moment: Moment) -> float:
        """The share that is masked at a moment, in [0, 1]."""
        if self.sparsity is not None:
            return self.sparsity
        return gradual_share(self.initial_sparsity or 0.0, self.final_sparsity or 0.0, moment)


def gradual_share(initial: float, final: float, moment: Moment) -> float:
    """The share at a moment of a window, by the equation above.

    >>> [round(gradual_share(0.05, 0.7, Moment(epoch=e, start=2, end=20)), 6) for e in (2, 3, 10, 19)]
    [0.05, 0.158091, 0.603552, 0.7]
    """
    done = min((moment.epoch - moment.start) / max(moment.last - moment.start, 1), 1.0)
    return final + (initial - final) * (1 - done) ** 3
