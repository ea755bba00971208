"""Run schedules that were published with Distiller, unchanged, and compare what they leave with what Distiller leaves.

Distiller (IntelLabs, archived) ships 26 YAML schedules. A folder with the schedules and a list of what Distiller itself
leaves of its own models (`expected.json`: elements and non-zero elements of all 2-D and 4-D weights,
multiply-accumulates) is given with `--folder`; it is not part of this repository. Each schedule is read as it is and
followed on the model it was written for, with fresh random weights: for every scheduled epoch all callbacks of a
training loop with two mini-batches of random data. Forward, backward and the optimizer's step are real in the epochs
in which something is pruned or regularised; epochs of learning rates alone run the callbacks only.

Counts that do not depend on the weights must be met: exactly for structures, within 2 elements of each tensor for
element-wise pruning. Three things make Distiller's own counts differ from what its files ask for, and are allowed for:
random weights that are exactly zero from the start; a block (of 8) whose norm ties with the last one to leave, which
Distiller then prunes too; and a file of which Distiller resolves no name, so that it prunes nothing: there the count
is what the file asks for, by arithmetic. Where a schedule removes structures, the outputs of the network right before
and right after are compared (masked and thinned, relative to the largest output): at most 1e-5. A deep network whose
round-off in float32 alone is larger follows the schedule once more in float64, where at most 1e-10 is allowed.

    python benchmarks/distiller_conformance.py --folder .../distiller
    python benchmarks/distiller_conformance.py --folder .../distiller --only resnet20 vgg19

The exit status is 1 if a schedule does not run or a count is not met.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import traceback
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from attrs import define
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from torch import Tensor, nn
from torchvision_zoo import stand_in

from secateur.errors import SecateurError
from secateur.measure import macs
from secateur.plugins import current
from secateur.pruning.base import Pruner
from secateur.schedule.scheduler import Scheduler
from secateur.schedule.thinner import Thinner
from secateur_models.torchvision_import import import_torchvision
from secateur_models.torchvision_models import build

TOLERANCE = 1e-5
EXACT = 1e-10
SLACK = 2
"""Elements by which the count of a tensor that is pruned by elements may differ."""
OURS = {"mobilenet": "mobilenet_v1"}


@define
class Case:
    """A model, an input of batch size 2, and a loss of its outputs."""

    model: nn.Module
    inputs: tuple[Any, ...]
    loss: Callable[[Any], Tensor]


def registered(name: str, shape: tuple[int, ...], **arguments: Any) -> Case:
    """A model of ours by name."""
    model = current().models[OURS.get(name, name)].build(**arguments)
    return Case(model, (torch.randn(2, *shape),), squares)


def from_torchvision(name: str) -> Case:
    """A classifier of torchvision, on small pictures where it takes them."""
    fixed = name in ("alexnet", "vgg19")
    return Case(build(name), (torch.randn(2, 3, *[224 if fixed else 64] * 2),), squares)


def language(text: str) -> Case:
    """The word language model of a description such as `word_lm vocab=33278 emb=1500 hidden=1500 layers=2 tied`."""
    sizes = dict(part.split("=") for part in text.split() if "=" in part)
    model = (
        current()
        .models["word_lm"]
        .build(
            vocabulary=int(sizes["vocab"]),
            embedding=int(sizes["emb"]),
            hidden=int(sizes["hidden"]),
            layers=int(sizes["layers"]),
            tied="tied" in text.split(),
        )
    )
    return Case(model, (torch.randint(int(sizes["vocab"]), (3, 2)),), lambda outputs: squares(outputs[0]))


def mask_rcnn() -> Case:
    """Mask R-CNN with the names of its parameters that torchvision had when the schedule was written."""
    import_torchvision()
    stand_in()
    from torchvision.models.detection import maskrcnn_resnet50_fpn

    model: Any = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, min_size=128, max_size=160)
    pyramid = model.backbone.fpn
    for blocks in (pyramid.inner_blocks, pyramid.layer_blocks):
        for i, block in enumerate(blocks):
            blocks[i] = block[0]
    model.rpn.head.conv = ReLUConv.of(model.rpn.head.conv[0][0])
    head = [(f"mask_fcn{i}", ReLUConv.of(block[0])) for i, block in enumerate(model.roi_heads.mask_head, 1)]
    model.roi_heads.mask_head = nn.Sequential(OrderedDict(head))
    pictures = [torch.rand(3, 128, 128)]
    return Case(model.eval(), (pictures,), lambda _: squares(model.backbone(torch.rand(1, 3, 64, 64))["0"]))


class ReLUConv(nn.Conv2d):
    """A convolution and a ReLU under one name."""

    @classmethod
    def of(cls, conv: nn.Conv2d) -> ReLUConv:
        """Take over a convolution."""
        conv.__class__ = cls
        return conv  # type: ignore[return-value]

    def forward(self, data: Tensor) -> Tensor:
        """The convolution, then the ReLU."""
        return super().forward(data).relu()


def squares(outputs: Tensor) -> Tensor:
    """A loss that moves every weight."""
    return outputs.square().mean()


def case_of(text: str) -> Case:
    """The model that `expected.json` names."""
    torch.manual_seed(0)
    name = text.split()[0]
    if name == "word_lm":
        return language(text)
    if name == "maskrcnn":
        return mask_rcnn()
    if name.endswith("_cifar"):
        return registered(name, (3, 32, 32))
    if name == "simplenet_mnist":
        return registered(name, (1, 28, 28))
    return registered(name, (3, 64, 64)) if name == "mobilenet" else from_torchvision(name)


@define
class Outcome:
    """What a schedule came to."""

    name: str
    model: str
    expected: Mapping[str, int] | None
    zeros: int = 0
    """Weights that were zero from the start."""
    weights: int = 0
    nonzero: int = 0
    macs: int = 0
    expected_macs: int | None = None
    difference: float | None = None
    exactly: float | None = None
    """The difference in float64."""
    seconds: float = 0.0
    note: str = ""
    passed: bool = True


def follow(entry: Mapping[str, Any], folder: Path, dtype: torch.dtype = torch.float32) -> Outcome:
    """Follow one schedule and count what it leaves."""
    outcome = Outcome(Path(entry["schedule"]).stem, entry["model"].split()[0], entry["after"])
    start = time.perf_counter()
    case = case_of(entry["model"])
    case.model.to(dtype)
    case.inputs = tuple(t.to(dtype) if isinstance(t, Tensor) and t.is_floating_point() else t for t in case.inputs)
    outcome.zeros = sum(int((w == 0).sum()) for w in case.model.parameters() if w.dim() in (2, 4))
    optimizer = torch.optim.SGD(case.model.parameters(), lr=1e-4, momentum=0.9)
    plan_inputs = (
        case.inputs if outcome.model == "maskrcnn" else tuple(t[:1] if t.dim() > 2 else t for t in case.inputs)
    )
    scheduler = Scheduler.from_yaml(folder / "schedules" / entry["schedule"], case.model, optimizer, plan_inputs)
    case.model.train(outcome.model != "maskrcnn")
    for epoch, works in scheduled(scheduler):
        scheduler.on_epoch_begin(epoch)
        for step in range(2):
            reports = len(scheduler.reports)
            scheduler.on_minibatch_begin(epoch, step, 2)
            for report in scheduler.reports[reports:]:
                if report.difference is not None:
                    outcome.difference = max(outcome.difference or 0.0, report.difference.relative)
            if works:
                optimizer.zero_grad()
                outputs = None if outcome.model == "maskrcnn" else case.model(*case.inputs)
                scheduler.before_backward(case.loss(outputs)).backward()
                optimizer.step()
            scheduler.on_minibatch_end(epoch, step, 2)
        scheduler.on_epoch_end(epoch, metrics={"loss": 1.0})
    weights = [p.detach() for p in case.model.parameters() if p.dim() in (2, 4)]
    outcome.weights = sum(weight.numel() for weight in weights)
    outcome.nonzero = sum(int(weight.count_nonzero()) for weight in weights)
    outcome.expected_macs = entry["macs_after"]
    if outcome.expected_macs is not None:
        size = {"mobilenet": 224, "resnet18": 224, "resnet50": 224, "alexnet": 224, "vgg19": 224}.get(outcome.model)
        shape = tuple(case.inputs[0].shape[1:]) if size is None else (3, size, size)
        outcome.macs = macs(case.model.eval(), (torch.zeros(1, *shape, dtype=dtype),))
    outcome.seconds = time.perf_counter() - start
    if dtype == torch.float32 and (outcome.difference or 0.0) > TOLERANCE:
        outcome.exactly = follow(entry, folder, torch.float64).difference
    judge(outcome, entry, scheduler)
    return outcome


def scheduled(scheduler: Scheduler) -> Iterator[tuple[int, bool]]:
    """The epochs in which a policy is due, and whether more than a learning rate is."""
    policies = scheduler.schedule.policies
    for epoch in range(max(policy.window.bounds[1] for policy in policies)):
        due = [policy for policy in policies if policy.window.moment(epoch) is not None]
        if due:
            yield epoch, any(policy.kind != "lr_scheduler" for policy in due)


def judge(outcome: Outcome, entry: Mapping[str, Any], scheduler: Scheduler) -> None:
    """Compare with what Distiller leaves."""
    worst = outcome.difference if outcome.exactly is None else outcome.exactly
    if worst is not None and worst > (TOLERANCE if outcome.exactly is None else EXACT):
        outcome.passed, outcome.note = False, "masked and thinned differ"
    if not outcome.expected or entry["depends_on_weights"]:
        outcome.note = outcome.note or "counts depend on the weights"
        return
    removes = any(isinstance(policy.instance, Thinner) for policy in scheduler.schedule.policies)
    fine = {name for run in scheduler.runs for name in run.decision.factors if isinstance(run.instance, Pruner)}
    expected = entry["after"]["nnz"] if entry["after"]["nnz"] != entry["before"]["nnz"] else asked(scheduler)
    outcome.expected = {**outcome.expected, "nnz": expected}
    off = abs(outcome.nonzero - expected)
    initial = outcome.zeros + entry["before"]["weights"] - entry["before"]["nnz"]
    exact = [outcome.weights == outcome.expected["weights"], outcome.expected_macs in (None, outcome.macs)]
    allowed = SLACK * len(fine) + initial
    if not all(exact) or off > allowed:
        outcome.passed = False
        outcome.note = outcome.note or f"non-zero: {off:+,} of {allowed} allowed"
    elif off:
        outcome.note = outcome.note or f"{off} off, {SLACK * len(fine)} for {len(fine)} tensors, {initial} zero before"
    else:
        outcome.note = outcome.note or "exact" + (", removed" if removes else "")
    if entry["after"]["nnz"] == entry["before"]["nnz"]:
        outcome.note += "; Distiller resolves no name"


def asked(scheduler: Scheduler) -> int:
    """The non-zero weights that a schedule of gradual levels leaves, by its numbers."""
    sizes = {name: tensor.numel() for name, tensor in scheduler.network.parameters.items() if tensor.dim() in (2, 4)}
    gone: dict[str, int] = {}
    for run in scheduler.runs:
        pruner: Any = run.instance
        for pattern in pruner.weights:
            gone |= {name: int(pruner.final_sparsity * sizes[name]) for name in scheduler.network.resolve(pattern)}
    return sum(sizes.values()) - sum(gone.values())


def show(outcomes: list[Outcome]) -> Table:
    """One row for each schedule."""
    table = Table("schedule", "model", title="Schedules published with Distiller")
    for column in ("weights left", "Distiller", "non-zero", "Distiller", "MACs", "Distiller", "masked = thinned", "s"):
        table.add_column(column, justify="right")
    table.add_column("")
    for found in outcomes:
        expected: Mapping[str, Any] = found.expected or {}
        exactly = f" ({found.exactly:.0e} in float64)" if found.exactly is not None else ""
        computed = [f"{number:,}" if number else "-" for number in (found.macs, found.expected_macs)]
        table.add_row(
            found.name,
            found.model,
            f"{found.weights:,}",
            f"{expected['weights']:,}" if expected else "-",
            f"{found.nonzero:,}",
            f"{expected['nnz']:,}" if expected else "-",
            *computed,
            "-" if found.difference is None else f"{found.difference:.1e}" + exactly,
            f"{found.seconds:.0f}",
            ("[green]" if found.passed else "[red]FAIL ") + found.note,
        )
    return table


def main() -> int:
    """Follow all schedules, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="holds expected.json and schedules/")
    parser.add_argument("--only", nargs="+", default=[""], metavar="TEXT", help="schedules whose path has such a text")
    parser.add_argument("--traceback", action="store_true", help="show where a schedule failed")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", message=".*lr_scheduler.step.*")
    entries = json.loads((options.folder / "expected.json").read_text(encoding="utf-8"))
    wanted = [entry for entry in entries if any(text in entry["schedule"] for text in options.only)]
    outcomes: list[Outcome] = []
    console = Console(width=220)
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("schedules", total=len(wanted))
        for entry in wanted:
            progress.update(task, description=Path(entry["schedule"]).stem)
            try:
                outcomes.append(follow(entry, options.folder))
            except (SecateurError, RuntimeError) as error:
                if options.traceback:
                    traceback.print_exc()
                name, model = Path(entry["schedule"]).stem, entry["model"].split()[0]
                outcomes.append(Outcome(name, model, entry["after"], note=str(error), passed=False))
            progress.advance(task)
    console.print(show(outcomes))
    met = sum(outcome.passed for outcome in outcomes)
    console.print(f"{met} of {len(outcomes)} schedules run and meet their counts")
    return 0 if met == len(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
