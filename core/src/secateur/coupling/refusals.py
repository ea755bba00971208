"""Refusals: what is fixed, why, and where in the user's code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from attrs import frozen

from secateur.coupling.engine import Labelling
from secateur.coupling.facts import Facts, Fix, Renormalisation
from secateur.coupling.labels import Atoms
from secateur.coupling.solver import Solution, components, unique
from secateur.coupling.units import TensorAxes, TensorAxis, Units

REQUEST = "renormalise=True prunes it all the same"
INDIRECT = "it is tied, through a reshape or a grouped operation, to something that stays"
Array = np.ndarray[Any, Any]

MOST = 3
"""Reasons that are given for what stays through products."""


@frozen
class Refusal:
    """One axis of a parameter that stays, wholly or in part, with the reasons.

    `indices` is how many of its `size` indices stay.
    """

    parameter: str
    axis: int
    size: int
    indices: int
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        part = "" if self.indices == self.size else f" ({self.indices} of {self.size} indices)"
        return f"{self.parameter} axis {self.axis}{part}: {'; '.join(self.reasons)}"


def refusals_of(
    labelling: Labelling, solution: Solution, axes: TensorAxes, on_request: Sequence[Units] = ()
) -> tuple[Refusal, ...]:
    """All axes of parameters that something fixes, or that are pruned on request only.

    Those that stay as a matter of course (kernel axes) are left out.
    """
    found = _fixed(labelling, solution, axes)
    values = labelling.graph.values
    for dim in on_request:
        reasons = tuple(f"{reason_of(fact)} ({REQUEST})" for fact in dim.renormalisations)
        for (name, axis), indices in dim.slices.items():
            if values[name].kind == "parameter":
                nothing = np.zeros(values[name].shape[axis], bool)
                stays, others = found.get((name, axis), (nothing, ()))
                stays = stays.copy()  # several axes share it
                stays[indices] = True
                found[name, axis] = stays, tuple(dict.fromkeys(others + reasons))
    return tuple(
        Refusal(name, axis, len(stays), int(stays.sum()), reasons) for (name, axis), (stays, reasons) in found.items()
    )


def reason_of(fact: Renormalisation) -> str:
    """Why units that a renormalisation depends on are no ordinary ones, with the place."""
    return f"{fact.reason}, in {fact.op.kind} at {fact.op.place}" if fact.op else fact.reason


def _fixed(
    labelling: Labelling, solution: Solution, axes: TensorAxes
) -> dict[TensorAxis, tuple[Array, tuple[str, ...]]]:
    """{axis of a parameter: which of its indices are fixed, shape (size,), and why}."""
    facts = labelling.facts
    stays = solution.of[axes.atoms] == solution.fixed
    if not stays.any():
        return {}
    part = solution.tied  # components without the fixes tell which fix explains which axis
    explained = _explained(facts.fixes, part)
    further: dict[int, list[Fix]] | None = None
    of_label: dict[int, tuple[Array, tuple[str, ...]]] = {}
    for label in np.flatnonzero(np.logical_or.reduceat(stays, axes.starts[:-1])).tolist():
        stretch = slice(axes.starts[label], axes.starts[label + 1])
        here = stays[stretch]
        groups = unique(part[axes.atoms[stretch][here]])[0].tolist()
        fixes = list({id(f): f for group in groups for f in explained.get(group, ())}.values())
        loud = [fix for fix in fixes if not fix.silent]
        if fixes and not loud:
            continue
        reasons = tuple(dict.fromkeys(_reason(fix) for fix in loud))
        if not reasons:
            further = further if further is not None else _through_products(facts, solution, part)
            through = [fix for group in groups for fix in further.get(group, ()) if not fix.silent]
            reasons = tuple(dict.fromkeys(f"{INDIRECT}: {_reason(fix)}" for fix in through[:MOST])) or (INDIRECT,)
        of_label[label] = here, reasons
    values = labelling.graph.values
    return {
        key: of_label[label]
        for key, label in zip(axes.keys, axes.label.tolist(), strict=True)
        if label in of_label and values[key[0]].kind == "parameter"
    }


def _explained(fixes: Sequence[Fix], part: Atoms) -> dict[int, list[Fix]]:
    """{component: the fixes that name an atom of it}."""
    found: dict[int, list[Fix]] = {}
    for fix in fixes:
        for component in unique(part[fix.atoms])[0].tolist():
            found.setdefault(component, []).append(fix)
    return found


def _through_products(facts: Facts, solution: Solution, part: Atoms) -> dict[int, list[Fix]]:
    """{component: the fixes that reach it through products}: what stays makes the sides of a product stay, and back."""
    edges = []
    for pair in facts.pairs:
        shape = (len(pair.outer), len(pair.inner))
        for side in (np.broadcast_to(pair.outer[:, None], shape), np.broadcast_to(pair.inner, shape)):
            product, other = pair.product, side.reshape(-1)
            both = (solution.of[product] == solution.fixed) & (solution.of[other] == solution.fixed)
            edges.append((part[product[both]], part[other[both]]))
    _, wide = components(int(part.max()) + 1, edges)
    reached = _explained(facts.fixes, wide[part])
    return {
        component: reached[int(wide[component])] for component in range(len(wide)) if int(wide[component]) in reached
    }


def _reason(fix: Fix) -> str:
    place: Any = f", in {fix.op.kind} at {fix.op.place}" if fix.op else ""
    return f"{fix.reason}{place}" + (f" ({fix.hint})" if fix.hint else "")
