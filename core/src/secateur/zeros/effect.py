"""By how much the outputs change if some units leave that are silenced, but not exactly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import frozen

from secateur.thinning.masking import zeroed
from secateur.thinning.plan import Plan
from secateur.thinning.silenced import Silenced
from secateur.thinning.verify import compare, float_dtype, outputs, telling
from secateur.zeros.forward import Runner
from secateur.zeros.liveness import Liveness

if TYPE_CHECKING:
    from torch import Tensor

Array = np.ndarray[Any, Any]


@frozen(eq=False)
class Effect:
    """Compares with what the model gives as it is, on its example inputs."""

    runner: Runner
    liveness: Liveness
    reference: list[Tensor]
    inputs: Any

    @classmethod
    def of(cls, runner: Runner, liveness: Liveness) -> Effect:
        """Run the model once."""
        inputs = telling(runner.inputs)
        return cls(runner, liveness, outputs(runner.model, inputs), inputs)

    def size(self, chosen: Array) -> float:
        """The largest change of an output, relative to the largest output, if the chosen classes leave."""
        model, coupling = self.runner.model, self.runner.coupling
        plan = Plan(
            dims=(),
            refusals=(),
            cuts=coupling.leaving(np.flatnonzero(chosen)).cuts(),
            attributes={},
            shapes={},
            unmasked=frozenset(coupling.labelling.facts.unmasked),
            silenced=Silenced(folds=self.liveness.folds(chosen)),
        )
        with zeroed(model, plan):
            return compare(self.reference, outputs(model, self.inputs), float_dtype(model)).relative
