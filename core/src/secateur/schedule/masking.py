"""What the policies of a schedule mask together: the units they let leave, and the factors within parameters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from secateur.pruning.base import Array
from secateur.pruning.masks import Cuts, Masks, joined, unit_factors
from secateur.schedule.network import LiveNetwork
from secateur.schedule.running import PolicyRun, united
from secateur.thinning.planner import spare


class Masking:
    """The masks that hold, and those of the policies that mask in the forward only."""

    def __init__(self, network: LiveNetwork, runs: Sequence[PolicyRun]) -> None:
        self.network, self.runs = network, runs
        self._held = Masks({}, {})

    def hold(self) -> None:
        """Mask again what the optimizer moved."""
        self._held.apply()

    def mask_gradients(self) -> None:
        """Set the gradients of what is masked to zero."""
        self._held.apply_to_gradients()

    @property
    def anything(self) -> bool:
        """Whether any policy masks any unit or weight, in the forward only or always."""
        return any(run.decision.factors or any(map(len, run.units().values())) for run in self.runs)

    def make(self) -> None:
        """Make masks of what was decided, and apply those that hold."""
        parameters, tensors = self.network.parameters, self.network.tensors
        unmasked = frozenset(self.network.coupling.labelling.facts.unmasked)
        held = [run for run in self.runs if not run.forward]
        cuts = self._cuts([run for run in held if run.decision.whole])
        factors = [unit_factors(parameters, cuts, unmasked), *(run.factors(self.network) for run in held)]
        self._held = Masks(parameters, joined(factors))
        self._held.apply()
        moved = {n: t for n, t in tensors.items() if n not in parameters and t.is_floating_point()}
        Masks(moved, unit_factors(moved, cuts, unmasked)).apply()  # buffers: zero once is zero from then on
        for run in self.runs:
            if run.forward:
                run.mask_forward(self.network, self._cuts([run]) if run.decision.whole else {})

    def leaving(self, runs: Sequence[PolicyRun]) -> list[Array]:
        """The units of each dim that some policies let leave, sorted; something of every axis stays."""
        dims = self.network.coupling.dims
        found = united(runs, [len(dim) for dim in dims])
        for dim, units in enumerate(found):
            if len(units) == len(dims[dim]):  # between them, several pruners took all
                found[dim] = np.delete(units, np.argmax(self._worth(dim)))
        return spare(self.network.coupling, found, self._worth)

    def share(self, runs: Sequence[PolicyRun]) -> float:
        """The share of all units, as there were when the schedule began, that is masked by some policies or gone."""
        dims, original = self.network.coupling.dims, self.network.original
        total = sum(original.values())
        now = {dim.name: len(dim) - len(gone) for dim, gone in zip(dims, self.leaving(runs), strict=True)}
        left = sum(now.get(name, 1) for name in original)  # a dim of one unit is no dim any more
        return 1 - left / total if total else 0.0

    def _worth(self, dim: int) -> Array:
        """The scores by which units of a dim are spared: by the criterion of the last pruner that decided over it."""
        for run in reversed(self.runs):
            criterion = getattr(run.instance, "criterion", None)
            if dim in run.units() and criterion is not None and run.view.collector is None:
                return run.view.scores(dim, criterion)
        return np.zeros(len(self.network.coupling.dims[dim]))

    def _cuts(self, runs: Sequence[PolicyRun]) -> Cuts:
        """The slices that the units of some policies are."""
        if not any(run.units() for run in runs):
            return {}
        dims = self.network.coupling.dims
        classes = [dim.classes[units] for dim, units in zip(dims, self.leaving(runs), strict=True)]
        return self.network.coupling.leaving(np.concatenate([np.empty(0, np.int64), *classes])).cuts()
