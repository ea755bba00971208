"""The same table of a network before and after, side by side."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from secateur.errors import SecateurError, suggestion
from secateur.graph.capture import normalise_inputs
from secateur.summaries.computing import Subject, compute, computed
from secateur.summaries.holdings import modules
from secateur.summaries.table import Cell, Column, Row, Table
from secateur.summaries.weights import percentiles, sparsity
from secateur.thinning.plan import Plan
from secateur.thinning.recipe import recipe_of
from secateur.thinning.transaction import replay

if TYPE_CHECKING:
    from torch import nn

Kind = Literal["compute", "model", "sparsity", "percentile"]
KINDS: tuple[Kind, ...] = ("compute", "model", "sparsity", "percentile")

_OF_A_MODEL: Mapping[str, Callable[..., Table]] = {"model": modules, "sparsity": sparsity, "percentile": percentiles}


def compare(
    before: nn.Module,
    after: nn.Module | Plan,
    example_inputs: tuple[Any, ...] | Mapping[str, Any] | None = None,
    *,
    kind: Kind = "compute",
    after_inputs: tuple[Any, ...] | Mapping[str, Any] | None = None,
    **options: Any,
) -> Table:
    """What `compute`, `modules`, `sparsity` or `percentiles` tells of a network before and after.

    `after`: a thinned model, or a `Plan` of the model `before`, which is carried out on a copy; neither model is
    changed. `kind`: which table. "compute" needs `example_inputs`; `after_inputs` are those of `after` if it takes
    others (recurrent states that a plan, or what was done to `after`, makes smaller are cut anyhow). `options`: as of
    the function that tells it; with `latency=True` both are timed in turns. Rows are matched by name, see
    `side_by_side`.

    Raises `SecateurError` for an unknown kind, or if the model cannot be copied; `ThinError` for a plan that does not
    fit.
    """
    check_kind(kind, example_inputs)
    if example_inputs is not None and after_inputs is None:
        after_inputs = _cut(normalise_inputs(example_inputs), before, after)
    if isinstance(after, Plan):
        after = planned(before, after)
    if kind == "compute":
        name = options.pop("name", None) or type(before).__name__
        taken = example_inputs if after_inputs is None else after_inputs
        first, second = computed([Subject(before, example_inputs, name), Subject(after, taken, name)], **options)
        return side_by_side(first, second)
    tell = _OF_A_MODEL[kind]
    return side_by_side(tell(before, **options), tell(after, **options))


def summarise(
    model: nn.Module,
    example_inputs: tuple[Any, ...] | Mapping[str, Any] | None = None,
    after: nn.Module | Plan | None = None,
    *,
    kind: Kind = "compute",
    **options: Any,
) -> Table:
    """The table of one kind, of a model, or before and after: see `compare`."""
    if after is not None:
        return compare(model, after, example_inputs, kind=kind, **options)
    check_kind(kind, example_inputs)
    if kind == "compute":
        assert example_inputs is not None
        return compute(model, example_inputs, **options)
    return _OF_A_MODEL[kind](model, **options)


def check_kind(kind: str, example_inputs: Any) -> None:
    """Raise `SecateurError` for a kind that there is not, or that cannot be told without inputs."""
    if kind not in KINDS:
        raise SecateurError(f"no kind {kind!r}", where="summary", hint=suggestion(kind, KINDS))
    if kind == "compute" and example_inputs is None:
        raise SecateurError("it takes example inputs", where="summary", hint="give what the model's forward takes")


def _cut(inputs: Any, before: nn.Module, after: nn.Module | Plan) -> Any:
    """The inputs for what comes after: states without the entries that left meanwhile."""
    if isinstance(after, Plan):
        return after.states.cut_inputs(inputs)
    for step in recipe_of(after).steps[len(recipe_of(before).steps) :]:
        inputs = step.states.cut_inputs(inputs)
    return inputs


def planned(model: nn.Module, plan: Plan) -> nn.Module:
    """A copy of a model, thinned by a plan; the model is not changed.

    Raises `SecateurError` if it cannot be copied, `ThinError` if the plan does not fit.
    """
    try:
        found = copy.deepcopy(model)
    except Exception as error:
        what = f"the model cannot be copied ({type(error).__name__}: {error})"
        raise SecateurError(what, where="compare", hint="thin a second one, and compare with that") from error
    replay(found, plan)
    return found


def side_by_side(before: Table, after: Table) -> Table:
    """Two tables of the same kind as one: every compared column `before`, `after`, and what is `left`, after / before.

    Rows are matched by their first cell, and come in the order of the first table; a row that only one has is empty on
    the other side. Shares have no `left`.

    Raises `SecateurError` if the tables have different columns.
    """
    shared = [column.name for column in before.columns if column in after.columns and column.compared]
    if before.columns[0] != after.columns[0] or not shared:
        what = f"{before.title!r} and {after.title!r} tell of different things"
        raise SecateurError(what, where="compare", hint="compare two tables of one kind")
    key = before.columns[0].name
    old, new = ({row[key]: row for row in table.records()} for table in (before, after))
    compared = [column for column in before.columns if column.name in shared]
    columns = [before.columns[0]]
    for column in compared:
        columns += _columns(column)

    def cells(first: Mapping[str, Cell], second: Mapping[str, Cell]) -> Row:
        found: list[Cell] = []
        for column in compared:
            found += _cells(column, first.get(column.name), second.get(column.name))
        return tuple(found)

    return Table(
        title=f"{before.title}, before and after",
        columns=columns,
        rows=[(name, *cells(old.get(name, {}), new.get(name, {}))) for name in {**old, **new}],
        total=None if before.total is None else ("total", *cells(before.totals, after.totals)),
        notes=[*(f"before: {note}" for note in before.notes), *(f"after: {note}" for note in after.notes)],
    )


def _columns(column: Column) -> list[Column]:
    """What a column becomes; where it is narrow, what was before goes first, and what is left stays longest."""
    last = 3 * column.rank
    pair = [
        Column(f"{column.name} {when}", column.unit, column.form, column.zero, last + place)
        for when, place in (("before", 2), ("after", 0 if _is_share(column) else 1))
    ]
    return pair if _is_share(column) else [*pair, Column(f"{column.name} left", form=".1%", rank=last)]


def _cells(column: Column, before: Cell, after: Cell) -> list[Cell]:
    if _is_share(column):
        return [before, after]
    known = isinstance(before, int | float) and isinstance(after, int | float)
    return [before, after, after / before if known and before else None]  # type: ignore[operator]


def _is_share(column: Column) -> bool:
    return column.form.endswith("%")
