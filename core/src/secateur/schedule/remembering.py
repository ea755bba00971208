"""Remember a scheduler as it is, to put it back exactly if something fails that would have changed it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from attrs import fields

if TYPE_CHECKING:
    from secateur.schedule.scheduler import Scheduler


def remember(scheduler: Scheduler) -> Callable[[], None]:
    """How to put a scheduler back as it is now, once its model and its optimizer are as they were."""
    objects: list[Any] = [scheduler, scheduler.network, scheduler.masking, scheduler.rates]
    objects += [run.view for run in scheduler.runs]
    held = [(thing, dict(vars(thing))) for thing in objects]
    memories = [(run.view, copy.deepcopy(run.view.memory)) for run in scheduler.runs]
    runs = [(run, {f.name: getattr(run, f.name) for f in fields(type(run))}) for run in scheduler.runs]
    rates = dict(scheduler.rates._made)
    states = copy.deepcopy(scheduler.rates.state_dict())
    generator = scheduler.generator.get_state()
    groups = [(group, dict(group)) for group in scheduler.optimizer.param_groups]

    def restore() -> None:
        for run in scheduler.runs:
            if run.view.collector is not None:
                run.view.collector.detach()
        for thing, attributes in held:
            vars(thing).clear()
            vars(thing).update(attributes)
        for view, memory in memories:
            view.memory = memory
        for run, values in runs:
            for name, value in values.items():
                setattr(run, name, value)
        scheduler.rates._made = rates
        scheduler.generator.set_state(generator)
        for index, made in rates.items():
            made.load_state_dict(states[str(index)])
        for group, options in groups:
            group.clear()
            group.update(options)
        for run in scheduler.runs:
            if scheduler.epoch is not None:
                run.gather(scheduler.network, scheduler.epoch)

    return restore
