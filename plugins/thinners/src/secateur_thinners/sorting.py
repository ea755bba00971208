"""Sorting, ranking and running sums along one axis: the place of an entry counts, so that axis stays.

All other axes are carried. What comes out in order is zero where everything was; the places are not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from secateur.coupling.labels import Axis, Labels, fixed
from secateur.coupling.site import Site, int_of
from secateur.hookspecs import hookimpl
from secateur.records import OpRule
from secateur_thinners.table import rule

CUMULATIVE = "input, dim, dtype=None, n=None, prepend=None, append=None"
SORTED = "input, dim=-1, descending=False, stable=None"


def along(zero: bool, moved: str = "") -> Callable[[Site], list[Sequence[Axis]]]:
    """The rule of what runs along `dim`; `zero`: the first output is zero where the input is.

    `moved`: the argument that says where the axis goes, if it goes anywhere: `keepdim` (it becomes 1, or vanishes).
    """

    def apply(site: Site) -> list[Sequence[Axis]]:
        data = site["input"]
        place = int_of(site["dim"]) % max(len(data), 1)
        if not len(data):
            return [[] for _ in site.shapes]
        site.fix(data[place], f"{site.op.kind} is taken over it")
        return [_carried(site, data, place, shape, zero and not i, moved) for i, shape in enumerate(site.shapes)]

    return apply


def _carried(site: Site, data: Labels, place: int, shape: Sequence[int], zero: bool, moved: str) -> list[Axis]:
    made = [axis if zero else axis.nonzero() for axis in data.axes]
    if moved and not site[moved]:
        del made[place]
    else:
        made[place] = fixed(shape[place])
    return made


def difference(site: Site) -> Sequence[Axis]:
    """Differences of neighbours along one axis."""
    if site["prepend"] is not None or site["append"] is not None:
        raise NotImplementedError("further entries are put before or after it")
    return along(zero=True)(site)[0]


def first_axis(site: Site) -> Sequence[Axis]:
    """Sorting along the first axis."""
    data = site["input"]
    site.fix(data[0], f"{site.op.kind} is taken over it")
    return [fixed(len(data[0])), *data.axes[1:]]


def quantile(site: Site) -> Sequence[Axis]:
    """Quantiles over one axis, or over everything; several of them come in a new axis in front."""
    data, levels = site["input"], site["q"]
    dim = site["dim"]
    chosen = range(len(data)) if dim is None else [int_of(dim) % len(data)]
    made = [fixed(length) for length in site.shape[:1]] if isinstance(levels, Labels) and len(levels) else []
    for place, axis in enumerate(data.axes):
        if place not in chosen:
            made.append(axis)
            continue
        site.fix(axis, f"{site.op.kind} is taken over it")
        if site["keepdim"]:
            made.append(fixed(1))
    return made


def searchsorted(site: Site) -> Sequence[Axis]:
    """Places of values in sorted rows: one row for all of them, or a row for each row of values."""
    rows, values = site["rows"], site["values"]
    if not isinstance(values, Labels):
        values = Labels("", ())
    if site["sorter"] is not None:
        raise NotImplementedError("the order of its rows is given by a tensor")
    site.fix(rows[-1], f"{site.op.kind} is taken over it")
    made = [axis.nonzero() for axis in values.axes]
    for place, axis in enumerate(rows.axes[:-1]):
        made[place] = site.tie(made[place], axis)
    return made


def bucketize(site: Site) -> Sequence[Axis]:
    """Places of values in one sorted row."""
    values, rows = site["values"], site["rows"]
    site.fix(rows[-1], f"{site.op.kind} is taken over it")
    return [axis.nonzero() for axis in values.axes] if isinstance(values, Labels) else []


def unique(site: Site) -> Any:
    """How many entries are distinct depends on values."""
    raise NotImplementedError("how many entries are distinct depends on values")


@hookimpl
def secateur_op_rules() -> list[OpRule]:
    """Rules for sorting and running sums."""
    sides = "right=False, side=None, sorter=None, out_int32=False"
    return [
        rule("cumsum cumprod cummax cummin", CUMULATIVE, along(zero=True)),
        rule("logcumsumexp", CUMULATIVE, along(zero=False)),
        rule("diff", "input, n=1, dim=-1, prepend=None, append=None", difference),
        rule("sort", SORTED, along(zero=True)),
        rule("argsort", SORTED, along(zero=False)),
        rule("msort", "input", first_axis),
        rule("topk", "input, k, dim=-1, largest=True, sorted=True", along(zero=True)),
        rule("kthvalue", "input, k, dim=-1, keepdim=False", along(zero=True, moved="keepdim")),
        rule("quantile nanquantile", "input, q, dim=None, keepdim=False, interpolation=None", quantile),
        rule("searchsorted", f"rows|sorted_sequence, values|input|self, {sides}", searchsorted),
        rule("bucketize", f"values|input, rows|boundaries, {sides}", bucketize),
        rule(
            "unique unique_consecutive",
            "input, sorted=True, return_inverse=False, return_counts=False, dim=None",
            unique,
        ),
    ]
