"""Mask exactly so many elements of a tensor, those of smallest magnitude.

The bit pattern of a floating-point number without its sign, read as an integer, is in the order of the magnitudes. So
one pass counts the upper 15 bits of all patterns, which finds the few elements among which the last one to go is, and
only these are ranked: exact, and as fast as memory is read three times.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from secateur.errors import PlanError

if TYPE_CHECKING:
    from torch import Tensor

Array = np.ndarray[Any, Any]

CHUNK = 1 << 18
"""Elements looked at in one go: what is made of them stays in the processor's cache."""
SMALL = 1 << 12
"""Elements that are sorted sooner than counted."""
UPPER = 15
"""Bits by which elements are counted."""


def lowest(tensor: Tensor, count: int, where: str = "") -> Tensor:
    """The mask, bool and of the tensor's shape, that is False for the `count` elements of smallest magnitude.

    Exactly `count` of them: among equal ones the lowest flat index goes first. Raises `PlanError` if an element is
    not a number, named by `where`; `ValueError` if there are fewer than `count` elements.

    >>> import torch
    >>> lowest(torch.tensor([[0.5, -0.1], [0.1, -2.0]]), 1)
    tensor([[ True, False],
            [ True,  True]])
    """
    import torch

    flat = tensor.detach().reshape(-1)
    if not 0 <= count <= flat.numel():
        raise ValueError(f"cannot mask {count} of {flat.numel()} elements")
    if not count:
        return torch.ones(tensor.shape, dtype=torch.bool, device=tensor.device)
    if flat.dtype not in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        flat = flat.float()
    way = _by_kth_value if flat.device.type != "cpu" else _by_counting if flat.numel() > SMALL else _by_sorting
    keep = way(flat, count, where)
    return keep.reshape(tensor.shape)


def not_a_number(where: str) -> PlanError:
    """What to raise if weights cannot be ranked."""
    return PlanError("some weights are not numbers (NaN)", where=where, hint="has training diverged?")


def _by_sorting(flat: Tensor, count: int, where: str) -> Tensor:
    """Sort them all."""
    import torch

    if flat.isnan().any():
        raise not_a_number(where)
    keep = torch.ones(flat.shape, dtype=torch.bool)
    keep[torch.argsort(flat.abs(), stable=True)[:count]] = False
    return keep


def _by_counting(flat: Tensor, count: int, where: str) -> Tensor:
    """Count the upper bits, rank what shares them with the last element to go, compare all with that one."""
    import torch

    integers = {2: torch.int16, 4: torch.int32, 8: torch.int64}[flat.element_size()]
    patterns, unsigned = flat.view(integers), torch.iinfo(integers).max
    shift = 8 * flat.element_size() - 1 - UPPER
    chunks = torch.split(patterns, CHUNK)
    counts = torch.zeros(1 << UPPER, dtype=torch.int64)
    for chunk in chunks:
        counts += torch.bincount((chunk & unsigned) >> shift, minlength=1 << UPPER)
    infinity = int(torch.full((1,), torch.inf, dtype=flat.dtype).view(integers))
    if counts[infinity >> shift :].any() and flat.isnan().any():
        raise not_a_number(where)
    through = counts.cumsum(0)
    upper = int(torch.searchsorted(through, count))
    below = int(through[upper] - counts[upper])
    close = _sharing(patterns.numpy(), upper, shift, unsigned)
    last = int(np.partition(close, count - below - 1)[count - below - 1])
    tied = count - below - int((close < last).sum())
    keep = torch.empty(flat.shape, dtype=torch.bool)
    kept_chunks = torch.split(keep, CHUNK)
    for chunk, kept in zip(chunks, kept_chunks, strict=True):
        torch.gt(chunk & unsigned, last, out=kept)
    if tied < int((close == last).sum()):
        for chunk, kept in zip(chunks, kept_chunks, strict=True):
            ties = ((chunk & unsigned) == last).nonzero().reshape(-1)
            kept[ties[tied:]] = True
            tied = max(tied - len(ties), 0)
    return keep


def _sharing(patterns: Array, upper: int, shift: int, unsigned: int) -> Array:
    """The magnitudes, as integers, that have the upper bits asked for."""
    found = []
    for start in range(0, len(patterns), CHUNK):
        magnitudes = patterns[start : start + CHUNK] & unsigned
        found.append(magnitudes[(magnitudes >> shift) == upper])
    return np.concatenate(found)


def _by_kth_value(flat: Tensor, count: int, where: str) -> Tensor:
    """The same, where the device has its own way to select: `torch.kthvalue`."""
    import torch

    magnitudes = flat.abs()
    if magnitudes.isnan().any():
        raise not_a_number(where)
    last = torch.kthvalue(magnitudes, count).values
    keep = magnitudes > last
    spare = flat.numel() - count - int(keep.sum())
    if spare:
        keep[(magnitudes == last).nonzero().reshape(-1)[-spare:]] = True
    return keep
