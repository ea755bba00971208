"""Ranked structures within a tensor: whole rows, columns, kernels or blocks are masked, those of smallest norm.

    N structures, n = int(s * N), rounded down to a multiple of group_size; the n of smallest ||w_g||_p go

The norm is that of the structure divided by its number of elements. Fixed s, or s(t) along the cubic curve of gradual
pruning (`secateur.pruning.rate`). Of a weight W[out, in, ...]:

    rows      W[o]           masks of shape (out, 1, ...)
    columns   W[:, i]        (1, in), of matrices
    kernels   W[o, i]        (out, in, 1, ...), of convolutions
    blocks    block_shape    (out, in, ...): Narang et al., "Block-Sparse Recurrent Neural Networks", 2017

Nothing leaves the network: what a layer reads and writes has the same shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from attrs import field, frozen, validators

from secateur.config.validators import non_empty, positive
from secateur.errors import PlanError
from secateur.hookspecs import hookimpl
from secateur.pruning.base import Decision, Moment, Network, Pruner
from secateur.pruning.rate import RatedPruner
from secateur.pruning.spelling import Spelling
from secateur.pruning.weights import WeightPruner, by_weights, lowest
from secateur_pruners.regularizers.groups import CRITERIA, Criterion, Cut

if TYPE_CHECKING:
    from torch import Tensor

CUTS: Mapping[str, Cut] = {"rows": Cut((0,), 2), "columns": Cut((1,), 2, 2), "kernels": Cut((0, 1), 3)}
NORMS: Mapping[str, Criterion] = {"l1": "mean_l1", "l2": "mean_l2"}


def _sizes(instance: Any, attribute: Any, value: tuple[int, ...]) -> None:
    if not value or min(value) < 1:
        raise ValueError(f"must be positive numbers, one by axis, got {list(value)}")


def _spelling(norm: str, ending: str) -> Spelling:
    """Distiller's ranked pruners, where they rank within a tensor; their rows are the columns of W[out, in]."""
    return Spelling(
        name=f"{norm.upper()}RankedStructureParameterPruner{ending}",
        keys={"desired_sparsity": "sparsity", "group_type": "structure", "kwargs.block_shape": "block_shape"},
        values={"structure": {"Rows": "columns", "Blocks": "blocks"}},
        presets={"criterion": norm},
        when={"group_type": frozenset({"Rows", "Blocks"})},
    )


