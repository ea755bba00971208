"""The state of a schedule that runs: what a scheduler needs to go on where another one stopped.

It is made of dicts, lists, numbers, texts and tensors only, so that any format can hold it. Decisions are kept by the
names of dims and parameters; masks are made anew from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from secateur.errors import ConfigError
from secateur.pruning.base import Decision

if TYPE_CHECKING:
    from secateur.schedule.running import PolicyRun
    from secateur.schedule.scheduler import Scheduler

VERSION = 1
HINT = "give the state that was saved with this schedule and this network"


def seen_before(state: Mapping[str, Any] | None) -> tuple[Mapping[str, int] | None, bool]:
    """The sizes dims had when the schedule began, and whether anything was thinned since, as a state says."""
    if state is None:
        return None, False
    _check_version(state)
    return state["original"], bool(state["thinned"])


def save_state(scheduler: Scheduler) -> dict[str, Any]:
    """The state of a scheduler between two mini-batches."""
    return {
        "version": VERSION,
        "policies": [f"{policy.kind} {policy.name}" for policy in scheduler.schedule.policies],
        "epoch": scheduler.epoch,
        "due": list(scheduler.due),
        "original": dict(scheduler.network.original),
        "thinned": scheduler.network.thinned,
        "generator": scheduler.generator.get_state(),
        "runs": {str(run.index): _save_run(run) for run in scheduler.runs},
        "rates": scheduler.rates.state_dict(),
    }


def _save_run(run: PolicyRun) -> dict[str, Any]:
    import torch

    dims, collector = run.view.dims, run.view.collector
    return {
        "memory": dict(run.view.memory),
        "units": {dims[i].name: torch.from_numpy(units.astype("int64")) for i, units in run.decision.units.items()},
        "factors": {name: factor.clone() for name, factor in run.decision.factors.items()},
        "whole": run.decision.whole,
        "forward": run.forward,
        "waiting": run.waiting,
        "over": run.moment is None,
        "gathered": {} if collector is None else collector.state(),
    }


def load_state(scheduler: Scheduler, state: Mapping[str, Any]) -> None:
    """Set a scheduler to a state; `ConfigError` if it is of another schedule or network, and nothing is changed."""
    _check_version(state)
    policies = [f"{policy.kind} {policy.name}" for policy in scheduler.schedule.policies]
    if list(state["policies"]) != policies:
        raise ConfigError(
            f"the state is of a schedule with the policies {list(state['policies'])}, this one has {policies}",
            where=scheduler.schedule.source,
            hint=HINT,
        )
    decisions = [_decision(scheduler, run, state["runs"][str(run.index)]) for run in scheduler.runs]
    scheduler.epoch, scheduler.due = state["epoch"], list(state["due"])
    scheduler.network.original, scheduler.network.thinned = dict(state["original"]), bool(state["thinned"])
    scheduler.generator.set_state(state["generator"])
    scheduler.rates.load_state_dict(state["rates"])
    for run, decision in zip(scheduler.runs, decisions, strict=True):
        held = state["runs"][str(run.index)]
        run.view.memory = dict(held["memory"])
        run.decision, run.forward, run.waiting = decision, held["forward"], held["waiting"]
        over = held["over"] or scheduler.epoch is None
        run.moment = None if over else run.policy.window.moment(scheduler.epoch)
        if run.view.collector is not None:
            run.view.collector.load(held["gathered"])


def _decision(scheduler: Scheduler, run: PolicyRun, held: Mapping[str, Any]) -> Decision:
    positions = {dim.name: i for i, dim in enumerate(scheduler.dims)}
    for name, units in held["units"].items():
        if name not in positions:
            raise ConfigError(f"the state masks units of the dim {name!r}, which the network lacks", hint=HINT)
        size = len(scheduler.dims[positions[name]])
        if len(units) and not 0 <= int(units.min()) <= int(units.max()) < size:
            raise ConfigError(f"the state masks units of {name!r} that its {size} do not include", hint=HINT)
    parameters = scheduler.network.parameters
    for name, factor in held["factors"].items():
        shape = tuple(parameters[name].shape) if name in parameters else None
        if shape is None or not _fits(tuple(factor.shape), shape):
            raise ConfigError(
                f"the state masks {name!r} by a factor of shape {tuple(factor.shape)}, it has {shape or 'no place'}",
                hint=HINT,
            )
    return Decision(
        units={positions[name]: units.numpy() for name, units in held["units"].items()},
        factors={name: factor.to(parameters[name].device) for name, factor in held["factors"].items()},
        whole=held["whole"],
    )


def _fits(factor: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Whether a factor broadcasts to a shape."""
    return len(factor) <= len(shape) and all(a in (1, b) for a, b in zip(factor[::-1], shape[::-1], strict=False))


def _check_version(state: Mapping[str, Any]) -> None:
    if not isinstance(state, Mapping) or state.get("version") != VERSION:
        found = state.get("version") if isinstance(state, Mapping) else type(state).__name__
        raise ConfigError(f"expected the state of a scheduler, version {VERSION}, got {found!r}", hint=HINT)
