"""Kill processes while they save, and let two save at once, for `robustness.py`."""

from __future__ import annotations

import mmap
import os
import random
import signal
import struct
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import secateur
from secateur.checkpoint import read
from secateur.errors import CheckpointError

WIDTH = 48
SAVES_OF_EACH = 5
"""Checkpoints written between two thinnings."""
LONGEST_LIFE = 0.4
"""Seconds after which a child is killed at the latest."""
TRAINS, THINS, SAVES = range(3)
PHASES = ("training", "thinning", "saving")


def network(seed: int = 0) -> nn.Sequential:
    """A small convolutional network."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, WIDTH, 3), nn.BatchNorm2d(WIDTH), nn.ReLU(), nn.Conv2d(WIDTH, WIDTH, 3), nn.BatchNorm2d(WIDTH),
        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTH, 10),
    )  # fmt: skip


def adam(model: nn.Module) -> torch.optim.Optimizer:
    """A new optimizer."""
    return torch.optim.Adam(model.parameters(), lr=1e-3)


def step(model: nn.Module, optimizer: torch.optim.Optimizer, inputs: Tensor) -> None:
    """One step of training."""
    optimizer.zero_grad()
    model(inputs).square().mean().backward()
    optimizer.step()


# -- kills ------------------------------------------------------------------------------------------------------------


class Board:
    """Memory that parent and child share: the phase, the last state saved, and the one that is being saved."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 24)

    def write(self, place: int, number: int) -> None:
        """Note a number."""
        self._memory[8 * place : 8 * place + 8] = struct.pack("<q", number)

    def read(self) -> tuple[int, int, int]:
        """Phase, last state saved, state being saved."""
        phase, done, begun = struct.unpack("<qqq", self._memory[:24])
        return phase, done, begun


def child(path: Path, board: Board) -> None:
    """Go on from the checkpoint, if there is one: train, thin, save, until killed."""
    model = network()
    optimizer = adam(model)
    number = 0
    if path.exists():
        secateur.load(path, model, optimizer, rng=True)
        number = read(path).position["number"]
    inputs = torch.randn(4, 3, 8, 8)
    while True:
        board.write(0, TRAINS)
        step(model.train(), optimizer, inputs)
        board.write(0, THINS)
        if model[0].out_channels < 8:
            model = network(number)
            optimizer = adam(model)
        plan = secateur.plan(model, (inputs,), prune=0.1)
        secateur.thin(model, plan, optimizer)
        for _ in range(SAVES_OF_EACH):
            step(model.train(), optimizer, inputs)
            number += 1
            board.write(2, number)
            board.write(0, SAVES)
            secateur.save(path, model, optimizer, position={"number": number, "width": model[0].out_channels})
            board.write(1, number)
            board.write(0, TRAINS)


def warm(folder: Path) -> None:
    """Do everything once, so that children find loaded what torch imports late."""
    model = network()
    optimizer = adam(model)
    inputs = torch.randn(4, 3, 8, 8)
    step(model, optimizer, inputs)
    secateur.thin(model, secateur.plan(model, (inputs,)), optimizer)
    secateur.save(folder / "warm.safetensors", model, optimizer)
    fresh = network()
    secateur.load(folder / "warm.safetensors", fresh, adam(fresh), rng=True)


def forked(work: Callable[[], None]) -> int:
    """Run something in a child process; its id."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        work()
        status = 0
    except BaseException:  # noqa: BLE001 - any way to fail is a finding
        traceback.print_exc()
    finally:
        os._exit(status)


def kills(count: int, folder: Path, trials: Callable[[range], Iterator[int] | range], seed: int = 0) -> dict[str, Any]:
    """Kill children; what became of the checkpoint."""
    path, board, chance = folder / "killed.safetensors", Board(), random.Random(seed)
    told: dict[str, Any] = {"kills": 0, "lost": [], "phases": Counter(), "leftovers": 0, "saved": 0}
    model = network()
    secateur.save(path, model, adam(model), position={"number": 0, "width": WIDTH})
    for _ in trials(range(count)):
        before = read(path).position["number"]
        board.write(1, before)
        board.write(2, before)
        pid = forked(lambda: child(path, board))
        time.sleep(chance.uniform(0, LONGEST_LIFE))
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        phase, done, begun = board.read()
        told["kills"] += 1
        told["phases"][PHASES[phase]] += 1
        told["leftovers"] += len(leftovers(path))
        try:
            if not os.WIFSIGNALED(status):
                raise CheckpointError(f"the child ended by itself with status {status}")
            fresh = network()
            secateur.load(path, fresh, adam(fresh))
            position = read(path).position
            if position["number"] not in (done, begun) or fresh[0].out_channels != position["width"]:
                raise CheckpointError(f"it holds {position}, saved were {done} and perhaps {begun}")
            fresh(torch.zeros(2, 3, 8, 8))
            told["saved"] += position["number"] - before
        except Exception as error:  # noqa: BLE001 - any way to fail is a finding
            told["lost"].append(f"{type(error).__name__}: {error}")
    secateur.save(path, model)
    told["left in the end"] = len(leftovers(path))
    return told


def leftovers(path: Path) -> list[Path]:
    """What killed processes left beside a file."""
    return [other for other in path.parent.iterdir() if other.name.startswith(f".{path.name}.")]


# -- two writers ------------------------------------------------------------------------------------------------------


def writers(count: int, folder: Path) -> dict[str, Any]:
    """Two processes save to one file, `count` times each, while this one loads it."""
    path = folder / "shared.safetensors"
    secateur.save(path, network(0), position={"seed": 0})

    def write(seed: int) -> None:
        model = network(seed)
        for _ in range(count):
            secateur.save(path, model, position={"seed": seed})

    living = {forked(lambda seed=seed: write(seed)) for seed in (1, 2)}
    told: dict[str, Any] = {"saves": 2 * count, "loads": 0, "wrong": [], "seen": Counter()}
    while living:
        try:
            fresh = network(3)
            checkpoint = read(path)
            seed = checkpoint.position["seed"]
            secateur.load(checkpoint, fresh)
            if not torch.equal(fresh[0].weight, network(seed)[0].weight):
                told["wrong"].append("weights of one writer, position of the other")
            told["seen"][seed] += 1
        except Exception as error:  # noqa: BLE001 - any way to fail is a finding
            told["wrong"].append(f"{type(error).__name__}: {error}")
        told["loads"] += 1
        for pid in list(living):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                living.discard(pid)
                if status:
                    told["wrong"].append(f"a writer ended with status {status}")
    return told
