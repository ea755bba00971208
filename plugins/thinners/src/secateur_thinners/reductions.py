"""Reductions: sums, means, extremes and norms over some axes, and softmax.

Axes that are not reduced are carried. A sum over an axis whose leaving slices are zero is exact; a mean over it
reads its length, and an extreme or a softmax its zeros, so what leaves there renormalises. Where the result is a place
on the axis, the axis stays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from secateur.coupling.labels import Axis, Labels, fixed
from secateur.coupling.site import Site, plain
from secateur.hookspecs import hookimpl
from secateur.records import OpRule
from secateur_thinners.pointwise import broadcast
from secateur_thinners.table import rule

REDUCTION = "input, dim|axis=None, keepdim|keepdims=False, dtype=None, p=None, ord=None"
SPREAD = "input, dim|axis=None, unbiased=None, keepdim|keepdims=False, correction=None"
MODE = "input, dim=-1, keepdim=False"


def reduction(summing: bool, zero: bool, places: bool = False) -> Callable[[Site], list[Sequence[Axis]]]:
    """The rule of a reduction; `summing`: leaving slices add nothing; `zero`: it is zero where all terms are; `places`:
    the result is an index on the axis."""

    def apply(site: Site) -> list[Sequence[Axis]]:
        data, dims, keep = site["input"], site["dim"], site["keepdim"]
        if isinstance(dims, bool):  # std(x, unbiased)
            dims = None
        # A second output holds places (`median`, `mode`), which are not zero, or another statistic (`var_mean`).
        several = range(len(site.shapes))
        return [_reduced(site, data, dims, bool(plain(keep)), summing, zero and not i, places) for i in several]

    return apply


def norm(site: Site) -> Sequence[Axis]:
    """A p-norm: a root of a sum, for any p above zero."""
    order = site["p"]
    summing = order is None or order == "fro" or (not isinstance(order, str) and plain(order) > 0)
    return _reduced(site, site["input"], site["dim"], bool(site["keepdim"]), summing, zero=True)


def extreme(site: Site) -> list[Sequence[Axis]]:
    """`max` and `min`: over an axis, over everything, or of two tensors."""
    if isinstance(site["dim"], Labels):
        return [broadcast(site, [site["input"], site["dim"]], all)]
    made = reduction(summing=False, zero=True, places=len(site.shapes) > 1)(site)
    return [made[0], *([axis.nonzero() for axis in axes] for axes in made[1:])]


def _reduced(
    site: Site, data: Labels, dims: Any, keep: bool, summing: bool, zero: bool, places: bool = False
) -> list[Axis]:
    if dims is None:
        chosen = set(range(len(data)))
    else:
        chosen = {int(d) % len(data) for d in (plain(dims) if isinstance(dims, tuple) else (plain(dims),))}
        chosen = chosen or set(range(len(data)))
    made = []
    for place, axis in enumerate(data.axes):
        if place not in chosen:
            made.append(axis if zero else axis.nonzero())
            continue
        if not (summing and axis.zero):
            (site.fix if places else site.renormalise)(axis, f"{site.op.kind} is taken over it")
        if keep:
            made.append(fixed(1))
    return made


def softmax(site: Site) -> Sequence[Axis]:
    """exp(x) / sum of exp(x) over one axis: what leaves it renormalises."""
    data, dim = site["input"], plain(site["dim"])
    if dim is None:
        raise NotImplementedError(f"{site.op.kind} without dim")
    along = int(dim) % len(data)
    made = [axis.nonzero() for axis in data.axes]
    made[along] = site.renormalise(made[along], f"{site.op.kind} is taken over it")
    return made


def normalize(site: Site) -> Sequence[Axis]:
    """x / norm(x): for p above zero the norm is a root of a sum, exact where leaving slices are zero."""
    data = site["input"]
    dims = plain(site["dim"])
    for dim in dims if isinstance(dims, tuple) else (dims,):
        if not plain(site["p"]) > 0:
            site.fix(data[int(dim)], "a norm of an order that is not above zero is taken over it")
        elif not data[int(dim)].zero:
            site.fix(data[int(dim)], "it is normalised, and pruned slices are not zero")
    return list(data.axes)


@hookimpl
def secateur_op_rules() -> list[OpRule]:
    """Rules for reductions."""
    return [
        rule("sum nansum count_nonzero", REDUCTION, reduction(summing=True, zero=True)),
        rule("mean nanmean prod amax amin", REDUCTION, reduction(summing=False, zero=True)),
        rule("var std", SPREAD, reduction(summing=False, zero=True)),
        rule("var_mean std_mean", SPREAD, reduction(summing=False, zero=False)),
        rule("median nanmedian", REDUCTION, reduction(summing=False, zero=True, places=True)),
        rule("mode", MODE, reduction(summing=False, zero=True, places=True)),
        rule("logsumexp all any", REDUCTION, reduction(summing=False, zero=False)),
        rule("argmax argmin", REDUCTION, reduction(summing=False, zero=False, places=True)),
        rule("max min", "input, dim|other=None, keepdim=False", extreme),
        rule("norm", "input, p='fro', dim=None, keepdim=False, out=None, dtype=None", norm),
        rule("vector_norm linalg_vector_norm", "input, p|ord=2, dim=None, keepdim=False, dtype=None", norm),
        rule("softmax log_softmax softmin", "input, dim=None, _stacklevel=3, dtype=None", softmax),
        rule("normalize", "input, p=2.0, dim=1, eps=1e-12, out=None", normalize),
    ]
