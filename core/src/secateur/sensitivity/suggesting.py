"""Find ratios by dim or tensor: as much of each as costs, by itself, the same; how much, is tried on the whole."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import field, frozen

from secateur.errors import ConfigError, PlanError
from secateur.pruning.lowest import lowest

if TYPE_CHECKING:
    from torch import nn

    from secateur.coupling.analysis import Coupling
    from secateur.sensitivity.engines import Engine
    from secateur.sensitivity.results import Sensitivity
    from secateur.thinning.plan import Plan

STEPS = 14
"""Halvings of the interval in which the common loss is looked for."""


@frozen(eq=False, repr=False)
class Suggestion(Mapping[str, float]):
    """{dim or tensor: the share of it that leaves}, ready to be given as `prune=`; and what was measured of it."""

    ratios: Mapping[str, float]
    by: str = "dim"
    criterion: str = "l1"
    macs: float | None = None
    """The share of the dense multiply-accumulates that is left, by units."""
    metrics: Mapping[str, float] = field(factory=dict)
    """Of the network with all of it masked, without fine-tuning."""
    sensitivities: Mapping[str, float] = field(factory=dict)
    """By elements: {tensor: s} for the pruner "sensitivity", whose threshold is s times the standard deviation."""

    def __getitem__(self, name: str) -> float:
        return self.ratios[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.ratios)

    def __len__(self) -> int:
        return len(self.ratios)

    def __repr__(self) -> str:
        return f"<Suggestion: {self.told()}>"

    def told(self) -> str:
        """What was measured, in a line."""
        left = [] if self.macs is None else [f"{self.macs:.1%} of the MACs are left"]
        measured = [f"{name} {value:.4g}" for name, value in self.metrics.items()]
        return ", ".join([*left, f"{' and '.join(measured)} when masked, without fine-tuning"])

    def yaml(self) -> str:
        """A schedule that prunes so in its first epoch; see `secateur.Scheduler.from_yaml`."""
        lines = ["version: 1", f"# {self.told()}", "pruners:"]
        used = []
        if self.by == "tensor":
            used = ["suggested"]
            lines += ["  suggested:", "    class: level", "    levels:"]
            lines += [f"      {_quoted(name)}: {ratio}" for name, ratio in self.ratios.items()]
        else:
            shares: dict[float, list[str]] = {}
            for name, ratio in self.ratios.items():
                shares.setdefault(ratio, []).append(name)
            for number, (ratio, names) in enumerate(sorted(shares.items()), 1):
                used.append(f"suggested_{number}")
                lines += [f"  {used[-1]}:", "    class: magnitude", f"    criterion: {self.criterion}"]
                lines += [f"    sparsity: {ratio}", "    dims:", *(f"      - {_quoted(name)}" for name in names)]
        if not used:
            return "\n".join([*lines[:2], "pruners: {}", "policies: []", ""])
        lines += ["policies:"]
        for name in used:
            lines += [f"  - pruner: {{instance_name: {name}}}", "    epochs: [0]"]
        return "\n".join([*lines, ""])


def _quoted(name: str) -> str:
    return name if name.replace(".", "").replace("_", "").isalnum() else json.dumps(name)


@frozen(eq=False, kw_only=True)
class Joint:
    """Evaluates choices of several dims or tensors at once."""

    model: nn.Module
    example_inputs: Any
    coupling: Coupling | None
    engine: Callable[[], Engine]
    """Makes an engine, or gives the one that there is."""
    criterion: str
    calibrate: Callable[[nn.Module], Any] | None = None
    builder: str = "trace"

    def plan(self, ratios: Mapping[str, float]) -> Plan:
        """The plan by which these shares leave."""
        from secateur.pruning.selection import ratios_of
        from secateur.thinning.planner import select_plan

        assert self.coupling is not None
        shares = ratios_of(self.coupling.dims, ratios, ())
        return select_plan(
            self.model,
            self.coupling,
            shares,
            self.criterion,
            example_inputs=self.example_inputs,
            calibrate=self.calibrate,
        )

    def macs(self, plan: Plan | None = None) -> int:
        """Multiply-accumulates of one example, of the thin network."""
        from secateur.measure import macs
        from secateur.thinning.masking import results_held
        from secateur.thinning.transaction import replay

        if plan is None:
            return macs(self.model, self.example_inputs, self.builder)
        twin = copy.deepcopy(self.model, results_held(self.model))
        replay(twin, plan)
        return macs(twin, self.example_inputs, self.builder)

    def metrics(self, ratios: Mapping[str, float], sizes: Mapping[str, int]) -> dict[str, float]:
        """The metrics of the masked network."""
        from secateur.sensitivity.subjects import Subject, Trial

        if self.coupling is None:
            trial = Trial((1.0,), 1, {}, {name: int(ratio * sizes[name]) for name, ratio in ratios.items()})
        else:
            plan = self.plan(ratios)
            cuts = {n: {a: i for a, i in axes.items() if (n, a) not in plan.unmasked} for n, axes in plan.cuts.items()}
            trial = Trial((1.0,), 1, {name: axes for name, axes in cuts.items() if axes})
        ((_, found),) = self.engine().run(Subject("all of it together", 1, (trial,)))
        return found


def suggest(found: Sensitivity, accuracy: float | None, macs: float | None) -> Suggestion:
    """See `Sensitivity.suggest`."""
    _check(found, accuracy, macs)
    joint = found.joint
    assert joint is not None
    if macs is not None:
        dense = joint.macs()

        def share(ratios: Mapping[str, float]) -> float:
            return joint.macs(joint.plan(ratios)) / dense

        ratios = _least(found, lambda ratios: share(ratios) <= macs)
        if ratios is None:
            least = share(_ratios(found, 2.0))
            what = f"{least:.1%} of the MACs are left at the highest level, {found.levels[-1]:g}, of every dim"
            raise PlanError(what, where=f"macs={macs:g}", hint="ask for more, or analyse higher levels")
        return _suggested(found, ratios, share(ratios) if ratios else 1.0)
    assert accuracy is not None
    sign, value = (1.0 if found.higher_is_better else -1.0), found.dense[found.metric]
    if sign * value < sign * accuracy:
        what = f"{found.metric} is {value:.4g} before anything leaves"
        raise PlanError(what, where=f"accuracy={accuracy:g}", hint="ask for less")
    ratios = _most(found, lambda ratios: sign * joint.metrics(ratios, found.sizes)[found.metric] >= sign * accuracy)
    plan = joint.plan(ratios) if found.by == "dim" else None
    return _suggested(found, ratios, None if plan is None else joint.macs(plan) / max(joint.macs(), 1))


def _check(found: Sensitivity, accuracy: Any, macs: Any) -> None:
    if (accuracy is None) == (macs is None):
        raise ConfigError("give either accuracy= or macs=", where="suggest")
    if found.by not in ("dim", "tensor"):
        raise ConfigError(f"nothing is suggested by {found.by}", where="suggest", hint="analyse by dim or tensor")
    if macs is not None and found.by != "dim":
        what = "weights that are zero one by one save no MACs"
        raise ConfigError(what, where="suggest", hint="analyse by dim, or ask for accuracy=")
    for name, value in (("accuracy", accuracy), ("macs", macs)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, Real)):
            raise ConfigError(f"expected a number, got {value!r}", where=name)
    if macs is not None and not 0 < macs <= 1:
        raise ConfigError(f"{macs} is no share of the dense MACs in (0, 1]", where="macs", hint="such as 0.5")
    if found.joint is None:
        what = "it was read from a file, and the model is needed to measure a choice"
        raise ConfigError(what, where="suggest", hint="analyse again with that file as results=: it is all known then")


def _suggested(found: Sensitivity, ratios: Mapping[str, float], macs: float | None) -> Suggestion:
    assert found.joint is not None
    metrics = found.joint.metrics(ratios, found.sizes) if ratios else found.dense
    sensitivities = _sensitivities(found.joint.model, ratios) if found.by == "tensor" else {}
    return Suggestion(dict(ratios), found.by, found.criterion, macs, metrics, sensitivities)


def _least(found: Sensitivity, enough: Callable[[Mapping[str, float]], bool]) -> dict[str, float] | None:
    """The smallest choice that is enough; None if even the largest is not."""
    low, high = 0.0, 2.0
    best = _ratios(found, high)
    if not enough(best):
        return None
    if enough({}):
        return {}
    for _ in range(STEPS):
        middle = (low + high) / 2
        tried = _ratios(found, middle)
        if enough(tried):
            high, best = middle, tried
        else:
            low = middle
    return best


def _most(found: Sensitivity, allowed: Callable[[Mapping[str, float]], bool]) -> dict[str, float]:
    """The largest choice that is allowed, as far as halving finds it."""
    low, high = 0.0, 2.0
    best: dict[str, float] = {}
    if allowed(tried := _ratios(found, high)):
        return tried
    for _ in range(STEPS - 4):  # each is an evaluation
        middle = (low + high) / 2
        tried = _ratios(found, middle)
        if allowed(tried):
            low, best = middle, tried
        else:
            high = middle
    return best


def _ratios(found: Sensitivity, amount: float) -> dict[str, float]:
    """The choice of an amount in [0, 2]: up to 1 a share of what costs nothing, above what costs the same loss each.

    The loss is the cube of `amount - 1`, in shares of the largest that was measured: small losses are told apart.
    Between levels it is interpolated.
    """
    losses = found.losses()
    worst = max((float(x) for row in losses.values() for x in row if np.isfinite(x)), default=0.0)
    allowed = max(amount - 1, 0.0) ** 3 * max(worst, 0.0)
    made = {}
    for name, row in losses.items():
        ratio = min(amount, 1.0) * level_at(found.levels, row, allowed if amount < 2 else np.inf)
        count = int(ratio * found.sizes[name] + 1e-9)
        if count:
            made[name] = exact_ratio(count, found.sizes[name])
    return made


def level_at(levels: list[float], losses: Any, allowed: float) -> float:
    """The largest level whose loss, and that of all levels below it, is allowed; interpolated.

    >>> level_at([0.2, 0.4], [0.0, 0.1], 0.05)
    0.3
    """
    before, loss = 0.0, 0.0
    for level, here in zip(levels, losses, strict=True):
        if not here <= allowed:
            share = (allowed - loss) / (here - loss) if np.isfinite(here) and here > loss else 0.0
            return round(before + (level - before) * share, 6)
        before, loss = level, max(loss, float(here))
    return before


def exact_ratio(count: int, size: int) -> float:
    """A short decimal r with `int(r * size) == count`.

    >>> exact_ratio(29, 100), exact_ratio(1, 3)
    (0.291, 0.34)
    """
    for digits in range(2, 17):
        scale = 10**digits
        ratio = -(-count * scale // size) / scale
        for tried in (ratio, ratio + 1 / scale):
            if int(tried * size) == count and tried < 1:
                return float(round(tried, digits))
    return count / size


def _sensitivities(model: nn.Module, ratios: Mapping[str, float]) -> dict[str, float]:
    """For each tensor the largest magnitude that leaves, in standard deviations."""
    from secateur.pruning.weights import deviation
    from secateur.thinning.state import named_parameters

    parameters, found = named_parameters(model), {}
    for name, ratio in ratios.items():
        tensor = parameters[name].detach()
        gone = tensor[~lowest(tensor, int(ratio * tensor.numel()), name)]
        spread = deviation(tensor)
        if gone.numel() and spread:
            found[name] = float(gone.abs().max()) / spread
    return found
