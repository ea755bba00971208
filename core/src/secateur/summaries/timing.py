"""How long each module, or each operation, takes in a forward pass."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import TYPE_CHECKING, Any

from attrs import frozen

from secateur.errors import SecateurError
from secateur.graph.capture import normalise_inputs
from secateur.graph.modules import modules_of
from secateur.measure import Latency
from secateur.plugins import current
from secateur.thinning.verify import placed, quiet

if TYPE_CHECKING:
    from torch import nn

Seconds = dict[str, float]
"""By module path, or by operation."""

Hooks = Callable[[str], tuple[Callable[..., None], Callable[..., None]]]
"""From a module's path what is called before its forward, and what after."""


@frozen
class Timed:
    """`own`: the median seconds of each module or operation; `whole`: the forward pass without anything in between."""

    own: Mapping[str, float]
    whole: Latency


@frozen(eq=False)
class Clock:
    """Runs one model: `parts` with the seconds of its parts, `whole` with nothing in between."""

    model: nn.Module
    parts: Callable[[], Seconds]
    whole: Callable[[], float]


def in_turns(clocks: Sequence[Clock], repeats: int = 20, warmup: int = 3) -> list[Timed]:
    """Medians of `repeats` passes of each model, in eval mode without gradients, after `warmup` that do not count.

    The models take turns, and so do passes that are timed in parts and those that are timed as a whole: all meet the
    same machine. The models are left as they were. What a forward raises is raised.

    Raises `SecateurError` for less than one repeat.
    """
    if repeats < 1 or warmup < 0:
        raise SecateurError(f"repeats={repeats}, warmup={warmup}", where="latency", hint="give at least one repeat")
    parts: list[dict[str, list[float]]] = [defaultdict(list) for _ in clocks]
    wholes: list[list[float]] = [[] for _ in clocks]
    with ExitStack() as stack:
        for clock in clocks:
            stack.enter_context(quiet(clock.model))
        for turn in range(-warmup, repeats):
            for clock, part, whole in zip(clocks, parts, wholes, strict=True):
                own, seconds = clock.parts(), clock.whole()
                if turn < 0:
                    continue
                whole.append(seconds)
                for name, spent in own.items():
                    part[name].append(spent)
    medians = [{name: median(seconds) for name, seconds in part.items()} for part in parts]
    return [Timed(own, Latency.of(whole)) for own, whole in zip(medians, wholes, strict=True)]


def module_clock(model: nn.Module, inputs: Any) -> Clock:
    """Times what each module spends in a forward pass, by its path, without what the modules spend that it calls.

    Forward hooks on every module take the time
    (`time.perf_counter`) when its forward begins and when it ends; on a GPU both wait for the device, so that its work
    is counted where it was asked for, and modules do not overlap as they else might. A module's own seconds hold all
    that runs between its calls of other modules: operations, Python, and the hooks of these, a few microseconds each.
    A module that runs several times in one pass is summed; one that is not called (another uses its weights) has none,
    and its time is that of its caller. Where torch has a fused path of a whole layer (`nn.TransformerEncoderLayer` in
    eval mode), hooks make it take the path of single modules.

    `inputs`: a tuple or a dict.
    """
    wait = _waiting(model)
    own: Seconds = {}
    stack: list[list[float]] = []

    def hooks(path: str) -> tuple[Callable[..., None], Callable[..., None]]:
        def before(module: nn.Module, args: Any) -> None:
            wait()
            stack.append([time.perf_counter(), 0.0])

        def after(module: nn.Module, args: Any, result: Any) -> None:
            wait()
            started, inner = stack.pop()
            spent = time.perf_counter() - started
            own[path] = own.get(path, 0.0) + spent - inner
            if stack:
                stack[-1][1] += spent

        return before, after

    def run() -> Seconds:
        own.clear()
        stack.clear()
        with _hooked(model, hooks):
            _call(model, given)
        return dict(own)

    given = placed(normalise_inputs(inputs), model)
    return Clock(model, run, _whole(model, given, wait))


def op_clock(model: nn.Module, inputs: Any, builder: str = "trace") -> Clock:
    """Times each operation of a forward pass, by its name in the graph.

    Only the call of the operation itself counts, no module and no Python around it; on a GPU the device is waited for
    before and after each. `inputs`: a tuple or a dict.

    Raises `SecateurError` if the builder cannot run a model.
    """
    runner = current().builders[builder].run
    if runner is None:
        what = f"the builder {builder!r} cannot time single operations"
        raise SecateurError(what, where="latency", hint="take builder='trace', or level='module'")
    wait = _waiting(model)
    spent: Seconds = defaultdict(float)

    def intercept(name: str, kind: str, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        wait()
        started = time.perf_counter()
        made = function(*args, **kwargs)
        wait()
        spent[name] += time.perf_counter() - started
        return made

    def run() -> Seconds:
        spent.clear()
        runner(model, given, intercept)
        return dict(spent)

    given = placed(normalise_inputs(inputs), model)
    return Clock(model, run, _whole(model, given, wait))


def _whole(model: nn.Module, given: Any, wait: Callable[[], None]) -> Callable[[], float]:
    def run() -> float:
        wait()
        started = time.perf_counter()
        _call(model, given)
        wait()
        return time.perf_counter() - started

    return run


@contextmanager
def _hooked(model: nn.Module, hooks: Hooks) -> Iterator[None]:
    handles = []
    try:
        for path, module in modules_of(model):
            before, after = hooks(path)
            handles.append(module.register_forward_pre_hook(before))
            handles.append(module.register_forward_hook(after, prepend=True))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _call(model: nn.Module, given: Any) -> None:
    if isinstance(given, Mapping):
        model(**given)
    else:
        model(*given)


def _waiting(model: nn.Module) -> Callable[[], None]:
    """Waits for the GPU that the model is on; does nothing for one on the CPU."""
    import torch

    device = next((tensor.device for tensor in model.parameters() if tensor.is_cuda), None)
    if device is None:
        return lambda: None
    return lambda: torch.cuda.synchronize(device)
