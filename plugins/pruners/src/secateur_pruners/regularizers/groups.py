"""Groups of weights within one tensor: filters, channels, kernels, rows, columns and the whole layer.

A cut takes together the elements of equal index along some axes. Of W[filter, channel, row, column] a filter is what
has one index along axis 0, a channel along axis 1, a kernel along both; of a matrix W[out, in] rows and columns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal

from attrs import frozen

from secateur.errors import PlanError, suggestion

if TYPE_CHECKING:
    from torch import Tensor

Criterion = Literal["l1", "mean_l1", "l2", "mean_l2", "max"]


@frozen
class Cut:
    """How a tensor falls into groups: those of equal index along `axes`, if it has `least` to `most` axes."""

    axes: tuple[int, ...]
    least: int
    most: int | None = None

    def others(self, weight: Tensor) -> list[int]:
        """The axes within a group."""
        return [axis for axis in range(weight.dim()) if axis not in self.axes]

    def norms(self, weight: Tensor) -> Tensor:
        """The Euclidean norm of each group; its gradient is zero where a group is zero."""
        import torch

        norms: Tensor = torch.linalg.vector_norm(weight, dim=self.others(weight))
        return norms

    def values(self, weight: Tensor, criterion: Criterion) -> Tensor:
        """What a criterion says of each group, with the axes within groups kept at length 1."""
        return CRITERIA[criterion](weight.detach(), self.others(weight))


def _l1(weight: Tensor, axes: list[int]) -> Tensor:
    return weight.abs().sum(axes, keepdim=True)


def _mean_l1(weight: Tensor, axes: list[int]) -> Tensor:
    return weight.abs().mean(axes, keepdim=True)


def _l2(weight: Tensor, axes: list[int]) -> Tensor:
    import torch

    norms: Tensor = torch.linalg.vector_norm(weight, dim=axes, keepdim=True)
    return norms


def _mean_l2(weight: Tensor, axes: list[int]) -> Tensor:
    norms = _l2(weight, axes)
    return norms * (norms.numel() / weight.numel())


def _max(weight: Tensor, axes: list[int]) -> Tensor:
    return weight.abs().amax(axes, keepdim=True)


CRITERIA: Mapping[Criterion, Callable[[Tensor, list[int]], Tensor]] = {
    "l1": _l1,
    "mean_l1": _mean_l1,
    "l2": _l2,
    "mean_l2": _mean_l2,
    "max": _max,
}
"""What is compared with the threshold: sum or mean of |w|, the Euclidean norm or that by element, the largest |w|."""

DISTILLERS_CRITERIA: Mapping[str, str | None] = {
    "L1": "l1",
    "Mean_L1": "mean_l1",
    "Mean_Abs": "mean_l1",
    "L2": "l2",
    "Mean_L2": "mean_l2",
    "Max": "max",
    "None": None,
}

_FILTERS, _CHANNELS, _LAYER = Cut((0,), 2), Cut((1,), 2), Cut((), 1)
_ROWS, _COLUMNS = Cut((0,), 2, 2), Cut((1,), 2, 2)
GROUPS: Mapping[str, tuple[Cut, ...]] = {
    "filters": (_FILTERS,),
    "channels": (_CHANNELS,),
    "kernels": (Cut((0, 1), 3),),
    "rows": (_ROWS,),
    "columns": (_COLUMNS,),
    "rows+columns": (_ROWS, _COLUMNS),
    "layer": (_LAYER,),
    "channels+layer": (_CHANNELS, _LAYER),
}
"""{group type: its cuts}; several cuts are several penalties, and what any of them finds small is masked."""

DISTILLERS_GROUPS: Mapping[str, str] = {
    "Filters": "filters",
    "3D": "filters",
    "Channels": "channels",
    "2D": "kernels",
    "Rows": "rows",
    "Cols": "columns",
    "Rows+Cols": "rows+columns",
    "4D": "layer",
    "Channels+4D": "channels+layer",
}
UNITS: frozenset[Cut] = frozenset({_FILTERS, _CHANNELS})
"""Cuts of which a group is a slice of one axis, and can be a unit of a dim."""


def group_named(name: str) -> str:
    """Our name of a group type, given that or Distiller's; `ValueError` with a suggestion if there is none."""
    found = DISTILLERS_GROUPS.get(name, name)
    if found not in GROUPS:
        raise ValueError(f"no group type named {name!r}; {suggestion(name, [*GROUPS, *DISTILLERS_GROUPS])}")
    return found


def check_shape(parameter: str, weight: Tensor, group: str) -> None:
    """Raise `PlanError` if a tensor has no such groups."""
    for cut in GROUPS[group]:
        if not cut.least <= weight.dim() <= (cut.most or weight.dim()):
            wanted = f"{cut.least}" if cut.least == cut.most else f"at least {cut.least}"
            axes = f"{weight.dim()} {'axis' if weight.dim() == 1 else 'axes'}"
            fitting = [name for name, cuts in GROUPS.items() if all(_fits(each, weight) for each in cuts)]
            raise PlanError(
                f"it has {axes}, and the groups {group!r} need {wanted}",
                where=parameter,
                hint=f"groups of such a tensor are: {', '.join(fitting)}",
            )


def _fits(cut: Cut, weight: Tensor) -> bool:
    return cut.least <= weight.dim() <= (cut.most or weight.dim())