@frozen(kw_only=True)
class PatternPruner(WeightPruner, RatedPruner):
    """Masks a share of the rows, columns, kernels or blocks of each weight.

    `block_shape`: the size of a block along each axis, [1, 8, 1, 1]; it must divide the weight's shape. With
    `group_dependency` "Leader" all `weights` get the mask of the first one. `group_size`: so many go together.
    """

    name: ClassVar[str] = "pattern"
    summary: ClassVar[str] = "a share of rows, columns, kernels or blocks within weights, the smallest by L1 or L2 norm"
    spellings: ClassVar[tuple[Spelling, ...]] = tuple(_spelling(n, end) for n in ("l1", "l2") for end in ("", "_AGP"))

    weights: str | list[str] = field(validator=non_empty)
    structure: Literal["rows", "columns", "kernels", "blocks"]
    criterion: Literal["l1", "l2"] = "l1"
    block_shape: tuple[int, ...] | None = field(default=None, validator=validators.optional(_sizes))
    group_dependency: Literal["Leader"] | None = None
    group_size: int = field(default=1, validator=positive)

    def __attrs_post_init__(self) -> None:
        RatedPruner.__attrs_post_init__(self)
        if (self.structure == "blocks") != (self.block_shape is not None):
            raise ValueError("block_shape belongs to structure blocks, which needs it")

    @property
    def patterns(self) -> Mapping[str, None]:
        """Nothing is told about any weight."""
        return by_weights(self.weights, None)

    def refusal(self, tensor: Tensor) -> str:
        """A weight must have such structures; blocks must divide it."""
        shape, axes = tuple(tensor.shape), tensor.dim()
        if self.block_shape is None:
            cut = CUTS[self.structure]
            return "" if cut.least <= axes <= (cut.most or axes) else f"its shape {shape} has no {self.structure}"
        if len(self.block_shape) != axes:
            return f"its shape {shape} and block_shape {tuple(self.block_shape)} differ in length"
        if any(size % block for size, block in zip(shape, self.block_shape, strict=True)):
            return f"its shape {shape} is not divisible by block_shape {tuple(self.block_shape)}"
        return ""

    def check_names(self, network: Network) -> None:
        """Every pattern must match; all weights must have as many structures as their leader."""
        self._check_leader(network, list(self.targets(network)))

    def decide(self, network: Network, moment: Moment) -> Decision:
        """Ask for the factor of each weight, or of the leader for all."""
        if self.group_dependency is None:
            return WeightPruner.decide(self, network, moment)
        names = list(self.targets(network))
        leader = self._check_leader(network, names)
        kept = self._kept(network, moment, leader)
        return Decision(factors={name: self._spread(kept, network.parameters[name]) for name in names})

    def keep(self, network: Network, moment: Moment, name: str, value: Any) -> Tensor:
        """All but the structures of smallest norm."""
        return self._spread(self._kept(network, moment, name), network.parameters[name])

    def number(self, share: float, total: int) -> int:
        """How many of so many structures go."""
        return int(share * total) // self.group_size * self.group_size

    def _kept(self, network: Network, moment: Moment, name: str) -> Tensor:
        """By structure, of shape `_grid`: whether it stays."""
        tensor = network.parameters[name].detach()
        grid = self._grid(tensor)
        if self.block_shape is None:
            norms = CUTS[self.structure].values(tensor, NORMS[self.criterion]).reshape(grid)
        else:
            split = tensor.reshape(self._split(tensor))
            norms = CRITERIA[NORMS[self.criterion]](split, list(range(1, split.dim(), 2))).reshape(grid)
        return lowest(norms, self.number(self.share(moment), norms.numel()), name)

    def _spread(self, kept: Tensor, tensor: Tensor) -> Tensor:
        """The factor of a tensor, from what stays by structure."""
        if self.block_shape is None:
            axes = CUTS[self.structure].axes
            return kept.to(tensor.device).reshape([n if axis in axes else 1 for axis, n in enumerate(tensor.shape)])
        ones = [n for blocks in kept.shape for n in (blocks, 1)]
        return kept.to(tensor.device).reshape(ones).expand(self._split(tensor)).reshape(tensor.shape)

    def _grid(self, tensor: Tensor) -> tuple[int, ...]:
        """How many structures lie along each axis of the tensor that they cut."""
        if self.block_shape is None:
            return tuple(tensor.shape[axis] for axis in CUTS[self.structure].axes)
        return tuple(self._split(tensor)[::2])

    def _split(self, tensor: Tensor) -> list[int]:
        """Each axis as two: blocks, and the elements of a block."""
        pairs = zip(tensor.shape, self.block_shape or (), strict=True)
        return [n for size, block in pairs for n in (size // block, block)]

    def _check_leader(self, network: Network, names: list[str]) -> str:
        """The weight that is listed first; `PlanError` if another one cannot have its mask."""
        first = next(iter(self.patterns))
        leader = next(name for name in network.resolve(first) if name in names)
        due = self._grid(network.parameters[leader])
        for name in names if self.group_dependency else []:
            found = self._grid(network.parameters[name])
            if found != due:
                raise PlanError(
                    f"{name!r} has {_shown(found)} {self.structure}, its leader {leader!r} has {_shown(due)}",
                    where="group_dependency",
                    hint="only weights with as many structures can share one mask",
                )
        return leader


def _shown(grid: tuple[int, ...]) -> str:
    return " x ".join(map(str, grid))


@hookimpl
def secateur_pruners() -> list[type[Pruner]]:
    """Provide "pattern"."""
    return [PatternPruner]
