"""The network that a schedule acts on: its dims as they are now, its parameters, and the scores of units."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from secateur.coupling.analysis import Coupling
from secateur.errors import PlanError
from secateur.graph.capture import normalise_inputs
from secateur.pruning.base import Array, Decision, Place
from secateur.pruning.collecting import Collector
from secateur.pruning.members import members_of
from secateur.pruning.naming import Names
from secateur.schedule.folding import folded_weights
from secateur.thinning.planner import couple, scorer
from secateur.thinning.state import named_parameters, named_tensors
from secateur.thinning.states import StateCuts

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


class LiveNetwork:
    """A model and what is known of it between two thinnings.

    `original`: the size each dim had when the schedule began; give it, and `thinned`, to go on with a network of which
    something left before.
    """

    def __init__(
        self,
        model: nn.Module,
        example_inputs: Any,
        builder: str = "trace",
        original: Mapping[str, int] | None = None,
        thinned: bool = False,
    ) -> None:
        self.model, self.inputs, self.builder = model, normalise_inputs(example_inputs), builder
        self.look()
        self.original = {dim.name: len(dim) for dim in self.coupling.dims} if original is None else dict(original)
        self.thinned = thinned

    def look(self, gone: Sequence[StateCuts] = ()) -> None:
        """Find the dims anew, after something left, also from the recurrent states among the example inputs."""
        for states in gone:
            self.inputs = states.cut_inputs(self.inputs)
        self.coupling: Coupling = couple(self.model, self.inputs, self.builder)
        self.parameters: Mapping[str, Tensor] = named_parameters(self.model)
        self.tensors: Mapping[str, Tensor] = named_tensors(self.model)
        self._names = self._all_names()
        self._known = Names(self._names)
        self.weights_changed()

    def weights_changed(self) -> None:
        """Forget what was computed from the weights."""
        self._scorers: dict[tuple[str, bool], Callable[[int, Sequence[Place] | None], Array]] = {}
        self._folded: Mapping[str, Tensor] | None = None

    def _all_names(self) -> dict[str, str]:
        """{every name of a parameter: the first one, under which it is known}."""
        first = {id(tensor): name for name, tensor in self.parameters.items()}
        return {n: first[id(p)] for n, p in self.model.named_parameters(remove_duplicate=False) if id(p) in first}

    def resolve(self, pattern: str) -> list[str]:
        """The parameters that a name or glob means; a tied one may go by any of its names."""
        return list(dict.fromkeys(self._names[name] for name in self._known.resolve(pattern)))

    def values(self, folded: bool) -> Mapping[str, Tensor]:
        """The parameters; `folded`: weights with the batch norm behind them folded in."""
        if not folded:
            return self.parameters
        if self._folded is None:
            self._folded = {**self.parameters, **folded_weights(self.coupling.graph, self.tensors)}
        return self._folded

    def scores(self, dim: int, criterion: str, places: Sequence[Place] | None, folded: bool) -> Array:
        """The scores of one dim's units by a criterion of weights."""
        if (criterion, folded) not in self._scorers:
            made = scorer(self.model, self.coupling, criterion, self.values(folded))
            self._scorers[criterion, folded] = made
        return self._scorers[criterion, folded](dim, places)


class View:
    """The network as the pruner or regularizer of one policy sees it; see `secateur.pruning.base.Network`."""

    def __init__(self, network: LiveNetwork, generator: torch.Generator, folded: bool = False) -> None:
        self.network, self.generator, self.folded = network, generator, folded
        self.memory: MutableMapping[str, float] = {}
        self.decision = Decision()
        self.collector: Collector | None = None

    @property
    def dims(self) -> Sequence[Any]:
        """The dims of the network as it is now."""
        return self.network.coupling.dims

    @property
    def original(self) -> Mapping[str, int]:
        """The size each dim had when the schedule began."""
        return self.network.original

    @property
    def thinned(self) -> bool:
        """Whether anything was thinned since the schedule began."""
        return self.network.thinned

    @property
    def staying(self) -> Mapping[str, str]:
        """What cannot be pruned, and why."""
        return self.network.coupling.staying

    @property
    def parameters(self) -> Mapping[str, Tensor]:
        """The parameters by name."""
        return self.network.values(self.folded)

    def resolve(self, pattern: str) -> Sequence[str]:
        """The names of the parameters that a name or glob means."""
        return self.network.resolve(pattern)

    def factor(self, parameter: str) -> Tensor | None:
        """The factor that the last decision put on a parameter."""
        return self.decision.factors.get(parameter)

    def scores(self, dim: int, criterion: str, places: Sequence[Place] | None = None) -> Array:
        """The scores of one dim's units, shape (units,)."""
        if self.collector is None:
            return self.network.scores(dim, criterion, places, self.folded)
        if not self.collector.seen:
            raise PlanError(f"the criterion {criterion!r} scores what mini-batches show, and none ran", where=criterion)
        units = self.dims[dim]
        slices = units.slices if places is None else {place: units.slices[place] for place in places}
        members = members_of(slices, units.readers, self.network.parameters)
        return np.asarray(self.collector.scores(dim, members), np.float64)
