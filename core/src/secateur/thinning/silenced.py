"""What a plan made from zeros must say: constants that are added to biases, and units that stay though silenced."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from attrs import field, frozen

from secateur.thinning.ranges import from_ranges, to_ranges

Array = np.ndarray[Any, Any]


@frozen(eq=False)
class Remnant:
    """Units of one dim that emit a constant which cannot be folded exactly.

    `effect`: the largest change of the outputs on the example inputs if they leave, relative to the largest output, in
    the dtype float64 where the model runs so. `accepted`: whether they leave all the same.
    """

    dim: str
    units: np.ndarray[Any, np.dtype[np.int64]]
    reason: str
    effect: float
    accepted: bool = False

    def to_dict(self) -> dict[str, Any]:
        """A form fit for JSON."""
        return {
            "dim": self.dim,
            "units": to_ranges(self.units),
            "reason": self.reason,
            "effect": self.effect,
            "accepted": self.accepted,
        }

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Remnant:
        """Read what `to_dict` wrote."""
        units = from_ranges(saved["units"])
        return cls(str(saved["dim"]), units, str(saved["reason"]), float(saved["effect"]), bool(saved["accepted"]))


@frozen(eq=False)
class Silenced:
    """The reference of such a plan is the network as it is, not its masked copy.

    `folds`: {parameter or buffer: float64 numbers, as long as it is, that are added to it before the cut}. `effect`:
    the relative change of the outputs that was accepted.
    """

    folds: Mapping[str, Array] = field(factory=dict)
    effect: float = 0.0
    remnants: tuple[Remnant, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """A form fit for JSON."""
        return {
            "folds": {name: numbers.tolist() for name, numbers in self.folds.items()},
            "effect": self.effect,
            "remnants": [remnant.to_dict() for remnant in self.remnants],
        }

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Silenced:
        """Read what `to_dict` wrote."""
        return cls(
            {str(name): np.array(numbers, np.float64) for name, numbers in saved["folds"].items()},
            float(saved["effect"]),
            tuple(Remnant.from_dict(entry) for entry in saved["remnants"]),
        )
