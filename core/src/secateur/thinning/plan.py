"""A plan: which units go, what that cuts, which attributes change, and what is refused and why.

A plan is immutable, printable and savable. It holds no model and no tensor of the model, only names and indices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from attrs import field, frozen

from secateur.coupling.chains import Chains
from secateur.coupling.refusals import Refusal
from secateur.errors import PlanError, suggestion
from secateur.thinning.ranges import from_ranges, to_ranges
from secateur.thinning.renormalising import Counted, Scaling
from secateur.thinning.silenced import Silenced
from secateur.thinning.states import StateCuts

Indices = np.ndarray[Any, np.dtype[np.int64]]
Cuts = Mapping[str, Mapping[int, Indices]]

FORMAT = 2


@frozen(eq=False, repr=False)
class Dim:
    """All units of one kind, and which of them stay.

    `slices`: {(parameter or buffer, axis): indices}, shape (size, slices per unit): what each unit consists of.
    `readers`: the axes along which a parameter reads what the units write.
    """

    name: str
    size: int
    kept: Indices
    slices: Mapping[tuple[str, int], Indices]
    readers: frozenset[tuple[str, int]] = frozenset()
    exact: bool = True
    """Whether the thin network computes what the masked one does when units of this dim leave."""
    renormalises: tuple[str, ...] = ()
    """The operations that read a size which its units change: such a dim is pruned on request only."""

    def __repr__(self) -> str:
        return f"<Dim {self.name}: {len(self.kept)} of {self.size} units stay>"

    @property
    def leaving(self) -> Indices:
        """The units that leave."""
        found: Indices = np.setdiff1d(np.arange(self.size), self.kept)
        return found


class Refused(Protocol):
    """Who can say what stays, and why: a coupling."""

    @property
    def refusals(self) -> tuple[Refusal, ...]: ...  # noqa: D102


@frozen(eq=False, kw_only=True, repr=False)
class Plan:
    """The decision of what leaves a network; see `secateur.plan`."""

    dims: tuple[Dim, ...]
    _refusals: tuple[Refusal, ...] | Refused = field(alias="refusals")
    cuts: Cuts
    attributes: Mapping[tuple[str, str], tuple[Any, Any]]
    shapes: Mapping[str, tuple[int, ...]]
    """The shape of every parameter and buffer that the plan was made for."""
    cautions: tuple[str, ...] = ()
    """What the recorded run could not show about the model."""
    scalings: tuple[Scaling, ...] = ()
    """Parameters that are rescaled before the cut, so that operations that read sizes compute the same."""
    counted: tuple[Counted, ...] = ()
    """Operations that must count only what stays for the masked network to be the reference."""
    scales: Mapping[str, int] = field(factory=dict)
    """{size expression: its value in the thin network} of integers that scale something in the masked network."""
    unmasked: frozenset[tuple[str, int]] = frozenset()
    """(parameter, axis) whose leaving slices keep their values in the masked network: zero is not in their domain."""
    states: StateCuts = field(factory=StateCuts)
    """What leaves the recurrent states that the model takes and returns."""
    builder: str = "trace"
    """The graph builder that looked at the model."""
    silenced: Silenced | None = None
    """For a plan made from zeros (`secateur.plan_zeros`): what is folded into biases, and what stays all the same."""
    example_inputs: Any = field(default=None)
    """The inputs the plan was made with, for verification; not saved."""
    chains: Chains | None = None
    """Finds the operations that couple what leaves; not saved."""

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        """What stays, and why; worked out when first asked for, since it takes as long as a good part of planning."""
        return self._refusals if isinstance(self._refusals, tuple) else self._refusals.refusals

    @property
    def folds(self) -> Mapping[str, np.ndarray[Any, Any]]:
        """{parameter or buffer: what is added to it before the cut}; empty for plans that are not made from zeros."""
        return self.silenced.folds if self.silenced is not None else {}

    @property
    def reference(self) -> str:
        """What the thin network is compared with, in a word."""
        return "masked" if self.silenced is None else "original"

    def dim(self, name: str) -> Dim:
        """The dim of that name; an unknown name is a `PlanError` with a suggestion."""
        for dim in self.dims:
            if dim.name == name:
                return dim
        raise PlanError(f"no dim named {name!r}", where="plan", hint=suggestion(name, [d.name for d in self.dims]))

    def explain(self, name: str) -> str:
        """Say what a unit of a dim consists of, or why a parameter stays, with the operations that couple or fix it.

        `name`: a dim, or a parameter or module with refusals. A unit's slices are shown at the operations that lead
        to them from the axis that first writes it; a saved plan knows the slices and reasons, not the operations.
        """
        from secateur.thinning.explanation import explanation

        return "\n".join(line for block in explanation(self, name) for line in block.drawn())

    def to_dict(self) -> dict[str, Any]:
        """A form made of dicts, lists, strings and numbers, fit for JSON; `Plan.from_dict` reads it."""
        return {
            "format": FORMAT,
            "dims": [
                {
                    "name": dim.name,
                    "size": dim.size,
                    "kept": to_ranges(dim.kept),
                    "exact": dim.exact,
                    "renormalises": list(dim.renormalises),
                    "slices": [
                        {"name": n, "axis": a, "reads": (n, a) in dim.readers, "indices": indices.tolist()}
                        for (n, a), indices in dim.slices.items()
                    ],
                }
                for dim in self.dims
            ],
            "refusals": [
                {
                    "parameter": r.parameter,
                    "axis": r.axis,
                    "size": r.size,
                    "indices": r.indices,
                    "reasons": [*r.reasons],
                }
                for r in self.refusals
            ],
            "cuts": {n: {str(a): to_ranges(i) for a, i in axes.items()} for n, axes in self.cuts.items()},
            "attributes": [[module, name, *change] for (module, name), change in self.attributes.items()],
            "shapes": {name: list(shape) for name, shape in self.shapes.items()},
            "cautions": list(self.cautions),
            "scalings": [scaling.to_dict() for scaling in self.scalings],
            "counted": [counted.to_dict() for counted in self.counted],
            "scales": dict(self.scales),
            "unmasked": sorted([name, axis] for name, axis in self.unmasked),
            "states": self.states.to_dict(),
            "builder": self.builder,
            "silenced": None if self.silenced is None else self.silenced.to_dict(),
        }

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Plan:
        """Read what `to_dict` wrote; anything else is a `PlanError`."""
        if not isinstance(saved, Mapping) or saved.get("format") != FORMAT:
            raise PlanError(f"expected a saved plan of format {FORMAT}", where="Plan.from_dict")
        try:
            return cls(
                dims=tuple(_dim(entry) for entry in saved["dims"]),
                refusals=tuple(
                    Refusal(r["parameter"], r["axis"], r["size"], r["indices"], tuple(r["reasons"]))
                    for r in saved["refusals"]
                ),
                cuts={n: {int(a): from_ranges(i) for a, i in axes.items()} for n, axes in saved["cuts"].items()},
                attributes={
                    (module, name): (_frozen(old), _frozen(new)) for module, name, old, new in saved["attributes"]
                },
                shapes={name: tuple(shape) for name, shape in saved["shapes"].items()},
                cautions=tuple(str(caution) for caution in saved["cautions"]),
                scalings=tuple(Scaling.from_dict(entry) for entry in saved["scalings"]),
                counted=tuple(Counted.from_dict(entry) for entry in saved["counted"]),
                scales={str(expr): int(value) for expr, value in saved["scales"].items()},
                unmasked=frozenset((str(name), int(axis)) for name, axis in saved["unmasked"]),
                states=StateCuts.from_dict(saved["states"]) if "states" in saved else StateCuts(),
                builder=str(saved["builder"]),
                silenced=None if saved["silenced"] is None else Silenced.from_dict(saved["silenced"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise PlanError(f"the saved plan is damaged: {error!r}", where="Plan.from_dict") from error

    def __repr__(self) -> str:
        return f"<Plan: {len(changed(self.dims))} of {len(self.dims)} dims are pruned, {len(self.cuts)} tensors cut>"

    def __str__(self) -> str:
        from secateur.thinning.tables import plan_text

        return plan_text(self)


def _dim(entry: Mapping[str, Any]) -> Dim:
    slices = {(s["name"], int(s["axis"])): np.array(s["indices"], np.int64) for s in entry["slices"]}
    readers = frozenset((s["name"], int(s["axis"])) for s in entry["slices"] if s["reads"])
    return Dim(
        entry["name"],
        entry["size"],
        from_ranges(entry["kept"]),
        slices,
        readers,
        entry["exact"],
        tuple(entry["renormalises"]),
    )


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def changed(dims: Sequence[Dim]) -> list[Dim]:
    """The dims of which something leaves."""
    return [dim for dim in dims if len(dim.kept) < dim.size]
