"""Evaluate a network: by a function of the user's, or over batches whose results are averaged."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

from attrs import define, field

from secateur.errors import DataError, SecateurError
from secateur.sensitivity.tape import mapped, tensors_of

if TYPE_CHECKING:
    from torch import Tensor

Metrics = dict[str, float]
Measure = Callable[[Any, Any], "float | Mapping[str, float]"]
"""From the outputs of a batch and its targets: a number or several by name, each a mean over the examples."""

SCORE = "score"
"""The name of a metric that has none."""


def classification(outputs: Any, targets: Any) -> Metrics:
    """Accuracy (a share of 1) and mean cross entropy of a batch.

    `outputs`: logits, shape (n, classes, …), or a tuple or list with them in front; `targets`: int64, shape (n, …).
    """
    from torch.nn.functional import cross_entropy

    logits = outputs[0] if isinstance(outputs, tuple | list) else outputs
    right = (logits.argmax(1) == targets).double().mean()
    return {"accuracy": float(right), "loss": float(cross_entropy(logits, targets).double())}


def checked(found: Any, where: str, of: str) -> Metrics:
    """What an evaluation gave, as numbers by name; a `SecateurError` if it is none, or not a number."""
    table = found if isinstance(found, Mapping) else {SCORE: found}
    hint = "return a number, or {name: number}"
    if not table:
        raise SecateurError(f"it returned nothing for {of}", where=where, hint=hint)
    metrics: Metrics = {}
    for name, value in table.items():
        if hasattr(value, "item") and getattr(value, "numel", getattr(value, "size", None)) is not None:
            value = _item(value)
        if not isinstance(name, str) or isinstance(value, bool) or not isinstance(value, Real):
            shown = f"{name!r}: a {type(value).__name__}" if isinstance(found, Mapping) else f"a {type(value).__name__}"
            raise SecateurError(f"it returned {shown} for {of}", where=where, hint=hint)
        number = float(value)
        if math.isnan(number):
            what = "not a number (NaN)" + (f" for {name!r}" if isinstance(found, Mapping) else "")
            hint = "is the model finite? an average over no examples is NaN too"
            raise SecateurError(f"it returned {what}, {of}", where=where, hint=hint)
        metrics[name] = number
    return metrics


def _item(value: Any) -> Any:
    try:
        return value.item()
    except (ValueError, RuntimeError):
        return value  # of several elements


@define
class Average:
    """Metrics averaged over batches, each with the weight of its examples."""

    weight: int = 0
    sums: Metrics = field(factory=dict)

    def add(self, metrics: Metrics, examples: int) -> None:
        """Take in one batch."""
        self.weight += examples
        for name, value in metrics.items():
            self.sums[name] = self.sums.get(name, 0.0) + value * examples

    def result(self) -> Metrics:
        """The means."""
        return {name: total / self.weight for name, total in self.sums.items()}


@define(eq=False)
class Batch:
    """What a loader gave once: the arguments of the model, and the targets."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    targets: Any
    examples: int

    @property
    def tensors(self) -> list[Tensor]:
        """The tensors among the arguments, in order."""
        return list(tensors_of((self.args, self.kwargs)))

    def copied(self) -> tuple[Any, Any]:
        """Copies of the arguments: a forward may change its inputs."""
        import torch

        made = mapped((self.args, self.kwargs), lambda x: x.clone() if isinstance(x, torch.Tensor) else x)
        return made[0], made[1]

    @property
    def form(self) -> Any:
        """What batches have in common that one tape fits: shapes, dtypes, and everything that is no tensor."""
        import torch
        from torch.utils import _pytree as pytree

        flat, structure = pytree.tree_flatten((self.args, self.kwargs))
        shown = [(tuple(x.shape), x.stride(), x.dtype) if isinstance(x, torch.Tensor) else repr(x) for x in flat]
        return str(structure), str(shown)

    @property
    def bytes(self) -> int:
        """The memory of its tensors."""
        return sum(t.numel() * t.element_size() for t in tensors_of((self.args, self.kwargs, self.targets)))


@define(eq=False)
class Batches:
    """The batches of a loader, as often as wanted; they are kept in memory if they fit."""

    loader: Any
    device: Any
    limit: int
    """Bytes that may be kept."""
    kept: list[Batch] | None = None

    def __iter__(self) -> Iterator[Batch]:
        if self.kept is not None:
            yield from self.kept
            return
        once = iter(self.loader) is self.loader
        kept: list[Batch] | None = []
        size = count = 0
        for given in self.loader:
            batch = batch_of(given, self.device)
            count += 1
            size += batch.bytes
            if kept is not None:
                kept.append(batch)
                if size > self.limit:
                    if once:
                        what = f"it can be iterated once only, and its batches take more than {self.limit:,} bytes"
                        raise DataError(what, where="data", hint="give a DataLoader or a list, or raise memory=")
                    kept = None
            yield batch
        if not count:
            raise DataError("it gave no batch", where="data", hint="give an iterable of (inputs, targets)")
        self.kept = kept


def batch_of(given: Any, device: Any) -> Batch:
    """Split what a loader gave into the model's arguments and the targets, moved to a device.

    A tuple or list: the last entry are the targets, the others the arguments; a mapping: keyword arguments, which are
    the targets too. Anything else is a `DataError`.
    """
    import torch
    from torch.utils import _pytree as pytree

    moved = pytree.tree_map(lambda x: x.to(device) if isinstance(x, torch.Tensor) else x, given)
    if isinstance(moved, Mapping):
        args: tuple[Any, ...] = ()
        kwargs, targets = dict(moved), moved
    elif isinstance(moved, Sequence) and not isinstance(moved, str) and len(moved) > 1:
        args, kwargs, targets = tuple(moved[:-1]), {}, moved[-1]
    else:
        what = f"it gave something of type {type(given).__name__}, not (inputs, targets)"
        raise DataError(what, where="data", hint="give an iterable of (inputs, targets), or a function evaluate(model)")
    sized = [t for t in (*tensors_of(targets), *tensors_of((args, kwargs))) if t.dim()]
    return Batch(args, kwargs, targets, int(sized[0].shape[0]) if sized else 1)
