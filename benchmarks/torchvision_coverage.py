"""Prune every network of torchvision by half, and show that the thin ones compute what the masked ones do.

For each network, with random weights: half of the units of every dim leave, once of exact dims only and once with
`renormalise=True`. The outputs of the masked and of the thin network are compared here, on inputs that the plan was not
made with, beside the check that `secateur.thin` does by itself; where operations read the size of what is pruned, the
masked network is the one in which they count only what stays. Then a step of training is taken. Torch-Pruning does the
same job in the same run.

    python benchmarks/torchvision_coverage.py --groups classification video --resume

The exit status is 1 if a network fails, or if less leaves it than Torch-Pruning takes away.
"""

from __future__ import annotations

import argparse
import copy
import json
import multiprocessing
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
import torch_pruning  # noqa: F401 - imported once, before processes part
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torchvision_peer import count, peer
from torchvision_report import report, show
from torchvision_zoo import GROUPS, Network, networks

import secateur
from secateur.measure import macs
from secateur.thinning.reference import reference

LIMITS = {"float32": 1e-4, "float64": 1e-10}
SIGNAL = 1e-2  # a difference may be this share of what other inputs change: a hundredth of the signal lost would show
MODES = {"exact": False, "renormalise": True}
OPTIONS = ("ratio", "seed", "dtype")  # what makes two runs the same
Record = dict[str, Any]


def main() -> int:
    """Measure all networks that are asked for, and print a table."""
    arguments = parse()
    chosen = networks(arguments.groups, arguments.models, getattr(torch, arguments.dtype))
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    done = read(arguments) if arguments.resume else {}
    if not arguments.resume:
        arguments.output.unlink(missing_ok=True)
    pending = [network for network in chosen if network.name not in done]
    for record in show(pending, (isolated(network, arguments) for network in pending)):
        done[record["model"]] = record
        with arguments.output.open("a") as file:
            file.write(json.dumps(record) + "\n")
    found = [done[network.name] for network in chosen if network.name in done]
    return report(found, arguments.markdown)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--groups", nargs="+", default=list(GROUPS), choices=list(GROUPS), metavar="GROUP")
    parser.add_argument("--models", nargs="+", default=[], metavar="NAME", help="these networks, of any group")
    parser.add_argument("--ratio", type=float, default=0.5, help="share of every dim's units that leaves")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dtype", default="float32", choices=list(LIMITS), help="RAFT knows only float32")
    parser.add_argument("--no-peer", action="store_true", help="leave Torch-Pruning out")
    parser.add_argument("--limit", type=float, default=60, help="seconds of processor time that Torch-Pruning may take")
    parser.add_argument("--resume", action="store_true", help="measure only what the output does not hold yet")
    parser.add_argument("--output", type=Path, default=Path("runs/torchvision_coverage.jsonl"))
    parser.add_argument("--markdown", type=Path, help="write the table there, too")
    return parser.parse_args()


def read(arguments: argparse.Namespace) -> dict[str, Record]:
    """What an earlier run with the same options wrote, by network."""
    if not arguments.output.exists():
        return {}
    records = [json.loads(line) for line in arguments.output.read_text().splitlines()]
    same = [r for r in records if all(r[key] == getattr(arguments, key) for key in OPTIONS)]
    return {record["model"]: record for record in same if arguments.no_peer or "peer" in record}


# -- one network -----------------------------------------------------------------------------------------------


def isolated(network: Network, arguments: argparse.Namespace) -> Record:
    """Measure a network in a process of its own: whatever happens there, its memory comes back."""
    fork = multiprocessing.get_context("fork")
    receiver, sender = fork.Pipe(duplex=False)
    process = fork.Process(target=work, args=(sender, network, arguments))
    process.start()
    sender.close()
    record: Record = {"model": network.name, "group": network.group}
    record |= {key: getattr(arguments, key) for key in OPTIONS}
    try:
        while True:
            record |= receiver.recv()
    except EOFError:
        process.join()
    for part in (*MODES, *([] if arguments.no_peer else ["peer"])):
        record.setdefault(part, {"error": f"the process ended with status {process.exitcode}"})
    return record


def work(sender: Connection, network: Network, arguments: argparse.Namespace) -> None:
    """Send the parts of a network's record as they come."""
    torch.manual_seed(arguments.seed)
    dense = network.build()
    sender.send({"parameters": count(dense)})
    for mode, renormalise in MODES.items():
        torch.manual_seed(arguments.seed + 1)
        try:
            sender.send({mode: measure(network, dense, arguments.ratio, renormalise)})
        except Exception as error:  # noqa: BLE001 - the record says what went wrong, and the next network is tried
            sender.send({mode: {"error": f"{type(error).__name__}: {error}"}})
    if not arguments.no_peer:
        torch.manual_seed(arguments.seed + 1)
        start = time.perf_counter()
        outcome = peer(network, dense, arguments.ratio, arguments.limit)
        sender.send({"peer": outcome | {"seconds": time.perf_counter() - start}})


