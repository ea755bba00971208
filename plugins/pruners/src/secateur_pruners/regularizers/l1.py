"""L1 regularization of weights: strength * sum |w|, and what it has made small is masked.

Tibshirani, "Regression Shrinkage and Selection via the Lasso", 1996; with `threshold_criteria` weights of |w| <=
strength are zero after each step, as in soft thresholding.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from attrs import field, frozen, validators

from secateur.config.validators import non_negative
from secateur.hookspecs import hookimpl
from secateur.pruning.base import Decision, Moment, Network
from secateur.pruning.regularizer import Regularizer
from secateur.pruning.spelling import Spelling
from secateur_pruners.regularizers.groups import DISTILLERS_CRITERIA, Criterion
from secateur_pruners.regularizers.regims import RegimRegularizer, strengths

if TYPE_CHECKING:
    from torch import Tensor


@frozen(kw_only=True)
class L1Regularizer(RegimRegularizer[float]):
    """Adds strength * sum |w| over each parameter named in `reg_regims`: {name or glob: strength}.

    `threshold_criteria`: any; elements are masked while |w| <= `threshold`, by default the parameter's strength.
    """

    name: ClassVar[str] = "l1"
    summary: ClassVar[str] = "sum of absolute weights, by parameter"
    spellings: ClassVar[tuple[Spelling, ...]] = (
        Spelling(name="L1Regularizer", values={"threshold_criteria": DISTILLERS_CRITERIA}),
    )

    reg_regims: dict[str, float] = field(validator=strengths)
    threshold_criteria: Criterion | None = None
    threshold: float | None = field(default=None, validator=validators.optional(non_negative))

    @property
    def regims(self) -> Mapping[str, float]:
        """`reg_regims`."""
        return self.reg_regims

    def penalty(self, weight: Tensor, regim: float) -> Tensor:
        """Strength * sum |w|."""
        return regim * weight.abs().sum()

    def decide(self, network: Network, moment: Moment) -> Decision | None:
        """Mask the elements that are not above the threshold."""
        if self.threshold_criteria is None:
            return None
        factors = {}
        for name, strength in self.by_parameter(network).items():
            threshold = strength if self.threshold is None else self.threshold
            factors[name] = network.parameters[name].detach().abs() > threshold
        return Decision(factors=factors)


@hookimpl
def secateur_regularizers() -> list[type[Regularizer]]:
    """Provide "l1"."""
    return [L1Regularizer]
