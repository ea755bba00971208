"""What a plan that renormalises must say: what is rescaled, and which operations count only what stays.

Some operations read the size of an axis. Where rescaling a parameter or an attribute undoes the change, the plan holds
a `Scaling`. For all others the reference of exactness is a masked network in which they see only the slices that
stay: a `Counted` says which slices those are, for every argument and output of the operation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from attrs import frozen

from secateur.thinning.ranges import from_ranges, to_ranges

Indices = np.ndarray[Any, np.dtype[np.int64]]
Axes = Mapping[int, Indices]


@frozen(eq=False)
class Scaling:
    """A parameter is multiplied by `factor`, at `indices` of its first axis (None: everywhere), before the cut."""

    parameter: str
    factor: float
    indices: Indices | None = None

    def to_dict(self) -> dict[str, Any]:
        """A form fit for JSON."""
        ranges = None if self.indices is None else to_ranges(self.indices)
        return {"parameter": self.parameter, "factor": self.factor, "indices": ranges}

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Scaling:
        """Read what `to_dict` wrote."""
        ranges = saved["indices"]
        return cls(str(saved["parameter"]), float(saved["factor"]), None if ranges is None else from_ranges(ranges))


@frozen(eq=False)
class Counted:
    """One operation, by its name in the graph, on what stays of its arguments.

    `arguments`: for every leaf among its arguments, in order, the leaving indices of each axis of a tensor, the value
    of an integer in the thin network, or None for anything else. `outputs`: the leaving indices of each output.
    """

    op: str
    place: str
    arguments: tuple[Axes | int | None, ...]
    outputs: tuple[Axes, ...]

    def to_dict(self) -> dict[str, Any]:
        """A form fit for JSON."""
        arguments = [saved_axes(entry) if isinstance(entry, Mapping) else entry for entry in self.arguments]
        outputs = [saved_axes(axes) for axes in self.outputs]
        return {"op": self.op, "place": self.place, "arguments": arguments, "outputs": outputs}

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Counted:
        """Read what `to_dict` wrote."""
        arguments = tuple(read_axes(entry) if isinstance(entry, Mapping) else entry for entry in saved["arguments"])
        outputs = tuple(read_axes(axes) for axes in saved["outputs"])
        return cls(str(saved["op"]), str(saved["place"]), arguments, outputs)


def saved_axes(axes: Axes) -> dict[str, Any]:
    """Leaving indices by axis, in a form fit for JSON."""
    return {str(axis): to_ranges(indices) for axis, indices in axes.items()}


def read_axes(axes: Mapping[str, Any]) -> Axes:
    """Read what `saved_axes` wrote."""
    return {int(axis): from_ranges(ranges) for axis, ranges in axes.items()}
