"""Select the units that leave: ratios by name, scores by a criterion, the lowest first.

`int(ratio * size)` units of a dim leave. With scope "global" the scores of all dims compete, each normalised by its
dim's mean, for the same total number of units; with "isomorphic" those of dims that are built alike do, as they are.
At least one unit of every dim stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from numbers import Real
from types import MappingProxyType
from typing import Any, Literal, Protocol, get_args

import numpy as np

from secateur.errors import PlanError, suggestion

Array = np.ndarray[Any, Any]
Scope = Literal["local", "global", "isomorphic"]
Score = Callable[[int], Array]


class NamedDim(Protocol):
    """What selection needs to know of a dim."""

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def slices(self) -> Mapping[tuple[str, int], Array]: ...  # noqa: D102

    @property
    def readers(self) -> frozenset[tuple[str, int]]: ...  # noqa: D102

    def __len__(self) -> int: ...


def names_of(dim: NamedDim) -> list[str]:
    """The names a dim answers to: its own, and every parameter, with or without its module, that writes it."""
    written = [name for (name, _) in dim.slices if any(key[0] == name and key not in dim.readers for key in dim.slices)]
    modules = [name.rpartition(".")[0] for name in written]
    return list(dict.fromkeys(filter(None, [dim.name, *written, *modules])))


Staying = Mapping[str, str]
"""{parameter or module that cannot be pruned: why}."""


def matching(pattern: str, dims: Sequence[NamedDim], where: str, staying: Staying = MappingProxyType({})) -> list[int]:
    """The positions of the dims a glob matches; none at all is a `PlanError` with the reason, or a suggestion."""
    named = [names_of(dim) for dim in dims]
    exact = [i for i, dim in enumerate(dims) if dim.name == pattern]
    if not exact and pattern in staying and any(dim.name.startswith(f"{pattern}:") for dim in dims):
        raise PlanError(f"{pattern!r} cannot be pruned: {staying[pattern]}", where=where)  # a dim of that name stays
    found = exact or [i for i, names in enumerate(named) if any(fnmatchcase(name, pattern) for name in names)]
    if not found:
        for name, reason in staying.items():
            if fnmatchcase(name, pattern):
                raise PlanError(f"{name!r} cannot be pruned: {reason}", where=where)
        known = [dim.name for dim in dims]
        raise PlanError(
            f"{pattern!r} matches no prunable dim or parameter", where=where, hint=suggestion(pattern, known)
        )
    return found


def check_ratio(ratio: Any, where: str) -> float:
    """A share of units, in [0, 1)."""
    if isinstance(ratio, bool) or not isinstance(ratio, Real):
        raise PlanError(f"expected a number in [0, 1), got {ratio!r}", where=where)
    share = float(ratio)
    if not 0 <= share < 1:
        raise PlanError(
            f"a ratio must be in [0, 1), got {ratio}",
            where=where,
            hint="it is the share of units that leaves; at least one unit must stay",
        )
    return share


def ratios_of(
    dims: Sequence[NamedDim],
    prune: float | Mapping[str, float],
    keep: Iterable[str] | str,
    staying: Staying = MappingProxyType({}),
) -> Array:
    """The ratio of each dim; of several globs that match a dim, the last one counts. `keep` wins over all."""
    ratios = np.zeros(len(dims))
    if isinstance(prune, Mapping):
        for pattern, ratio in prune.items():
            if not isinstance(pattern, str):
                raise PlanError(f"expected names or globs as keys, got {pattern!r}", where="prune")
            where = f"prune[{pattern!r}]"
            value = check_ratio(ratio, where)
            if not (pattern == "*" and not dims):
                ratios[matching(pattern, dims, where, staying)] = value
    else:
        ratios[:] = check_ratio(prune, "prune")
    for pattern in _globs(keep):
        if not any(fnmatchcase(name, pattern) for name in staying):  # what stays anyway may be named too
            ratios[matching(pattern, dims, f"keep={pattern!r}")] = 0
        elif found := [i for i, dim in enumerate(dims) if any(fnmatchcase(n, pattern) for n in names_of(dim))]:
            ratios[found] = 0
    return ratios


def _globs(keep: Any) -> list[str]:
    entries = [keep] if isinstance(keep, str) or not isinstance(keep, Iterable) else list(keep)
    for entry in entries:
        if not isinstance(entry, str):
            raise PlanError(f"expected names or globs, got {entry!r}", where="keep")
    return entries


def select(
    sizes: Sequence[int],
    ratios: Array,
    score: Score,
    scope: Scope = "local",
    round_to: int = 1,
    groups: Sequence[int] | None = None,
) -> list[Array]:
    """The leaving units of each dim, sorted, when `int(ratio * size)` units of each leave; see `select_counts`."""
    counts = [int(ratio * size) for ratio, size in zip(ratios, sizes, strict=True)]
    return select_counts(sizes, counts, score, scope, round_to, groups=groups)


def select_counts(
    sizes: Sequence[int],
    counts: Sequence[int],
    score: Score,
    scope: Scope = "local",
    round_to: int = 1,
    *,
    minimum: int = 1,
    group_size: int = 1,
    groups: Sequence[int] | None = None,
) -> list[Array]:
    """The leaving units of each dim, sorted: the `counts[i]` lowest of dim i, or as many in all with another scope.

    `score(i)` gives the scores of dim i, shape (sizes[i],); it is asked only for dims of which something is to leave.
    With scope "global" all dims compete, each score divided by its dim's mean; with "isomorphic" the dims of one of
    `groups` compete by their scores as they are. A count below zero says that so many more than asked for have left the
    dim already; others it competes with keep as many more. At least `minimum` units of every dim stay. How many leave
    is rounded down to a multiple of `group_size`, then what stays is rounded up to a multiple of `round_to`.
    """
    if scope not in get_args(Scope):
        raise PlanError(f"unknown scope {scope!r}", where="scope", hint="it is 'local', 'global' or 'isomorphic'")
    for name, number in (("round_to", round_to), ("minimum", minimum), ("group_size", group_size)):
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise PlanError(f"expected a positive integer, got {number!r}", where=name)
    wanted = [min(count, max(size - minimum, 0)) for count, size in zip(counts, sizes, strict=True)]
    competing = [count > 0 or (scope != "local" and count < 0) for count in wanted]
    scores = {i: _checked(score(i), sizes[i]) for i, competes in enumerate(competing) if competes}
    if scope == "global":
        if not all(np.isfinite(found).all() for found in scores.values()):
            raise PlanError("the criterion gave infinite scores", where="criterion", hint="are the weights finite?")
        normalised = {i: found / max(float(found.mean()), 1e-300) for i, found in scores.items()}
        wanted = _shared_counts(sizes, wanted, normalised, minimum)
    elif scope == "isomorphic":
        groups = list(range(len(sizes))) if groups is None else groups
        for group in sorted({groups[i] for i in scores}):
            rivals = {i: found for i, found in scores.items() if groups[i] == group}
            theirs = [count if i in rivals else 0 for i, count in enumerate(wanted)]
            won = _shared_counts(sizes, theirs, rivals, minimum)
            wanted = [won[i] if i in rivals else count for i, count in enumerate(wanted)]
    wanted = [max(count, 0) // group_size * group_size for count in wanted]
    wanted = [rounded(count, size, round_to) for count, size in zip(wanted, sizes, strict=True)]
    return [
        np.sort(np.argsort(scores[i], kind="stable")[:count]) if count else np.empty(0, np.int64)
        for i, count in enumerate(wanted)
    ]


def rounded(count: int, size: int, round_to: int) -> int:
    """How many leave if what stays is rounded up to a multiple.

    >>> rounded(30, 64, 8), rounded(0, 10, 8), rounded(9, 10, 8)
    (24, 0, 2)
    """
    kept = -(-(size - count) // round_to) * round_to
    return max(size - kept, 0) if count else 0


def _checked(scores: Array, size: int) -> Array:
    scores = np.asarray(scores, np.float64)
    if scores.shape != (size,):
        raise PlanError(f"the criterion gave scores of shape {scores.shape} for {size} units", where="criterion")
    if np.isnan(scores).any():
        raise PlanError(
            "the criterion gave scores that are not numbers (NaN)", where="criterion", hint="are the weights finite?"
        )
    return scores


def _shared_counts(sizes: Sequence[int], counts: Sequence[int], scores: Mapping[int, Array], minimum: int) -> list[int]:
    """Let all units that have scores compete for the same total; the last `minimum` units of a dim never leave."""
    total = max(sum(counts), 0)
    chosen = [i for i in scores if sizes[i] > minimum]
    if not chosen or not total:
        return [0 for _ in counts]
    owner = np.concatenate([np.full(sizes[i] - minimum, i) for i in chosen])
    ranked = [np.sort(scores[i])[:-minimum] for i in chosen]
    order = np.argsort(np.concatenate(ranked), kind="stable")[:total]
    found = np.bincount(owner[order], minlength=len(sizes))
    return [int(count) for count in found]
