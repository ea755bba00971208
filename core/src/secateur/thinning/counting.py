"""What leaving units do to operations that read sizes: what is rescaled, and what must count only what stays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import define, field

from secateur.coupling.analysis import Leaving
from secateur.coupling.facts import Compensation
from secateur.coupling.system import SizeSystem
from secateur.errors import PlanError
from secateur.graph.ir import Op, Ref
from secateur.graph.nested import leaves_of
from secateur.graph.sizes import Literal, Size
from secateur.thinning.renormalising import Axes, Counted, Scaling
from secateur.thinning.state import get_attribute

if TYPE_CHECKING:
    from torch import nn


@define(eq=False)
class Renormalising:
    """What a choice of units changes beyond shapes."""

    scalings: list[Scaling] = field(factory=list)
    attributes: dict[tuple[str, str], tuple[Any, Any]] = field(factory=dict)
    counted: list[Counted] = field(factory=list)
    scales: dict[str, int] = field(factory=dict)


def renormalising(model: nn.Module, gone: Leaving) -> Renormalising:
    """Find what must be rescaled or counted anew when units leave.

    Raises `PlanError` if one parameter or attribute would have to be rescaled in two ways.
    """
    found = Renormalising()
    if not gone.coupling.labelling.facts.renormalisations:
        return found
    sizes = SizeSystem(gone.coupling.labelling)
    factors: dict[Any, float] = {}
    counted: dict[str, Op] = {}
    for fact in gone.coupling.labelling.facts.renormalisations:
        share = gone.count(fact.atoms) / len(fact.atoms)
        if share == 1:
            continue
        if fact.op is None:
            if fact.size is not None:
                found.scales[str(fact.size.expr)] = int(sizes.value(fact.size.expr, gone.count))
            continue
        if not fact.compensations and not fact.op.training:
            counted[fact.op.name] = fact.op
        for compensation in fact.compensations:
            factor = share**compensation.power
            indices = compensation.indices
            key = compensation.attribute or (compensation.value, None if indices is None else indices.tobytes())
            if key not in factors:
                factors[key] = factor
                _rescale(model, compensation, factor, found)
            elif not np.isclose(factors[key], factor):
                where = ".".join(filter(None, compensation.attribute or (compensation.value,)))
                raise PlanError(
                    "two operations read it and would need it rescaled in two ways",
                    where=where,
                    hint="keep the dims that renormalise",
                )
    found.counted = [_counted(op, gone, sizes) for op in counted.values()]
    return found


def _rescale(model: nn.Module, compensation: Compensation, factor: float, found: Renormalising) -> None:
    if compensation.attribute is None:
        found.scalings.append(Scaling(compensation.value, factor, compensation.indices))
        return
    held = get_attribute(model, *compensation.attribute)
    found.attributes[compensation.attribute] = (held, (compensation.default if held is None else held) * factor)


def _counted(op: Op, gone: Leaving, sizes: SizeSystem) -> Counted:
    labelling = gone.coupling.labelling

    def axes_of(name: str) -> Axes:
        leaving = {
            axis: np.flatnonzero(gone.atoms[entry.atoms]) for axis, entry in enumerate(labelling.labels[name].axes)
        }
        return {axis: indices for axis, indices in leaving.items() if len(indices)}

    def argument(leaf: Any) -> Axes | int | None:
        if isinstance(leaf, Ref):
            return axes_of(leaf.name)
        if isinstance(leaf, Size) and not isinstance(leaf.expr, Literal):
            return int(sizes.value(leaf.expr, gone.count))
        return None

    arguments = tuple(argument(leaf) for leaf in leaves_of((op.args, op.kwargs)))
    return Counted(op.name, op.place, arguments, tuple(axes_of(name) for name in op.outputs))