def measure(network: Network, dense: nn.Module, ratio: float, renormalise: bool) -> Record:
    """Prune, thin and compare one network in one mode, and take a step of training."""
    example, fresh = network.inputs(), network.inputs()
    start = time.perf_counter()
    plan = secateur.plan(dense, example, prune=ratio, renormalise=renormalise)
    planned = time.perf_counter()
    thin = copy.deepcopy(dense)
    copied = time.perf_counter()
    verified = secateur.thin(thin, plan).difference
    thinned = time.perf_counter()
    expected = reference(dense, plan, fresh) if plan.counted else run(secateur.masked(dense, plan), fresh)
    difference, spread = compare(expected, run(thin, fresh))
    record = {
        "difference": difference,
        "verified": verified.relative if verified else None,
        "spread": spread,
        "parameters": count(thin) / count(dense),
        "macs": macs(thin, example) / macs(dense, example),
        "dims": len(plan.dims),
        "pruned": sum(len(dim.leaving) > 0 for dim in plan.dims),
        "counted": len(plan.counted),
        "refusals": refusals(plan),
        "plan_seconds": planned - start,
        "thin_seconds": thinned - copied,
        "error": "",
    }
    del plan, expected
    record["error"] = complaint(record, LIMITS[str(network.dtype).removeprefix("torch.")]) or trains(
        network, thin, dense
    )
    return record


def refusals(plan: secateur.Plan) -> list[str]:
    """What stays though it is no output, one line for each parameter."""
    return [str(refusal) for refusal in plan.refusals if not any("output of the model" in r for r in refusal.reasons)]


def run(model: nn.Module, inputs: tuple[Any, ...]) -> list[Tensor]:
    """All tensors that a network gives in eval mode."""
    with torch.no_grad():
        made = model.eval()(*copy.deepcopy(inputs))
    return [leaf for leaf in pytree.tree_leaves(made) if isinstance(leaf, Tensor)]


def compare(expected: list[Tensor], found: list[Tensor]) -> tuple[float, float]:
    """The largest difference of two networks' outputs, and the first one's spread over its inputs.

    Both are relative to the largest number of each output. Outputs of other shapes differ infinitely, and so do other
    integers (labels).
    """
    if [tensor.shape for tensor in expected] != [tensor.shape for tensor in found]:
        return float("inf"), float("inf")
    difference, spread = 0.0, 0.0
    for left, right in zip(expected, found, strict=True):
        if not left.is_floating_point():
            difference = max(difference, 0.0 if torch.equal(left, right) else float("inf"))
        elif left.numel():
            scale = left.abs().max()
            gap = float((left - right).abs().max() / scale)
            difference = max(difference, gap) if gap == gap else float("nan")
            spread = max(spread, float((left[0] - left[-1]).abs().max() / scale))
    return difference, spread


def complaint(record: Record, limit: float) -> str:
    """Why the comparison is not good enough, or nothing."""
    if not record["difference"] <= limit:  # NaN is not
        return f"masked and thin outputs differ by {record['difference']:.1e}"
    if not record["difference"] <= SIGNAL * record["spread"]:
        return f"its outputs hardly depend on its inputs: spread {record['spread']:.1e}"
    return "" if record["parameters"] < 1 else "nothing was pruned"


def trains(network: Network, thin: nn.Module, dense: nn.Module) -> str:
    """Take a step of training; return why that fails, or nothing."""
    thin.train()
    try:
        optimizer = torch.optim.SGD(thin.parameters(), lr=1e-6)
        loss = network.loss(thin)
        loss.backward()
        optimizer.step()
    except (RuntimeError, ValueError, AssertionError) as error:
        return f"does not train: {type(error).__name__}: {error}"
    grads = {name: parameter.grad for name, parameter in thin.named_parameters()}
    bad = [name for name, grad in grads.items() if grad is not None and not grad.isfinite().all()]
    if bad or not loss.isfinite():
        return f"does not train: no finite gradient for {', '.join(bad)}"
    if without := {name for name, grad in grads.items() if grad is None}:
        twin = copy.deepcopy(dense).train()
        network.loss(twin).backward()
        without -= {name for name, parameter in twin.named_parameters() if parameter.grad is None}
    return f"does not train: no gradient for {', '.join(sorted(without))}" if without else ""


if __name__ == "__main__":
    sys.exit(main())
