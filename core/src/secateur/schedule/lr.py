"""Learning-rate schedulers by their class names in `torch.optim.lr_scheduler`."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attrs import frozen

from secateur.errors import suggestion

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler


@frozen
class LRPolicy:
    """A learning-rate scheduler to be made when the optimizer is known."""

    class_name: str
    arguments: Mapping[str, Any]

    def check(self, optimizer: Optimizer) -> None:
        """Raise `ValueError` if the class refuses its arguments for such an optimizer, which is not touched."""
        twin = copy.copy(optimizer)
        twin.param_groups = [dict(group) for group in optimizer.param_groups]
        self.make(twin)

    def make(self, optimizer: Optimizer) -> LRScheduler:
        """Make the scheduler; a `ValueError` says what its class refuses."""
        try:
            made: LRScheduler = lr_classes()[self.class_name](optimizer, **self.arguments)
        except (TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"{self.class_name} refuses its arguments: {error}") from error
        return made


def lr_classes() -> dict[str, Any]:
    """The scheduler classes by name."""
    import torch.optim.lr_scheduler as module

    return {
        name: found
        for name, found in vars(module).items()
        if inspect.isclass(found) and issubclass(found, module.LRScheduler) and not name.startswith("_")
    }


def check_lr_class(name: str, arguments: Mapping[str, Any]) -> None:
    """Raise `ValueError` for an unknown class or arguments it does not take."""
    classes = lr_classes()
    if name not in classes:
        raise ValueError(f"no learning-rate scheduler named {name!r}; {suggestion(name, classes)}")
    try:
        inspect.signature(classes[name]).bind(None, **arguments)
    except TypeError as error:
        raise ValueError(f"{name}: {error}") from None
