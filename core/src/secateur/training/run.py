"""A whole run: train, prune gradually, thin, fine-tune, prove and measure, and save the thin network."""

from __future__ import annotations

import copy
import json
import os
import random
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import asdict, frozen

from secateur.checkpoint import load, read, save
from secateur.checkpoint.files import replacing
from secateur.config import Node, plain
from secateur.errors import CaptureError, ConfigError, SecateurError
from secateur.graph.capture import trace
from secateur.measure import Comparison, count_parameters, latency_pair, macs_each
from secateur.plugins import PluginManager
from secateur.schedule.scheduler import Scheduler
from secateur.thinning.verify import Difference, compare, float_dtype, outputs
from secateur.training.config import RunConfig, build_model, build_optimizer, read_run, refused, sizes_of
from secateur.training.loggers import check_loggers, make_logs
from secateur.training.loggers.watching import dims_of, tensors_of
from secateur.training.progress import Progress
from secateur.training.resuming import Stopped, position, resumed
from secateur.training.tasks import task_of
from secateur.training.tasks.base import Evaluation, Metric, Split
from secateur.training.trainer import EpochResult, ThinningResult, count_live, train

if TYPE_CHECKING:
    from torch import nn

Result = EpochResult | ThinningResult
CHECKPOINT = "checkpoint.safetensors"
"""What a run goes on from."""
THIN = "thin.safetensors"
"""What a run makes."""
SUMMARY = "summary.json"


@frozen(eq=False, kw_only=True)
class Data:
    """The splits of a data set. `valid` is None if epochs are judged by the test split."""

    train: Split
    valid: Split | None
    test: Split

    @property
    def judging(self) -> Split:
        """The split by which epochs are judged."""
        return self.test if self.valid is None else self.valid

    @property
    def judged_by(self) -> str:
        """Its name."""
        return "test" if self.valid is None else "valid"


@frozen(eq=False, kw_only=True)
class Summary:
    """Before and after of a run."""

    parameters: tuple[int, int]
    live: tuple[int, int]
    """Of the parameters, those that are not zero."""
    macs: tuple[int, int]
    latency: Comparison
    latency_inputs: tuple[int, ...]
    """The shape of what they are timed on."""
    metric: Metric
    per: str
    """What one target is: "example", "word". MACs are of one."""
    dense: float | None
    """The best metric before pruning began, of the weights it began with (if those were trained) and at the ends of
    epochs, judged as epochs are; None if there was nothing before."""
    valid: Evaluation | None
    """Of the final network on the split by which epochs were judged; None if that is the test split."""
    final: Evaluation
    """Of the final network on the test split."""
    difference: Difference | None
    """The largest difference between masked and thinned outputs over all thinnings."""
    epochs: tuple[EpochResult, ...]
    checkpoint: Path
    reloaded: Difference
    """Between the network as trained and the checkpoint loaded into a fresh dense one."""


