"""Slices that are small enough to be masked: as units of dims where all named slices of a unit are, else one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import define, field

from secateur.pruning.base import Array, Place

if TYPE_CHECKING:
    from torch import Tensor


@define(eq=False)
class SmallSlices:
    """What a criterion said of the slices of some axes of parameters, and which of them are small."""

    _values: dict[Place, Tensor] = field(factory=dict)
    """By place, of the parameter's number of axes, all of length 1 but one."""
    _small: dict[Place, Array] = field(factory=dict)

    def add(self, place: Place, values: Tensor, threshold: float) -> None:
        """Take in one axis of a parameter: slices whose value is at most the threshold are small."""
        self._values[place] = values
        self._small[place] = (values <= threshold).reshape(-1).cpu().numpy()

    def units(self, dims: Sequence[Any]) -> dict[int, Array]:
        """{position of a dim: its units of which every slice that was taken in is small}; one of each dim stays.

        The one that stays is the largest by the sum of its slices' values, of equal ones the last.
        """
        found = {}
        for position, dim in enumerate(dims):
            places = [place for place in dim.slices if place in self._small]
            if not places:
                continue
            small = np.concatenate([self._small[place][dim.slices[place]] for place in places], axis=1)
            below: Array = np.all(small, axis=1)
            if below.all():
                below[_largest(np.sum([self._worth(place, dim.slices[place]) for place in places], axis=0))] = False
            if below.any():
                found[position] = np.flatnonzero(below)
        return found

    def left(self, dims: Sequence[Any], units: Mapping[int, Array]) -> dict[str, Tensor]:
        """{parameter: False for small slices that these units do not take along}, where there are any."""
        import torch

        kept: dict[str, Tensor] = {}
        for place, small in self._small.items():
            rest = small.copy()
            for position, leaving in units.items():
                if place in dims[position].slices:
                    rest[dims[position].slices[place][leaving].reshape(-1)] = False
            if rest.any():
                values = self._values[place]
                factor = torch.from_numpy(~rest).to(values.device).reshape(values.shape)
                kept[place[0]] = kept[place[0]] & factor if place[0] in kept else factor
        return kept

    def _worth(self, place: Place, indices: Array) -> Array:
        worth: Array = self._values[place].reshape(-1).double().cpu().numpy()[indices].sum(axis=1)
        return worth


def _largest(worth: Array) -> int:
    return len(worth) - 1 - int(np.argmax(worth[::-1]))
