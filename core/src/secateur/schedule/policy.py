"""What a schedule is once it is read: policies, each an instance bound to epochs and to arguments."""

from __future__ import annotations

from typing import Any, Literal

from attrs import field, frozen

from secateur.config.validators import non_negative
from secateur.pruning.base import Pruner
from secateur.pruning.regularizer import Regularizer
from secateur.schedule.lr import LRPolicy
from secateur.schedule.thinner import Thinner
from secateur.schedule.window import Window

__all__ = ["Kind", "Policy", "PolicyArgs", "Schedule", "Window"]

Kind = Literal["pruner", "regularizer", "lr_scheduler", "extension"]


@frozen(kw_only=True)
class PolicyArgs:
    """What stands under `args`: how a policy masks, or how its epochs are counted.

    Pruners take all but `count_from`, regularizers only `keep_mask`, learning-rate schedulers only `count_from`.
    """

    mini_batch_pruning_frequency: int = field(default=0, validator=non_negative)
    """Decide anew at every so many mini-batches of a due epoch; 0: once, at its begin."""
    mask_on_forward_only: bool = False
    """Mask in forward and backward only, while the window lasts: the optimizer moves the masked weights too."""
    mask_gradients: bool = False
    """Mask the gradients too; with `mask_on_forward_only`."""
    use_double_copies: bool = False
    """With `mask_on_forward_only`: the optimizer steps from the weights as they were before they were masked."""
    discard_masks_at_minibatch_end: bool = False
    """Forget the masks at the end of each mini-batch."""
    keep_mask: bool = False
    """Keep the last masks when the window ends; pruners that mask all the time keep theirs in any case."""
    skip_first_minibatch: bool = False
    """Decide at the second mini-batch of an epoch instead of the first."""
    levels: Any | None = None
    """What replaces the `levels` of the pruner, for this policy."""
    fold_batchnorm: bool = False
    """Rank and mask the weights as they are with the following batch norm folded in."""

    count_from: Literal["start", "window"] = "start"
    """Whether a learning-rate scheduler counts epochs from the begin of training (as in Distiller) or of its window."""

    def __attrs_post_init__(self) -> None:
        if self.mask_gradients and not self.mask_on_forward_only:
            raise ValueError("mask_gradients needs mask_on_forward_only: true")


@frozen(kw_only=True, eq=False)
class Policy:
    """An instance bound to its epochs. `levels` of its `args` is in the instance already."""

    kind: Kind
    name: str
    instance: Pruner | Regularizer | LRPolicy | Thinner
    window: Window
    where: str
    args: PolicyArgs = field(factory=PolicyArgs)


@frozen(kw_only=True, eq=False)
class Schedule:
    """A schedule as read: its policies in order of declaration."""

    source: str
    policies: tuple[Policy, ...]
