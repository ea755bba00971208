"""A policy of a pruner or a regularizer while its schedule runs: what it decided last, and how that is masked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from attrs import define, evolve, field

from secateur.errors import ConfigError, SecateurError
from secateur.plugins import current
from secateur.pruning.base import Array, Decision, Moment, Pruner
from secateur.pruning.masks import Cuts, Factors, Masks, joined, sliced, unit_factors
from secateur.pruning.members import members_of
from secateur.pruning.regularizer import Regularizer
from secateur.pruning.units import UnitPruner
from secateur.schedule.network import LiveNetwork, View
from secateur.schedule.policy import Policy


@define(eq=False)
class PolicyRun:
    """One policy, what it sees, and its state. `index`: its place among the policies of the schedule."""

    index: int
    policy: Policy
    view: View
    moment: Moment | None = None
    """When it is due in the present epoch; None if it is not."""
    waiting: bool = False
    """It is due, and decides as soon as it may: see `may_decide`."""
    forward: bool = field(init=False)
    """It masks in forward and backward only."""
    masks: Masks | None = None
    """Its own masks, if it masks in the forward only."""

    def __attrs_post_init__(self) -> None:
        self.forward = self.policy.args.mask_on_forward_only

    @property
    def instance(self) -> Pruner | Regularizer:
        """The pruner or regularizer."""
        found: Any = self.policy.instance
        return found  # type: ignore[no-any-return]

    @property
    def decision(self) -> Decision:
        """What it decided last."""
        return self.view.decision

    @decision.setter
    def decision(self, made: Decision) -> None:
        """Replace it; masks are not made of it yet."""
        self.view.decision = made

    # -- deciding -----------------------------------------------------------------------------------------------

    def begin(self, epoch: int) -> bool:
        """Begin an epoch; whether it decided anything new."""
        self.moment, self.waiting = self.policy.window.moment(epoch), False
        if self.moment is None or not isinstance(self.instance, Pruner):
            return False
        self.waiting = not self.may_decide(step=0)
        if not self.waiting:
            self.decide(self.moment)
        return not self.waiting

    def may_decide(self, step: int) -> bool:
        """Whether it need not wait: for the second mini-batch, or for mini-batches to be seen."""
        gathered = self.view.collector is None or self.view.collector.seen > 0
        return gathered and not (step == 0 and self.policy.args.skip_first_minibatch)

    def again(self, moment: Moment) -> bool:
        """Whether it decides anew in the middle of its epoch."""
        every = self.policy.args.mini_batch_pruning_frequency
        return every > 0 and moment.step > 0 and (moment.epoch * moment.steps + moment.step) % every == 0

    def decide(self, moment: Moment) -> None:
        """Ask it."""
        with self.blamed():
            made = self.instance.decide(self.view, moment)
        self.waiting = False
        self.decision = made if made is not None else Decision()

    def used_up(self) -> None:
        """Forget what was gathered: it was decided by."""
        if self.view.collector is not None:
            self.view.collector.reset()

    def blamed(self) -> _Blamed:
        """Errors within are errors of the policy, with its file and line."""
        return _Blamed(self.policy.where)

    # -- what it masks ------------------------------------------------------------------------------------------

    def units(self) -> Mapping[int, Array]:
        """The units that leave: {position of a dim: units}."""
        return self.decision.units

    def factors(self, network: LiveNetwork) -> Factors:
        """Its factors, each of the rank of its parameter."""
        found: Factors = {}
        for name, factor in self.decision.factors.items():
            rank = network.parameters[name].dim()
            found[name] = [factor.reshape((1,) * (rank - factor.dim()) + tuple(factor.shape))]
        return found

    def mask_forward(self, network: LiveNetwork, cuts: Cuts) -> None:
        """Make its own masks, for the forward: its factors, and the slices that its units are."""
        units = unit_factors(network.parameters, cuts, frozenset(network.coupling.labelling.facts.unmasked))
        self.masks = Masks(network.parameters, joined([units if self.decision.whole else {}, self.factors(network)]))

    def lay_on(self) -> None:
        """Mask for a forward."""
        if self.masks is not None:
            if self.policy.args.use_double_copies:
                self.masks.lay_on()
            else:
                self.masks.apply()

    def mask_gradients(self) -> None:
        """Set the gradients of what it masks in the forward to zero, if the policy says so."""
        if self.masks is not None and self.policy.args.mask_gradients:
            self.masks.apply_to_gradients()

    def take_off(self) -> None:
        """Take the mask back before the optimizer's step; nothing happens if that is done."""
        if self.masks is not None:
            self.masks.take_off()

    def forget(self) -> None:
        """Mask nothing any more."""
        self.decision, self.masks = Decision(), None

    def follow(self, cuts: Cuts) -> None:
        """Go on with a network of which something left: {parameter: {axis: indices that left}}."""
        factors = {name: sliced(factor, cuts.get(name, {})) for name, factor in self.decision.factors.items()}
        self.decision, self.masks = evolve(self.decision, units={}, factors=factors), None

    # -- gathering ----------------------------------------------------------------------------------------------

    def gather(self, network: LiveNetwork, epoch: int) -> None:
        """Let its collector look on if what it gathers in this epoch will be used."""
        collector = self.view.collector
        if collector is None:
            return
        collector.detach()
        args, window = self.policy.args, self.policy.window
        again = self.moment is not None and args.mini_batch_pruning_frequency > 0
        if not (self.waiting or again or window.moment(epoch + 1) is not None):
            return
        dims = network.coupling.dims
        with self.blamed():
            targets = self.instance.targets(self.view) if isinstance(self.instance, UnitPruner) else []
            collector.attach(
                network.model,
                {i: members_of(dims[i].slices, dims[i].readers, network.parameters) for i in targets},
            )

    def new_collector(self) -> None:
        """Make the collector that its criterion needs, if any."""
        name = getattr(self.instance, "criterion", None)
        record = current().criteria.get(name, None) if isinstance(name, str) else None
        if self.view.collector is not None:
            self.view.collector.detach()
        if record is not None and record.collector is not None and not isinstance(self.instance, UnitPruner):
            raise ConfigError(
                f"the criterion {name!r} scores what mini-batches show, which {self.instance.name} does not gather",
                where=self.policy.where,
                hint="name a criterion of weights, such as l1",
            )
        self.view.collector = record.collector() if record is not None and record.collector is not None else None


class _Blamed:
    """Turns errors into errors of a policy, which say where it stands."""

    def __init__(self, where: str) -> None:
        self.where = where

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if isinstance(error, SecateurError) and not isinstance(error, ConfigError):
            raise ConfigError(str(error), where=self.where) from error


def united(runs: Sequence[PolicyRun], sizes: Sequence[int]) -> list[Array]:
    """The units of each dim that any of some policies lets leave, sorted."""
    found = [np.empty(0, np.int64) for _ in sizes]
    for run in runs:
        for dim, units in run.units().items():
            found[dim] = np.union1d(found[dim], np.asarray(units, np.int64))
    return found
