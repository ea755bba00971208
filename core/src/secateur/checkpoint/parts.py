"""What trains a model beside its optimizer, as a checkpoint holds it: schedule, learning rates, random states."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from attrs import field, frozen

from secateur.checkpoint.random_states import random_states, set_random_states
from secateur.errors import CheckpointError

if TYPE_CHECKING:
    import torch
    from torch.optim.lr_scheduler import LRScheduler

    from secateur.thinning.recipe import Step

SAVE = "save it with {0}=, or load it without"


class Resumable(Protocol):
    """What a checkpoint needs of a `secateur.Scheduler`."""

    def state_dict(self) -> dict[str, Any]:
        """Where the schedule is, as a tree."""

    def resume(self, state: Mapping[str, Any], steps: Sequence[Step] = ()) -> None:
        """Look at the model anew, which was just thinned by these steps, and go on from a state."""

    def remember(self) -> Callable[[], None]:
        """How to put it back as it is now."""


@frozen(eq=False, kw_only=True)
class Parts:
    """The objects whose state is saved or loaded."""

    scheduler: Resumable | None = None
    lr_schedulers: Sequence[LRScheduler] = ()
    rng: bool = False
    generators: Mapping[str, torch.Generator] = field(factory=dict)

    @classmethod
    def of(
        cls,
        scheduler: Resumable | None,
        lr_schedulers: LRScheduler | Sequence[LRScheduler],
        rng: bool,
        generators: Mapping[str, torch.Generator] | None,
    ) -> Parts:
        """The parts as `save` and `load` are given them."""
        several = lr_schedulers if isinstance(lr_schedulers, Sequence) else (lr_schedulers,)
        return cls(scheduler=scheduler, lr_schedulers=tuple(several), rng=rng, generators=dict(generators or {}))

    def trees(self) -> dict[str, Any]:
        """Their states as trees by name; what is not there is left out."""
        found: dict[str, Any] = {}
        if self.scheduler is not None:
            found["scheduler"] = self.scheduler.state_dict()
        if self.lr_schedulers:
            found["lr_schedulers"] = [
                {"class": type(held).__name__, "state": _state(held.state_dict())} for held in self.lr_schedulers
            ]
        if self.rng:
            found["rng"] = random_states()
        if self.generators:
            found["generators"] = {name: held.get_state() for name, held in self.generators.items()}
        return found

    def check(self, trees: Mapping[str, Any], where: str) -> None:
        """Raise `CheckpointError` unless the file holds what is to be loaded, and of the same classes."""
        wanted = {
            "scheduler": self.scheduler is not None,
            "lr_schedulers": bool(self.lr_schedulers),
            "rng": self.rng,
            "generators": bool(self.generators),
        }
        said = {
            "scheduler": "no state of a schedule",
            "lr_schedulers": "no learning-rate schedulers",
            "rng": "no random states",
            "generators": "no states of generators",
        }
        for name, asked in wanted.items():
            if asked and name not in trees:
                raise CheckpointError(f"it holds {said[name]}", where=where, hint=SAVE.format(name))
        if self.lr_schedulers:
            mine = [type(held).__name__ for held in self.lr_schedulers]
            theirs = [held["class"] for held in trees["lr_schedulers"]]
            if mine != theirs:
                what = f"its learning-rate schedulers are {', '.join(theirs)}, those given are {', '.join(mine)}"
                raise CheckpointError(what, where=where, hint="give them as they were when it was saved")
        for name in self.generators:
            if name not in trees["generators"]:
                there = ", ".join(map(repr, trees["generators"]))
                what = f"it holds no state of a generator {name!r}"
                raise CheckpointError(what, where=where, hint=f"those in it are {there}")

    def restore(self, trees: Mapping[str, Any], steps: Sequence[Step]) -> None:
        """Set all of them; the model and its optimizer are what they will be already, the model by these last steps."""
        if self.scheduler is not None:
            self.scheduler.resume(trees["scheduler"], steps)
        for held, saved in zip(self.lr_schedulers, trees.get("lr_schedulers", ()), strict=False):
            held.load_state_dict(saved["state"])
        for name, generator in self.generators.items():
            generator.set_state(trees["generators"][name])
        if self.rng:
            set_random_states(trees["rng"])

    def remember(self) -> Callable[[], None]:
        """How to put them back as they are now, once model and optimizer were put back."""
        undo = [] if self.scheduler is None else [self.scheduler.remember()]
        rates = [(held, copy.deepcopy(_state(held.state_dict()))) for held in self.lr_schedulers]
        states = [(held, held.get_state()) for held in self.generators.values()]
        rng = random_states() if self.rng else None

        def restore() -> None:
            for put_back in undo:
                put_back()
            for held, state in rates:
                held.load_state_dict(state)
            for generator, before in states:
                generator.set_state(before)
            if rng is not None:
                set_random_states(rng)

        return restore


def _state(value: Any) -> Any:
    """The state of a learning-rate scheduler without what is no state: classes keep functions or the optimizer."""
    if isinstance(value, dict):
        return type(value)({k: _state(v) for k, v in value.items() if not callable(v) and k != "optimizer"})
    if isinstance(value, list):
        return [_state(entry) for entry in value]
    return value
