"""What is looked at one after another: dims, or tensors element by element, filter by filter, channel by channel."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from attrs import field, frozen

from secateur.errors import ConfigError, PlanError, suggestion
from secateur.plugins import current
from secateur.pruning.lowest import lowest
from secateur.pruning.selection import matching
from secateur.thinning.calibrating import calibrated
from secateur.thinning.planner import scorer, spare
from secateur.thinning.state import named_parameters

if TYPE_CHECKING:
    from torch import Tensor, nn

    from secateur.coupling.analysis import Coupling

By = Literal["dim", "tensor", "filter", "channel"]
Cuts = Mapping[str, Mapping[int, np.ndarray[Any, Any]]]


@frozen(eq=False)
class Trial:
    """One evaluation: what leaves of a subject at some of the levels."""

    levels: tuple[float, ...]
    """Levels at which just this leaves."""
    leaving: int
    """Units or elements."""
    cuts: Cuts = field(factory=dict)
    """{tensor: {axis: indices}}: the slices that are zero."""
    smallest: Mapping[str, int] = field(factory=dict)
    """{tensor: how many of its elements of smallest magnitude are zero}"""

    def masked(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """New tensors, {name: the masked one}; those given stay as they are."""
        made = {name: _zeroed(tensors[name].detach(), axes) for name, axes in self.cuts.items()}
        for name, count in self.smallest.items():
            tensor = tensors[name].detach()
            made[name] = tensor * lowest(tensor, count, name)
        return made


@frozen(eq=False)
class Subject:
    """A dim or a tensor, and its trials in ascending order."""

    name: str
    size: int
    """Units, or elements."""
    trials: tuple[Trial, ...]

    @property
    def tensors(self) -> set[str]:
        """The parameters and buffers that its trials change."""
        return {name for trial in self.trials for name in (*trial.cuts, *trial.smallest)}


def _zeroed(tensor: Tensor, axes: Mapping[int, np.ndarray[Any, Any]]) -> Tensor:
    import torch

    made = tensor.clone()
    for axis, indices in axes.items():
        made.index_fill_(axis, torch.from_numpy(np.ascontiguousarray(indices)).to(made.device), 0)
    return made


def check_by(by: Any) -> By:
    """A kind of subjects; anything else is a `ConfigError`."""
    if by not in get_args(By):
        raise ConfigError(f"{by!r} is nothing to analyse by", where="by", hint=suggestion(str(by), get_args(By)))
    found: By = by
    return found


def subjects_of_dims(
    model: nn.Module,
    coupling: Coupling,
    criterion: str,
    levels: Sequence[float],
    names: Sequence[str],
    calibrate: Callable[[nn.Module], Any] | None = None,
) -> list[Subject]:
    """The dims that globs name, or all. At each level `int(level * size)` units leave, the lowest by the criterion.

    `calibrate`: runs mini-batches for a criterion that looks at them, see `secateur.calibration`.
    """
    named = {i for glob in names for i in matching(glob, coupling.dims, "names", coupling.staying)}
    chosen = sorted(named) if names else list(range(len(coupling.dims)))
    if not chosen:
        raise PlanError("no unit can leave it", where="model", hint="secateur.plan(...) says what stays, and why")
    make, collector = current().criteria[criterion].collector, None
    if make is not None and calibrate is not None:
        collector = calibrated(model, coupling.dims, chosen, make(), calibrate)
    score, nothing = scorer(model, coupling, criterion, collector=collector), np.empty(0, np.int64)

    def cut(i: int, order: np.ndarray[Any, Any], count: int, those: tuple[float, ...]) -> Trial:
        leaving = [np.sort(order[:count]) if j == i else nothing for j in range(len(coupling.dims))]
        units = spare(coupling, leaving, score)[i]
        return Trial(those, len(units), cuts_of(coupling, coupling.dims[i].classes[units]))

    found = []
    for i in chosen:
        dim = coupling.dims[i]
        scores = np.asarray(score(i), np.float64)
        if scores.shape != (len(dim),) or np.isnan(scores).any():
            raise PlanError("the criterion gave scores that are not numbers (NaN)", where=dim.name)
        order = np.argsort(scores, kind="stable")
        found.append(_subject(dim.name, len(dim), levels, partial(cut, i, order)))
    return found


def cuts_of(coupling: Coupling, classes: np.ndarray[Any, Any]) -> Cuts:
    """The slices that are zero in the masked network when some base classes leave."""
    unmasked = coupling.labelling.facts.unmasked
    gone = coupling.leaving(classes).cuts()
    kept = {n: {a: x for a, x in axes.items() if (n, a) not in unmasked} for n, axes in gone.items()}
    return {name: axes for name, axes in kept.items() if axes}


def subjects_of_tensors(model: nn.Module, by: By, levels: Sequence[float], names: Sequence[str]) -> list[Subject]:
    """The weights of two axes and more that globs name, or all.

    By "tensor" the elements of smallest magnitude leave, by "filter" (axis 0) and "channel" (axis 1) the slices of
    smallest l1 norm, in this tensor alone.
    """
    known = {name: tensor for name, tensor in named_parameters(model).items() if tensor.dim() > 1}
    for glob in names:
        if not any(fnmatchcase(name, glob) for name in known):
            what = f"{glob!r} matches no weight of two axes and more"
            raise PlanError(what, where="names", hint=suggestion(glob, known))
    picked = {n: t for n, t in known.items() if not names or any(fnmatchcase(n, glob) for glob in names)}
    if not picked:
        raise PlanError("it has no weight of two axes and more", where="model", hint="there is nothing to analyse")
    if by == "tensor":
        return [_subject(name, tensor.numel(), levels, partial(_elements, name)) for name, tensor in picked.items()]
    found, axis = [], 0 if by == "filter" else 1
    for name, tensor in picked.items():
        others = [other for other in range(tensor.dim()) if other != axis]
        order = np.argsort(tensor.detach().abs().double().sum(others).cpu().numpy(), kind="stable")
        found.append(_subject(name, len(order), levels, partial(_slices, name, axis, order)))
    return found


def _elements(name: str, count: int, those: tuple[float, ...]) -> Trial:
    return Trial(those, count, smallest={name: count})


def _slices(name: str, axis: int, order: np.ndarray[Any, Any], count: int, those: tuple[float, ...]) -> Trial:
    return Trial(those, count, {name: {axis: np.sort(order[:count])}})


def _subject(name: str, size: int, levels: Sequence[float], cut: Callable[[int, tuple[float, ...]], Trial]) -> Subject:
    """A subject with one trial for all levels at which the same leaves; what leaves nothing needs none."""
    wanted: dict[int, list[float]] = {}
    for level in levels:
        wanted.setdefault(min(int(level * size), size - 1), []).append(level)
    return Subject(name, size, tuple(cut(count, tuple(those)) for count, those in wanted.items() if count))
