"""Which rule an optimizer goes by: that of its class or nearest base, a plugin's before torch's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from secateur.plugins import current
from secateur.records import OptimizerRule
from secateur.thinning.optimizer.torch_rules import RULES

if TYPE_CHECKING:
    from torch.optim import Optimizer


def rule_of(optimizer: Optimizer) -> OptimizerRule | None:
    """The rule of an optimizer's class, or of the nearest base that has one; None if nobody knows it."""
    plugins = current().optimizer_rules
    known = {name: rule for rule in RULES for name in rule.types} | {name: plugins[name] for name in plugins}
    names = (f"{base.__module__}.{base.__qualname__}" for base in type(optimizer).__mro__)
    return next((known[name] for name in names if name in known), None)


def unfollowed(optimizer: Optimizer) -> str:
    """Why an optimizer may be refused when the network is thinned; empty if its steps and state follow any cut."""
    rule = rule_of(optimizer)
    return "" if rule is None or (rule.follows and rule.step_scale is None and not rule.whole) else rule.reason