class Run:
    """One run of a schedule file, prepared: everything the file names is built and checked before any training."""

    def __init__(self, node: Node, manager: PluginManager, output: Path) -> None:
        import torch

        self.node, self.manager, self.output = node, manager, output
        self.config: RunConfig = read_run(node, manager)
        check_loggers(self.config, node)
        _writable(output)
        torch.manual_seed(self.config.seed)
        random.seed(self.config.seed)  # plugins may draw from these two
        np.random.seed(self.config.seed % (1 << 32))
        entry = manager.datasets[self.config.data.name]
        self.task = task_of(entry.task, self.config)
        self.sizes = sizes_of(self.config, manager, node)
        self.model = build_model(self.config, manager, node, self.sizes)
        if self.config.model.checkpoint is not None:
            with refused(self.config.model.name, "model", node):
                load(self.config.model.checkpoint, self.model)
        self.optimizer = build_optimizer(self.config, self.model)
        self.inputs = self._inputs(self.model)
        try:
            self.scheduler = Scheduler.from_yaml(node, self.model, self.optimizer, self.inputs, plugins=manager)
        except CaptureError as error:
            raise self._unfit(str(error)) from error
        self.dense = copy.deepcopy(self.model)
        self.progress = Progress()
        """Where training begins."""
        self.results: list[EpochResult] = []
        self.differences: list[Difference] = []
        """Between masked and thinned outputs, of each thinning."""
        self._check_epochs()

    def _check_epochs(self) -> None:
        """Refuse a schedule of which something lies wholly behind the last epoch of the run."""
        for policy in self.scheduler.schedule.policies:
            first, _ = policy.window.bounds
            if first >= self.config.epochs:
                raise ConfigError(
                    f"the {policy.kind} {policy.name!r} begins at epoch {first}, the run ends after epoch "
                    f"{self.config.epochs - 1}",
                    where=policy.where,
                    hint="raise run.epochs, or let the policy begin earlier",
                )

    def load_data(self) -> Data:
        """The splits of the data set."""
        entry, arguments = self.manager.datasets[self.config.data.name], self.config.data.args
        with refused(entry.name, "data", self.node):
            made = {split: entry.load(split, **arguments) for split in entry.splits}
        return Data(train=made["train"], valid=made.get("valid"), test=made["test"])

    def resume(self, path: Path | None = None) -> Progress:
        """Go on from a checkpoint of an earlier run of the same schedule file, by default the one in the output folder.

        Call it after `load_data` and before `train`. Returns where training goes on. Raises `CheckpointError` if the
        file is no checkpoint of such a run, or the `run` section differs in more than `epochs`, `checkpoint_every` and
        what is logged; nothing is changed then.
        """
        checkpoint = read(path or self.output / CHECKPOINT)
        found = resumed(checkpoint, self.config, plain(self.node.require("run")))
        load(checkpoint, self.model, self.optimizer, scheduler=self.scheduler, rng=True)
        self.progress, self.results, self.differences = found
        return self.progress

    def train(
        self,
        data: Data,
        on_step: Callable[[int, int, int], None],
        on_result: Callable[[Result], None],
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """Follow the schedule; results are kept in order, and a checkpoint is written after each epoch.

        `stop()` is asked between any two mini-batches: if it says so, a checkpoint is written and `Stopped` raised.
        """
        import torch

        logs = make_logs(
            self.config,
            self.output,
            self.progress,
            self.results,
            steps=self.task.steps(data.train, self.config.data.batch_size),
            metric=self.task.metric.name,
            judged=data.judged_by,
        )

        def keep(result: Result) -> None:
            if isinstance(result, EpochResult):
                self.results.append(result)
                if logs:
                    logs.epoch(result, tensors_of(self.scheduler), dims_of(self.scheduler))
            elif result.report.difference is not None:
                self.differences.append(result.report.difference)
            on_result(result)

        def rest(progress: Progress) -> None:
            every = self.config.checkpoint_every
            logs.minibatch(progress, float(self.optimizer.param_groups[0]["lr"]))
            stopped = stop()
            if stopped or not progress.step or (every is not None and progress.step % every == 0):
                self.save(progress)
            if stopped:
                raise Stopped(progress)

        with closing(logs):
            train(
                self.model,
                self.optimizer,
                self.scheduler,
                self.task,
                data.train,
                data.judging,
                epochs=self.config.epochs,
                batch_size=self.config.data.batch_size,
                generator=torch.Generator().manual_seed(self.config.seed),
                clip_grad_norm=self.config.clip_grad_norm,
                autocast=self.config.autocast,
                progress=self.progress,
                on_step=on_step,
                on_result=keep,
                on_rest=rest,
            )

    def save(self, progress: Progress) -> None:
        """Write the checkpoint from which the run goes on."""
        said = position(progress, plain(self.node.require("run")), self.results, self.differences)
        save(self.output / CHECKPOINT, self.model, self.optimizer, scheduler=self.scheduler, position=said)

    def summarise(self, data: Data) -> Summary:
        """Save the thin network, load it into a fresh dense one, and measure before and after."""
        checkpoint = self.output / THIN
        save(checkpoint, self.model, self.optimizer)
        fresh = build_model(self.config, self.manager, self.node, self.sizes)
        load(checkpoint, fresh)
        inputs = self.task.example(data.test)
        reloaded = compare(outputs(self.model, inputs), outputs(fresh, inputs), float_dtype(fresh))
        before = [epoch.valid.metric for epoch in self.results if not epoch.pruned]
        with self.scheduler.masked():
            final = self.task.evaluate(self.model, data.test)
            valid = None if data.valid is None else self.task.evaluate(self.model, data.valid)
        if self.config.model.checkpoint is not None:
            before.append(self.task.evaluate(self.dense, data.judging).metric)
        summary = Summary(
            parameters=(count_parameters(self.dense), count_parameters(self.model)),
            live=(count_live(self.dense), count_live(self.model)),
            macs=(self._macs(self.dense), self._macs(self.model)),
            latency=latency_pair(self.dense, self.model, inputs, repeats=15),
            latency_inputs=tuple(inputs[0].shape),
            metric=self.task.metric,
            per=self.task.per,
            dense=self.task.metric.best(before),
            valid=valid,
            final=final,
            difference=max(self.differences, key=lambda d: d.relative, default=None),
            epochs=tuple(self.results),
            checkpoint=checkpoint,
            reloaded=reloaded,
        )
        _write(self.output / SUMMARY, as_dict(summary))
        return summary

    def _inputs(self, model: nn.Module) -> tuple[Any, ...]:
        entry = self.manager.datasets[self.config.data.name]
        try:
            return self.task.inputs_like(model, self.sizes, entry.input_shape)
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            raise self._unfit(str(error).strip().splitlines()[0]) from error

    def _unfit(self, why: str) -> ConfigError:
        config, place = self.config, self.node.require("run").require("model")
        return place.error(f"the model {config.model.name!r} does not fit the data set {config.data.name!r}: {why}")

    def _macs(self, model: nn.Module) -> int:
        return macs_each(trace(model, self._inputs(model)), self.manager.op_rules)


def as_dict(summary: Summary) -> dict[str, Any]:
    """A summary fit for JSON."""
    name = summary.metric.name

    def flat(epoch: EpochResult) -> dict[str, Any]:
        plain = asdict(epoch)
        for key in ("train", "valid"):
            judged = plain.pop(key)
            plain |= {f"{key}_loss": judged["loss"], f"{key}_{name}": judged["metric"]}
        return plain

    return {
        "metric": name,
        "parameters": list(summary.parameters),
        "parameters_not_zero": list(summary.live),
        f"macs_per_{summary.per}": list(summary.macs),
        "latency_seconds": [summary.latency.a.median, summary.latency.b.median],
        "latency_inputs": list(summary.latency_inputs),
        f"dense_{name}": summary.dense,
        **({} if summary.valid is None else {f"valid_{name}": summary.valid.metric}),
        f"final_{name}": summary.final.metric,
        "final_loss": summary.final.loss,
        "masked_versus_thinned": asdict(summary.difference) if summary.difference else None,
        "checkpoint": summary.checkpoint.name,
        "reloaded": asdict(summary.reloaded),
        "epochs": [flat(epoch) for epoch in summary.epochs],
    }


def _writable(output: Path) -> None:
    """Make the output folder, or say why it cannot be written; done before any work."""
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SecateurError(f"cannot make the output folder: {error.strerror}", where=str(output)) from error
    if not os.access(output, os.W_OK):
        raise SecateurError("the output folder cannot be written", where=str(output))


def _write(path: Path, content: dict[str, Any]) -> None:
    with replacing(path, SecateurError) as temporary:
        Path(temporary).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
