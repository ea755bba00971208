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

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import evolve

from secateur.config import Node, load
from secateur.coupling.analysis import Coupling
from secateur.plugins import PluginManager, current
from secateur.pruning.base import Array, Moment, Pruner
from secateur.pruning.regularizer import Regularizer
from secateur.schedule.deciding import all_or_none
from secateur.schedule.grammar import read_schedule
from secateur.schedule.masking import Masking
from secateur.schedule.network import LiveNetwork, View
from secateur.schedule.policy import Policy, Schedule
from secateur.schedule.rates import Rates
from secateur.schedule.remembering import remember
from secateur.schedule.running import PolicyRun
from secateur.schedule.state import load_state, save_state, seen_before
from secateur.schedule.thinner import Thinner, check_optimizer
from secateur.thinning.plan import Plan
from secateur.thinning.planner import make_plan
from secateur.thinning.recipe import Step, annotate
from secateur.thinning.report import Report
from secateur.thinning.transaction import thin

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer


class Scheduler:
    """Follows a schedule; see the module's docstring for the loop it fits.

    `example_inputs`: what `secateur.plan` takes. `seed`: of what is drawn at random. `state`: what `state_dict` gave,
    to go on where another scheduler stopped; model and optimizer are then as they were there. `also`: averages and
    other copies of the model, which are thinned along; see `secateur.thin`.

    Everything a schedule names is looked up now: a pattern that matches nothing is a `ConfigError` before training
    starts.
    """

    def __init__(
        self,
        schedule: Schedule,
        model: nn.Module,
        optimizer: Optimizer,
        example_inputs: Any,
        builder: str = "trace",
        *,
        seed: int = 0,
        state: Mapping[str, Any] | None = None,
        also: Any = (),
    ) -> None:
        import torch

        self.schedule, self.model, self.optimizer, self.also = schedule, model, optimizer, also
        self.reports: list[Report] = []
        self.epoch: int | None = None
        """The epoch that began last."""
        original, thinned = seen_before(state)
        self.network = LiveNetwork(model, example_inputs, builder, original, thinned)
        self.generator = torch.Generator().manual_seed(seed)
        self.runs = [
            PolicyRun(i, policy, View(self.network, self.generator, policy.args.fold_batchnorm))
            for i, policy in enumerate(schedule.policies)
            if isinstance(policy.instance, Pruner | Regularizer)
        ]
        self.due: list[int] = []
        """The thinnings that are due in this epoch, by their places in the schedule."""
        self._hook: Any = None
        for run in self.runs:
            with run.blamed():
                run.instance.check_names(run.view)
            run.new_collector()
        for policy in schedule.policies:
            if isinstance(policy.instance, Thinner):
                check_optimizer(optimizer, policy.where)
        self.masking = Masking(self.network, self.runs)
        self.rates = Rates(schedule, optimizer)
        if state is not None:
            self.load_state_dict(state)

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
        seed: int = 0,
        state: Mapping[str, Any] | None = None,
        also: Any = (),
    ) -> Scheduler:
        """Read a schedule and bind it to a model and its optimizer.

        Raises `ConfigError` naming file, line and key for anything the file says wrongly.
        """
        node = path if isinstance(path, Node) else load(path)
        schedule = read_schedule(node, plugins or current())
        return cls(schedule, model, optimizer, example_inputs, builder, seed=seed, state=state, also=also)

    def __repr__(self) -> str:
        return (
            f"<Scheduler {self.schedule.source}: {self.masked_share:.1%} of the units masked or gone, "
            f"{len(self.reports)} thinnings>"
        )

    # -- the network as it is now -------------------------------------------------------------------------------

    @property
    def coupling(self) -> Coupling:
        """The coupling of the network as it is now."""
        return self.network.coupling

    @property
    def dims(self) -> tuple[Any, ...]:
        """The dims of the network as it is now."""
        return self.coupling.dims

    @property
    def original(self) -> Mapping[str, int]:
        """The size each dim had when the schedule began."""
        return self.network.original

    @property
    def masked_share(self) -> float:
        """The share of all units, as there were before anything was thinned, that is masked or gone."""
        return self.masking.share(self.runs)

    @property
    def leaving(self) -> list[Array]:
        """The units of each dim that leave at the next thinning, sorted; something of every axis stays."""
        return self.masking.leaving(self.runs)

    def plan(self) -> Plan:
        """The plan by which everything that is masked now would leave."""
        return make_plan(self.model, self.coupling, self.leaving, self.network.inputs)

    # -- the callbacks of a training loop -----------------------------------------------------------------------

    def on_epoch_begin(self, epoch: int) -> None:
        """Let the pruners that are due decide, and apply the masks; remember what is due at the first mini-batch."""
        self._take_off()
        self.network.weights_changed()
        with all_or_none(self.runs, self.generator):
            changed = [run.begin(epoch) for run in self.runs]
        self.epoch = epoch
        self.rates.begin(epoch)
        self.due = [
            i
            for i, policy in enumerate(self.schedule.policies)
            if isinstance(policy.instance, Thinner) and policy.window.moment(epoch) is not None
        ]
        if any(changed):
            self.masking.make()
        for run in self.runs:
            run.gather(self.network, epoch)

    def on_minibatch_begin(self, epoch: int, step: int = 0, steps: int = 1) -> None:
        """Let pruners decide that do so within an epoch, thin if that is due, and lay on masks for the forward."""
        self._take_off()
        asked = []
        for run in self.runs:
            if run.moment is None or not isinstance(run.instance, Pruner):
                continue
            moment = evolve(run.moment, step=step, steps=steps)
            if run.may_decide(step) and (run.waiting or run.again(moment)):
                asked.append((run, moment))
        self._decide(asked)
        self._thin_due(epoch, step)
        self._lay_on()

    def before_backward(self, loss: Tensor) -> Tensor:
        """Return the loss to be differentiated: regularizers that are due add to it."""
        for run in self.runs:
            if run.moment is not None and isinstance(run.instance, Regularizer):
                with run.blamed():
                    loss = loss + run.instance.loss(run.view, run.moment)
        return loss

    def mask_gradients(self) -> None:
        """Set the gradients of what is masked to zero, so that they do not count in a norm that clips gradients."""
        self.masking.mask_gradients()
        for run in self.runs:
            run.mask_gradients()

    def on_minibatch_end(self, epoch: int, step: int = 0, steps: int = 1) -> None:
        """Mask again what the optimizer moved; call it after each of its steps."""
        self._take_off()
        changed = False
        for run in self.runs:
            if run.moment is None:
                continue
            if isinstance(run.instance, Regularizer):
                before = run.decision
                self.network.weights_changed()
                run.decide(evolve(run.moment, step=step, steps=steps))
                run.used_up()
                changed |= any(made.units or made.factors for made in (before, run.decision))
            elif run.policy.args.discard_masks_at_minibatch_end:
                changed |= not run.forward
                run.forget()
        if changed:
            self.masking.make()
        else:
            self.masking.hold()

    def on_epoch_end(self, epoch: int, metrics: Mapping[str, float] | None = None) -> None:
        """End the masks that do not outlive their window, and step the learning-rate schedulers that are due.

        One that follows a metric reads `metrics["loss"]`.
        """
        self._take_off()
        self._decide([(run, run.moment) for run in self.runs if run.moment and run.waiting and run.may_decide(step=1)])
        self._thin_due(epoch, step=1)
        changed = False
        for run in self.runs:
            ends = epoch >= run.policy.window.bounds[1] - 1
            if ends and (run.forward or isinstance(run.instance, Regularizer)):
                changed = True
                run.moment, run.masks = None, None
                if run.policy.args.keep_mask:
                    run.forward = False
                else:
                    run.forget()
        if changed:
            self.masking.make()
        self.rates.step(epoch, metrics)

    @contextmanager
    def masked(self) -> Iterator[None]:
        """Mask while the body runs what is masked in the forward only: evaluate the network within."""
        masks = [run.masks for run in self.runs if run.masks is not None and not run.masks.laid_on]
        for each in masks:
            each.lay_on()
        try:
            yield
        finally:
            for each in reversed(masks):
                each.take_off()

    # -- going on later -----------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Where the schedule is: numbers, texts and tensors in plain dicts and lists. Give it to `Scheduler(state=…)`.

        It may be taken between any two mini-batches.
        """
        return save_state(self)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where another scheduler of the same schedule stopped, with the same network.

        Raises `ConfigError` if the state is of another schedule or network; nothing is changed then.
        """
        load_state(self, state)
        self.masking.make()
        for run in self.runs:
            if self.epoch is not None:
                run.gather(self.network, self.epoch)

    def resume(self, state: Mapping[str, Any], steps: Sequence[Step] = ()) -> None:
        """Look at the model anew, which was just thinned by some steps of a recipe, and go on from a state.

        `secateur.load(path, model, optimizer, scheduler=scheduler)` does it. Raises as `load_state_dict` does.
        """
        self.network.look([step.states for step in steps])
        for run in self.runs:
            run.new_collector()
        self.load_state_dict(state)

    def remember(self) -> Callable[[], None]:
        """How to put the scheduler back as it is now, for whoever may fail after it was changed."""
        return remember(self)

    # -- within -------------------------------------------------------------------------------------------------

    def _decide(self, asked: Sequence[tuple[PolicyRun, Moment]]) -> None:
        """Let policies decide within an epoch."""
        if asked:
            self.network.weights_changed()
            with all_or_none(self.runs, self.generator):
                for run, moment in asked:
                    run.decide(moment)
            self.masking.make()

    def _thin_due(self, epoch: int, step: int) -> None:
        """Thin if that is due, once nobody waits with a decision."""
        while self.due and not any(run.waiting for run in self.runs):
            self._thin(self.schedule.policies[self.due[0]], epoch, step)
            self.due.pop(0)

    def _take_off(self) -> None:
        """Take back what is laid on, the last first: a mini-batch may have been left before its end."""
        for run in reversed(self.runs):
            run.take_off()

    def _lay_on(self) -> None:
        for run in self.runs:
            if run.forward:
                run.lay_on()
        if self._hook is None and any(run.forward for run in self.runs):
            self._hook = self.optimizer.register_step_pre_hook(self._before_step)

    def _before_step(self, *_: Any) -> None:
        """What the optimizer moves is not what the forward saw."""
        for run in self.runs:
            run.mask_gradients()
        self._take_off()

    def _thin(self, policy: Policy, epoch: int, step: int) -> None:
        verify = policy.instance.verify if isinstance(policy.instance, Thinner) else True
        for run in self.runs:
            if run.view.collector is not None:
                run.view.collector.detach()
        plan = self.plan()
        by = {"schedule": self.schedule.source, "policy": f"{policy.kind} {policy.name}"}
        pruners = [run.policy.name for run in self.runs if any(map(len, run.decision.units.values()))]
        self.reports.append(thin(self.model, plan, self.optimizer, also=self.also, verify=verify))
        annotate(self.model, [{**by, "pruners": pruners, "epoch": epoch, "step": step}])
        self.network.look([plan.states])
        self.network.thinned = True
        for run in self.runs:
            run.follow(plan.cuts)
            run.new_collector()
            run.gather(self.network, self.epoch or 0)
        self.masking.make()
