"""How long each module, or each operation, takes in a forward pass."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
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


def module_seconds(model: nn.Module, inputs: Any, *, repeats: int = 20, warmup: int = 3) -> Timed:
    """Seconds that each module spends in a forward pass, without those of the modules it calls: medians of `repeats`.

    Eval mode, no gradients, after `warmup` runs that do not count. Forward hooks on every module take the time
    (`time.perf_counter`) when its forward begins and when it ends; on a GPU both wait for the device, so that its work
    is counted where it was asked for, and modules do not overlap as they else might. A module's own seconds hold all
    that runs between its calls of other modules: operations, Python, and the hooks of these, a few microseconds each.
    A module that runs several times in one pass is summed; one that is not called (another uses its weights) has none,
    and its time is that of its caller. Where torch has a fused path of a whole layer (`nn.TransformerEncoderLayer` in
    eval mode), hooks make it take the path of single modules.

    Passes without hooks are timed in turns with the others, so that both meet the same machine. `inputs`: a tuple or a
    dict. The model is left as it was. What the forward raises is raised.
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
    with quiet(model):
        return _timed(run, lambda: _call(model, given), wait, repeats, warmup)


def op_seconds(model: nn.Module, inputs: Any, *, builder: str = "trace", repeats: int = 20, warmup: int = 3) -> Timed:
    """Seconds of each operation of a forward pass, by its name in the graph: medians of `repeats`.

    Only the call of the operation itself counts, no module and no Python around it; on a GPU the device is waited for
    before and after each. Otherwise as `module_seconds`.

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
    with quiet(model):
        return _timed(run, lambda: _call(model, given), wait, repeats, warmup)


def _timed(
    run: Callable[[], Seconds], plainly: Callable[[], None], wait: Callable[[], None], repeats: int, warmup: int
) -> Timed:
    """Take both in turns."""
    if repeats < 1 or warmup < 0:
        raise SecateurError(f"repeats={repeats}, warmup={warmup}", where="latency", hint="give at least one repeat")
    found: dict[str, list[float]] = defaultdict(list)
    whole: list[float] = []
    for turn in range(-warmup, repeats):
        parts = run()
        wait()
        started = time.perf_counter()
        plainly()
        wait()
        spent = time.perf_counter() - started
        if turn < 0:
            continue
        whole.append(spent)
        for name, seconds in parts.items():
            found[name].append(seconds)
    return Timed({name: median(seconds) for name, seconds in found.items()}, Latency.of(whole))


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
