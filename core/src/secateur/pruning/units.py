"""Pruners of units: rank the units of some dims and mask a share of the lowest."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from attrs import field, frozen

from secateur.config.validators import positive
from secateur.pruning.base import Array, Decision, Moment, Network
from secateur.pruning.isomorphic import isomorphic_groups
from secateur.pruning.members import members_of
from secateur.pruning.rate import RatedPruner
from secateur.pruning.selection import Scope, select_counts
from secateur.pruning.targets import Structure, Target, by_dims, by_weights

if TYPE_CHECKING:
    from torch import Tensor

LEAST = 1e-300
RANDOM = "random"
"""The criterion that is drawn from the network's own random numbers, once in a run."""


@frozen(kw_only=True)
class UnitPruner(RatedPruner):
    """Ranks the units of some dims by a criterion and masks a share of the lowest.

    It prunes either `dims`, globs over dim or parameter names, by all that lies in them; or the `structure` of
    `weights`, names or globs of parameters: their filters (axis 0) or channels (axis 1). Weights whose structures are
    coupled share one decision, over all of them, or over the first listed only with `group_dependency` "Leader".
    Neither: all dims.

    `int(share * size)` units leave: of the present size with `sparsity`, of the size before anything was thinned with
    `initial_sparsity` and `final_sparsity`. How many leave is rounded down to a multiple of `group_size`, what stays is
    rounded up to a multiple of `round_to`; at least `minimum` units of a dim stay. `scope`: see `select_counts`.
    `mask`: "units" masks all that writes a unit, "weight" only the listed weights.
    """

    dims: str | list[str] | None = None
    weights: str | list[str] | None = None
    structure: Structure = "filters"
    group_dependency: Literal["Leader"] | None = None
    criterion: str = "l1"
    scope: Scope = "local"
    round_to: int = field(default=1, validator=positive)
    group_size: int = field(default=1, validator=positive)
    minimum: int = field(default=1, validator=positive)
    mask: Literal["units", "weight"] = "units"

    def __attrs_post_init__(self) -> None:
        self.check_shares()
        if self.dims is not None and self.weights is not None:
            raise ValueError("give either dims or weights, not both")
        for key, patterns in (("dims", self.dims), ("weights", self.weights)):
            if patterns is not None and not patterns:
                raise ValueError(f"{key} must not be empty: name what is pruned, or leave the key out for all dims")
        if self.weights is None:
            for name, value, default in (
                ("structure", self.structure, "filters"),
                ("group_dependency", self.group_dependency, None),
                ("mask", self.mask, "units"),
            ):
                if value != default:
                    raise ValueError(f"{name} {value!r} says something of weights: give weights instead of dims")

    def check_shares(self) -> None:
        """Raise `ValueError` if the shares given do not go together."""
        RatedPruner.__attrs_post_init__(self)

    def check_names(self, network: Network) -> None:
        """Every pattern must match something that can be pruned."""
        self.chosen(network)

    def targets(self, network: Network) -> list[int]:
        """The positions of the dims this pruner prunes, in order."""
        return [target.dim for target in self.chosen(network)]

    def chosen(self, network: Network) -> list[Target]:
        """The dims this pruner prunes, each with the places it is scored over."""
        if self.weights is not None:
            leader = self.group_dependency == "Leader"
            return by_weights(_listed(self.weights), self.structure, network, leader)
        return by_dims(_listed("*" if self.dims is None else self.dims), network)

    def decide(self, network: Network, moment: Moment) -> Decision:
        """Rank and mask the lowest units of the targets."""
        targets, share = self.chosen(network), self.share_now(network, moment)
        dims = [network.dims[target.dim] for target in targets]
        groups = isomorphic_groups(dims, network.parameters) if self.scope == "isomorphic" else None
        chosen = select_counts(
            [len(dim) for dim in dims],
            [self._count(share, dim, network) for dim in dims],
            lambda position: self._scores(network, targets[position]),
            self.scope,
            self.round_to,
            minimum=self.minimum,
            group_size=self.group_size,
            groups=groups,
        )
        units = {target.dim: gone for target, gone in zip(targets, chosen, strict=True)}
        if self.mask == "units":
            return Decision(units=units)
        return Decision(units=units, factors=self._factors(network, units), whole=False)

    def share_now(self, network: Network, moment: Moment) -> float:
        """The share that is masked at a moment, in [0, 1]."""
        return self.share(moment)

    def _count(self, share: float, dim: Any, network: Network) -> int:
        """How many units of a dim are to leave; below zero where more has left already."""
        if not self.gradual:
            return int(share * len(dim))
        original = max(network.original.get(dim.name, len(dim)), len(dim))
        return int(share * original) - (original - len(dim))

    def _scores(self, network: Network, target: Target) -> Array:
        if self.criterion == RANDOM:
            return drawn(network, target.dim)
        found = np.array(network.scores(target.dim, self.criterion, target.places), np.float64)
        found[silent(network, target)] = min(found.min(initial=0), -LEAST)
        return found

    def _factors(self, network: Network, units: dict[int, Array]) -> dict[str, Tensor]:
        """The factors of all listed weights: False along their axis where a unit leaves."""
        import torch

        found: dict[str, Tensor] = {}
        for target in by_weights(_listed(self.weights or []), self.structure, network):
            for name, axis in target.places or ():
                parameter = network.parameters[name]
                shape = [parameter.shape[axis] if at == axis else 1 for at in range(parameter.dim())]
                factor = found.setdefault(name, torch.ones(shape, dtype=torch.bool, device=parameter.device))
                gone = network.dims[target.dim].slices[name, axis][units[target.dim]]
                factor.view(-1)[torch.from_numpy(np.ascontiguousarray(gone.reshape(-1))).to(parameter.device)] = False
        return found


def drawn(network: Network, dim: int) -> Array:
    """Random scores of a dim's units, shape (units,), uniform in [0, 1): the same ones until something leaves."""
    import torch

    if "seed" not in network.memory:
        network.memory["seed"] = float(torch.randint(1 << 31, (), generator=network.generator))
    name = network.dims[dim].name.encode()
    generator = torch.Generator().manual_seed(int(network.memory["seed"]) ^ zlib.crc32(name))
    found: Array = torch.rand(len(network.dims[dim]), generator=generator, dtype=torch.float64).numpy()
    return found


def silent(network: Network, target: Target) -> Array:
    """Which of a dim's units are zero in all that writes them, or in the target's places: bool, shape (units,).

    They are masked already, and can hardly learn again: whatever a criterion says of a zero filter (it lies far from
    the others, or is active behind a sigmoid), no other unit shall leave in its stead.
    """
    import torch

    dim = network.dims[target.dim]
    places = [place for place in target.places or dim.slices if target.places or place not in dim.readers]
    members = members_of({place: dim.slices[place] for place in places}, dim.readers, network.parameters)
    found: Array = np.full(len(dim), bool(members))
    for member in members:
        found &= member.sum_of(torch.abs) == 0
    return found


def _listed(patterns: str | Sequence[str]) -> list[str]:
    return [patterns] if isinstance(patterns, str) else list(patterns)
