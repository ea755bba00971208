"""Mini-batches of a data set in memory, shuffled and augmented reproducibly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from secateur.records import DataSplit

if TYPE_CHECKING:
    import torch
    from torch import Tensor

PADDING = 4
"""Pixels by which a random crop moves an image at most (He et al. 2015, section 4.2)."""


def batches(
    data: DataSplit, size: int, generator: torch.Generator | None = None, augment: Sequence[str] = ()
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (inputs, targets); shuffled if a generator is given. A last batch of one example is left out then."""
    import torch

    count = len(data)
    order = torch.arange(count) if generator is None else torch.randperm(count, generator=generator)
    for start in range(0, count, size):
        picked = order[start : start + size]
        if generator is None:
            yield data.inputs[picked], data.targets[picked]
        elif len(picked) > 1 or count == 1:  # batch norm needs more than one example
            yield augmented(data.inputs[picked], generator, augment), data.targets[picked]


def number_of_batches(count: int, size: int) -> int:
    """How many batches a shuffled pass has.

    >>> number_of_batches(10, 5), number_of_batches(11, 5), number_of_batches(12, 5)
    (2, 2, 3)
    """
    full, rest = divmod(count, size)
    return full + (rest > 1 or count == 1)


def augmented(images: Tensor, generator: torch.Generator, augment: Sequence[str]) -> Tensor:
    """Randomly cropped ("crop") and mirrored ("flip") images, shape (n, channels, height, width)."""
    import torch

    count, channels, height, width = images.shape if images.dim() == 4 else (0, 0, 0, 0)
    if not count or not augment:
        return images
    rows = torch.arange(height).repeat(count, 1)
    columns = torch.arange(width).repeat(count, 1)
    if "crop" in augment:
        images = torch.nn.functional.pad(images, (PADDING,) * 4)
        rows = rows + torch.randint(0, 2 * PADDING + 1, (count, 1), generator=generator)
        columns = columns + torch.randint(0, 2 * PADDING + 1, (count, 1), generator=generator)
    if "flip" in augment:
        mirrored = torch.rand((count, 1), generator=generator) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
    example = torch.arange(count)[:, None, None, None]
    channel = torch.arange(channels)[None, :, None, None]
    return images[example, channel, rows[:, None, :, None], columns[:, None, None, :]]
