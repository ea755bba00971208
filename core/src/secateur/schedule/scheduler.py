"""The scheduler: a plain object that follows a schedule in any training loop.

    for epoch in range(epochs):
        scheduler.on_epoch_begin(epoch)
        for step, (inputs, targets) in enumerate(loader):
            scheduler.on_minibatch_begin(epoch, step, len(loader))
            loss = scheduler.before_backward(criterion(model(inputs), targets))
            loss.backward(); optimizer.step(); optimizer.zero_grad()
            scheduler.on_minibatch_end(epoch, step, len(loader))
        scheduler.on_epoch_end(epoch, metrics={"loss": validation_loss})

Pruners decide at the begin of an epoch, in the order of declaration; thinning happens at the first mini-batch of its
epoch, after the masks were made. Masks hold in every epoch, whether or not a policy is due.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from secateur.config import Node, load
from secateur.coupling.analysis import Coupling
from secateur.errors import ConfigError, SecateurError
from secateur.graph.capture import normalise_inputs
from secateur.plugins import PluginManager, current
from secateur.pruning.base import Pruner
from secateur.pruning.masks import Masks
from secateur.pruning.naming import resolve
from secateur.schedule.grammar import Policy, Schedule, read_schedule
from secateur.schedule.lr import LRPolicy
from secateur.schedule.thinner import Thinner
from secateur.thinning.optimizer import NOT_FOLLOWED
from secateur.thinning.plan import Plan
from secateur.thinning.planner import couple, make_plan, scorer, spare
from secateur.thinning.report import Report
from secateur.thinning.state import named_parameters
from secateur.thinning.transaction import thin

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

Array = np.ndarray[Any, Any]


class Scheduler:
    """Follows a schedule; see the module's docstring for the loop it fits.

    `example_inputs`: what `secateur.plan` takes. Everything a schedule names is looked up now: a pattern that matches
    no dim is a `ConfigError` before training starts.
    """

    def __init__(
        self, schedule: Schedule, model: nn.Module, optimizer: Optimizer, example_inputs: Any, builder: str = "trace"
    ) -> None:
        self.schedule, self.model, self.optimizer = schedule, model, optimizer
        self.reports: list[Report] = []
        self._inputs = normalise_inputs(example_inputs)
        self._builder = builder
        self._coupling = couple(model, self._inputs, builder)
        self.original: Mapping[str, int] = {dim.name: len(dim) for dim in self._coupling.dims}
        self._decisions: dict[int, dict[int, Array]] = {}
        self._masks = Masks(model, {})
        self._due: list[Policy] = []
        self._scorers: dict[str, Callable[..., Array]] = {}
        self._memory: dict[str, float] = {}
        import torch

        self._generator = torch.Generator()
        self._check_targets()
        self._lr: dict[int, LRScheduler] = {}
        for policy in schedule.policies:
            if isinstance(policy.instance, LRPolicy):
                try:
                    policy.instance.check(optimizer)
                except ValueError as error:
                    raise ConfigError(str(error), where=policy.where) from error
            elif isinstance(policy.instance, Thinner):
                _check_optimizer(optimizer, policy)

    @classmethod
    def from_yaml(
        cls,
        path: str | Path | Node,
        model: nn.Module,
        optimizer: Optimizer,
        example_inputs: Any,
        *,
        plugins: PluginManager | None = None,
        builder: str = "trace",
    ) -> Scheduler:
        """Read a schedule and bind it to a model and its optimizer.

        Raises `ConfigError` naming file, line and key for anything the file says wrongly.
        """
        node = path if isinstance(path, Node) else load(path)
        return cls(read_schedule(node, plugins or current()), model, optimizer, example_inputs, builder)

    def __repr__(self) -> str:
        return (
            f"<Scheduler {self.schedule.source}: {self.masked_share:.1%} of the units masked or gone, "
            f"{len(self.reports)} thinnings>"
        )

    # -- the network as a pruner sees it ----------------------------------------------------------------------

    @property
    def dims(self) -> tuple[Any, ...]:
        """The dims of the network as it is now."""
        return self._coupling.dims

    @property
    def staying(self) -> Mapping[str, str]:
        """What cannot be pruned, and why."""
        return self._coupling.staying

    @property
    def parameters(self) -> Mapping[str, Tensor]:
        """The parameters by name."""
        return named_parameters(self.model)

    @property
    def memory(self) -> dict[str, float]:
        """What a pruner keeps."""
        return self._memory

    @property
    def generator(self) -> torch.Generator:
        """Random numbers."""
        return self._generator

    def resolve(self, pattern: str) -> list[str]:
        """The parameters that a name or glob means."""
        return resolve(pattern, self.parameters)

    def factor(self, parameter: str) -> Tensor | None:
        """The factor on a parameter."""
        return None

    def scores(self, dim: int, criterion: str, places: Any = None) -> Array:
        """The scores of one dim's units by a criterion, shape (units,)."""
        if criterion not in self._scorers:
            self._scorers[criterion] = scorer(self.model, self._coupling, criterion)
        return self._scorers[criterion](dim, places)

    @property
    def coupling(self) -> Coupling:
        """The coupling of the network as it is now."""
        return self._coupling

    @property
    def masked_share(self) -> float:
        """The share of all units, as there were before anything was thinned, that is masked or gone."""
        total = sum(self.original.values())
        now = {dim.name: len(dim) - len(gone) for dim, gone in zip(self.dims, self.leaving, strict=True)}
        left = sum(now.get(name, 1) for name in self.original)  # a dim of one unit is no dim any more
        return 1 - left / total if total else 0.0

    @property
    def thinned(self) -> bool:
        """Whether anything was thinned since the schedule began."""
        return bool(self.reports)

    @property
    def leaving(self) -> list[Array]:
        """The masked units of each dim, sorted: all that any pruner decided, but something of every axis stays."""
        found = [np.empty(0, np.int64) for _ in self.dims]
        for decision in self._decisions.values():
            for dim, units in decision.items():
                found[dim] = np.union1d(found[dim], units)
        for dim, units in enumerate(found):
            if len(units) == len(self.dims[dim]):  # between them, several pruners took all
                found[dim] = np.delete(units, np.argmax(self._worth(dim)))
        return spare(self._coupling, found, self._worth)

    def plan(self) -> Plan:
        """The plan by which everything that is masked now would leave."""
        return make_plan(self.model, self._coupling, self.leaving, self._inputs)

    # -- the callbacks of a training loop -----------------------------------------------------------------------

    def on_epoch_begin(self, epoch: int) -> None:
        """Let the pruners that are due decide, and apply the masks; remember what is due at the first mini-batch."""
        self._due = []
        decided = False
        self._scorers = {}
        self._make_lr_schedulers(epoch)
        decisions = dict(self._decisions)
        for index, policy in enumerate(self.schedule.policies):
            moment = policy.window.moment(epoch)
            if moment is None:
                continue
            if isinstance(policy.instance, Pruner):
                try:
                    decision = policy.instance.decide(self, moment)
                except SecateurError as error:
                    raise ConfigError(str(error), where=policy.where) from error
                decisions[index] = dict(decision.units)
                decided = True
            elif isinstance(policy.instance, Thinner):
                self._due.append(policy)
        if decided:
            self._decisions = decisions
            classes = [dim.classes[units] for dim, units in zip(self.dims, self.leaving, strict=True)]
            gone = self._coupling.leaving(np.concatenate([np.empty(0, np.int64), *classes]))
            self._masks = Masks(self.model, gone.cuts())
            self._masks.apply()

    def on_minibatch_begin(self, epoch: int, step: int = 0, steps: int = 1) -> None:
        """Thin if a thinning event is due."""
        while self._due:
            self._thin(self._due[0])
            self._due.pop(0)

    def before_backward(self, loss: Tensor) -> Tensor:
        """Return the loss to be differentiated; regularizers add to it."""
        return loss

    def on_minibatch_end(self, epoch: int, step: int = 0, steps: int = 1) -> None:
        """Apply the masks; call it after each step of the optimizer."""
        self._masks.apply()

    def on_epoch_end(self, epoch: int, metrics: Mapping[str, float] | None = None) -> None:
        """Step the learning-rate schedulers that are due; one that follows a metric reads `metrics["loss"]`."""
        from torch.optim.lr_scheduler import ReduceLROnPlateau

        for index, scheduler in self._lr.items():
            policy = self.schedule.policies[index]
            if policy.window.moment(epoch) is None:
                continue
            if isinstance(scheduler, ReduceLROnPlateau):
                if metrics is None or "loss" not in metrics:
                    raise ConfigError(
                        "it follows a metric, and the training loop gave none",
                        where=policy.where,
                        hint="call on_epoch_end(epoch, metrics={'loss': ...})",
                    )
                scheduler.step(metrics["loss"])
            else:
                scheduler.step()

    # -- within -------------------------------------------------------------------------------------------------

    def _worth(self, dim: int) -> Array:
        """The scores by which units of a dim are spared: by the criterion of the last pruner that decided over it."""
        for index, decision in reversed(self._decisions.items()):
            criterion = getattr(self.schedule.policies[index].instance, "criterion", None)
            if dim in decision and criterion is not None:
                return self.scores(dim, criterion)
        return np.zeros(len(self.dims[dim]))

    def _make_lr_schedulers(self, epoch: int) -> None:
        """Make the learning-rate schedulers whose window has begun: from its first step on, one changes the rates."""
        for index, policy in enumerate(self.schedule.policies):
            if isinstance(policy.instance, LRPolicy) and index not in self._lr:
                first, last = policy.window.bounds
                if first <= epoch < last:
                    self._lr[index] = policy.instance.make(self.optimizer)

    def _thin(self, policy: Policy) -> None:
        verify = policy.instance.verify if isinstance(policy.instance, Thinner) else True
        report = thin(self.model, self.plan(), self.optimizer, verify=verify)
        self._decisions, self._masks, self._scorers = {}, Masks(self.model, {}), {}
        self.reports.append(report)
        self._coupling = couple(self.model, self._inputs, self._builder)

    def _check_targets(self) -> None:
        for policy in self.schedule.policies:
            if isinstance(policy.instance, Pruner):
                try:
                    policy.instance.check_names(self)
                except SecateurError as error:
                    raise ConfigError(str(error), where=policy.where) from error


def _check_optimizer(optimizer: Optimizer, policy: Policy) -> None:
    """Say now, not hours later, that the optimizer could not be thinned along."""
    name = type(optimizer).__name__
    if name in NOT_FOLLOWED:
        raise ConfigError(
            f"the network cannot be thinned while it trains with {name}, which {NOT_FOLLOWED[name]}",
            where=policy.where,
            hint="train with another optimizer, or thin after training",
        )
