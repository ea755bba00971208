"""What is in the weights: how many are zero, by element and by structure, how they spread, and their percentiles."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from attrs import field, frozen

from secateur.errors import SecateurError
from secateur.graph.modules import modules_of
from secateur.summaries.table import Cell, Column, Table

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

STRUCTURES = ("filter", "channel", "kernel", "row", "column")
"""What falls out of a tensor by the indices along its first two axes."""


def sparsity(
    source: nn.Module | Mapping[str, Tensor],
    *,
    block: Sequence[int] | None = None,
    vectors: bool = False,
    name: str | None = None,
) -> Table:
    """How many weights of each tensor are zero, and how many of its structures are zero as a whole.

    `source`: a model, or tensors by name. Only tensors of two axes and more are told of, with `vectors` biases and
    other vectors too. A tied parameter counts once. Of one that `torch.nn.utils.prune` masks, what is left counts.

    One row per tensor: `shape`, `elements`, `non-zero`; then shares in [0, 1]: `sparsity` (of single elements),
    of W[out, in, ...] of three axes and more `filter` (W[o]), `channel` (W[:, i]) and `kernel` (W[o, i]), of a matrix
    `row` (W[o]) and `column` (W[:, i]), and with `block`, sizes along the first axes, `block`: those of a tensor that
    they divide. Then `mean`, `std` (by n - 1) and `mean of |w|`. The total is over all these tensors, by their number.

    Every tensor is read a constant number of times. `name`: what the title calls the source.

    Raises `SecateurError` if there is nothing to look into: no such tensors, or tensors without data.
    """
    if block is not None and (not block or min(block) < 1):
        raise SecateurError(f"block {tuple(block)}", where="sparsity", hint="give positive sizes, such as (1, 8)")
    found = [_Zeros.of(key, value, block) for key, value in tensors_of(source, vectors).items()]
    counted = {key: _sum(entry.structures.get(key) for entry in found) for key in (*STRUCTURES, "block")}
    shown = [key for key in STRUCTURES if counted[key][1]] + (["block"] if block is not None else [])
    elements, nonzero = sum(entry.elements for entry in found), sum(entry.nonzero for entry in found)
    return Table(
        title=f"sparsity of {_called(source, name)}",
        columns=(
            Column("tensor"),
            Column("shape", rank=5),
            Column("elements", form=",d", rank=4, compared=True),
            Column("non-zero", form=",d", rank=1, compared=True),
            Column("sparsity", form=".2%", compared=True),
            *(Column(key, form=".2%", rank=2 if key == "filter" else 3, compared=True) for key in shown),
            Column("mean", form=".2e", rank=8),
            Column("std", form=".2e", rank=7),
            Column("mean of |w|", form=".2e", rank=6),
        ),
        rows=[entry.row(shown) for entry in found],
        total=(
            "total",
            None,
            elements,
            nonzero,
            _share((elements - nonzero, elements)),
            *(_share(counted[key]) for key in shown),
            *(None, None, None),
        ),
        notes=[f"{entry.name}: {entry.odd:,} numbers are not finite" for entry in found if entry.odd],
    )


def percentiles(
    source: nn.Module | Mapping[str, Tensor], q: float = 90.0, *, vectors: bool = False, name: str | None = None
) -> Table:
    """The `q`-th percentile of |w| of each tensor: the magnitude that q per cent of its elements do not exceed.

    Between two elements it is interpolated, as `numpy.percentile` does. At 90, of a dense network that was trained, it
    is the `q` of Baidu's pruning of recurrent networks (Narang et al., ICLR 2017, section 3). `source`, `vectors` and
    `name` as of `sparsity`.

    Raises `SecateurError` for a `q` outside of [0, 100], or if there is nothing to look into.
    """
    if not 0 <= q <= 100:
        raise SecateurError(f"percentile {q:g}", where="percentiles", hint="give a number from 0 to 100")
    found = tensors_of(source, vectors)
    return Table(
        title=f"percentile {q:g} of |w| of {_called(source, name)}",
        columns=(
            Column("tensor"),
            Column("shape", rank=2),
            Column("elements", form=",d", rank=1),
            Column("percentile", form=".6g", compared=True),
        ),
        rows=[(key, tuple(value.shape), value.numel(), _percentile(value, q)) for key, value in found.items()],
    )


def tensors_of(source: nn.Module | Mapping[str, Tensor], vectors: bool = False) -> dict[str, Tensor]:
    """The tensors that a summary of weights tells of, each once, by name, detached from any graph.

    Those of two axes and more, floating-point or complex; with `vectors` also those of one axis or none. Empty ones are
    left out. Raises `SecateurError` if there are none, or if one has no data.
    """
    where = "model" if not isinstance(source, Mapping) else "tensors"
    given = source.items() if isinstance(source, Mapping) else _parameters(source)
    found: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in given:
        wanted = tensor.is_floating_point() or tensor.is_complex()
        if id(tensor) in seen or not wanted or _is_lazy(tensor) or not tensor.numel():
            continue
        seen.add(id(tensor))
        if tensor.dim() < 2 and not vectors:
            continue
        if tensor.is_meta:
            raise SecateurError("it has no data: it is on the meta device", where=name, hint="load its weights first")
        found[name] = tensor.detach()
    if not found:
        what = f"there is no {'parameter' if vectors else 'parameter of two axes or more'} to tell of"
        raise SecateurError(what, where=where, hint="" if vectors else "ask for vectors too")
    return found


def _parameters(model: nn.Module) -> list[tuple[str, Tensor]]:
    """The parameters by name; what `torch.nn.utils.prune` made two tensors of is one again, under its own name."""
    found: list[tuple[str, Tensor]] = []
    seen: set[int] = set()
    for path, module in modules_of(model):
        for key, parameter in module._parameters.items():
            if parameter is None or id(parameter) in seen:
                continue
            seen.add(id(parameter))
            base = key.removesuffix("_orig")
            mask = module._buffers.get(f"{base}_mask") if base != key else None
            name = f"{path}.{key if mask is None else base}".removeprefix(".")
            found.append((name, parameter if mask is None else parameter.detach() * mask))
    return found


def _is_lazy(tensor: Tensor) -> bool:
    from torch.nn.parameter import is_lazy

    return bool(is_lazy(tensor))


def _called(source: nn.Module | Mapping[str, Tensor], name: str | None) -> str:
    return name or ("tensors" if isinstance(source, Mapping) else type(source).__name__)


@frozen
class _Zeros:
    """What one look at a tensor found: `structures` {structure: (zero ones, all)}."""

    name: str
    shape: tuple[int, ...]
    elements: int
    nonzero: int
    spread: tuple[float | None, float | None, float | None]
    odd: int
    structures: dict[str, tuple[int, int]] = field(factory=dict)

    @classmethod
    def of(cls, name: str, tensor: Tensor, block: Sequence[int] | None) -> _Zeros:
        dense = tensor.to_dense() if tensor.is_sparse else tensor
        alive = dense != 0
        structures = dict(_counts(alive))
        split = _split(tuple(alive.shape), block or ())
        if split:
            blocks = alive.reshape(split)
            for axis in range(len(split) - 1, 0, -2):
                blocks = blocks.any(axis)
            structures["block"] = (blocks.numel() - int(blocks.count_nonzero()), blocks.numel())
        mean, std, size, odd = _spread(dense)
        elements = dense.numel()
        return cls(name, tuple(dense.shape), elements, int(alive.count_nonzero()), (mean, std, size), odd, structures)

    def row(self, shown: Sequence[str]) -> tuple[Cell, ...]:
        fine = (self.elements - self.nonzero) / self.elements
        parts = (_share(self.structures[key]) if key in self.structures else None for key in shown)
        return (self.name, self.shape, self.elements, self.nonzero, fine, *parts, *self.spread)


def _counts(alive: Tensor) -> list[tuple[str, tuple[int, int]]]:
    """The structures of a tensor: how many are all zero, and how many there are. `alive`: what is not zero."""
    if alive.dim() < 2:
        return []
    whole = alive.dim() == 2
    kernels = alive if whole else alive.flatten(2).any(2)
    first, second = ("row", "column") if whole else ("filter", "channel")
    found = {first: kernels.any(1), second: kernels.any(0)} | ({} if whole else {"kernel": kernels})
    return [(key, (some.numel() - int(some.count_nonzero()), some.numel())) for key, some in found.items()]


def _split(shape: tuple[int, ...], block: Sequence[int]) -> list[int]:
    """Each axis as two: blocks, and elements of a block; nothing for a shape that the block does not divide."""
    sizes = [*block, *[1] * (len(shape) - len(block))]
    if not block or len(block) > len(shape) or any(size % part for size, part in zip(shape, sizes, strict=True)):
        return []
    return [length for size, part in zip(shape, sizes, strict=True) for length in (size // part, part)]


def _spread(tensor: Tensor) -> tuple[float | None, float | None, float | None, int]:
    """Mean, standard deviation, mean of |w|, and how many numbers are not finite; complex ones have no mean to tell."""
    import torch

    size = float(tensor.abs().mean(dtype=None if tensor.is_complex() else _wide(tensor)))
    odd = 0 if math.isfinite(size) else tensor.numel() - int(torch.isfinite(tensor).count_nonzero())
    if tensor.is_complex():
        return None, None, size, odd
    wide = tensor.to(_wide(tensor))
    std = float(wide.std()) if tensor.numel() > 1 else None
    return float(wide.mean()), std, size, odd


def _wide(tensor: Tensor) -> torch.dtype:
    """The type in which sums over a tensor are taken: single precision at least."""
    import torch

    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


def _percentile(tensor: Tensor, q: float) -> float:
    sizes = (tensor.to_dense() if tensor.is_sparse else tensor).abs()
    values = sizes.to(_wide(sizes)).cpu().numpy().reshape(-1)
    if np.isnan(values).any():
        return float("nan")
    return float(np.percentile(values, q, overwrite_input=True))


def _sum(counts: Iterable[tuple[int, int] | None]) -> tuple[int, int]:
    known = [entry for entry in counts if entry is not None]
    return sum(entry[0] for entry in known), sum(entry[1] for entry in known)


def _share(count: tuple[int, int]) -> float | None:
    return count[0] / count[1] if count[1] else None
