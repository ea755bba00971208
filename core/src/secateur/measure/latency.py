"""Time forward passes: quietly, after a warm-up, and of two networks in turns, so that both meet the same machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import frozen

from secateur.errors import SecateurError
from secateur.graph.capture import normalise_inputs
from secateur.thinning.verify import placed, quiet

if TYPE_CHECKING:
    from torch import nn


@frozen
class Latency:
    """Seconds of one forward pass: the median, and the quartiles below and above it."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Latency:
        """Sum up the seconds of several passes."""
        low, middle, high = (float(value) for value in np.percentile(seconds, [25, 50, 75]))
        return cls(middle, low, high)

    def __str__(self) -> str:
        return f"{1e3 * self.median:.2f} ms ({1e3 * self.low:.2f} to {1e3 * self.high:.2f})"


@frozen
class Comparison:
    """Two networks timed in turns; `ratio` is the median, over the turns, of the seconds of `a` over those of `b`."""

    a: Latency
    b: Latency
    ratio: float


def latency(model: nn.Module, inputs: Any, *, repeats: int = 20, warmup: int = 3) -> Latency:
    """Time the forward pass in eval mode without gradients, `repeats` times after `warmup` runs that do not count.

    `inputs`: a tuple or a dict, as for `secateur.plan`. On a GPU the device is waited for. The model is left as it was.
    """
    _check(repeats, warmup)
    run = _runner(model, inputs)
    with quiet(model):
        for _ in range(warmup):
            run()
        return Latency.of([run() for _ in range(repeats)])


def latency_pair(
    a: nn.Module, b: nn.Module, inputs: Any, repeats: int = 20, *, warmup: int = 3, inputs_of_b: Any = None
) -> Comparison:
    """Time two networks in turns, a b a b …, on the same inputs; see `latency`.

    `inputs_of_b`: if they differ, as the smaller states of a thin recurrent network do. The ratio is taken within each
    turn, so that a machine that gets slower meanwhile does not favour either.
    """
    _check(repeats, warmup)
    first, second = _runner(a, inputs), _runner(b, inputs if inputs_of_b is None else inputs_of_b)
    with ExitStack() as stack:
        stack.enter_context(quiet(a))
        stack.enter_context(quiet(b))
        for _ in range(warmup):
            first(), second()
        turns = [(first(), second()) for _ in range(repeats)]
    left, right = [turn[0] for turn in turns], [turn[1] for turn in turns]
    return Comparison(Latency.of(left), Latency.of(right), median(x / max(y, 1e-12) for x, y in turns))


def _check(repeats: int, warmup: int) -> None:
    if repeats < 1 or warmup < 0:
        raise SecateurError(f"repeats={repeats}, warmup={warmup}", where="latency", hint="give at least one repeat")


def _runner(model: nn.Module, inputs: Any) -> Callable[[], float]:
    """A function that runs the model once and returns the seconds it took."""
    import torch

    parameter = next(iter(model.parameters()), None)
    given = placed(normalise_inputs(inputs), model)
    device = parameter.device if parameter is not None and parameter.is_cuda else None

    def wait() -> None:
        if device is not None:
            torch.cuda.synchronize(device)

    def run() -> float:
        wait()
        start = time.perf_counter()
        if isinstance(given, Mapping):
            model(**given)
        else:
            model(*given)
        wait()
        return time.perf_counter() - start

    return run
