"""Autograd graphs that the user still holds know the old shapes: what follows them is refused, or told when it is run.

A gradient accumulator lives as long as a graph, or somebody else, holds it. Thinning gives a parameter a new one. Hooks
on the parameter go along (`register_hook`, `register_post_accumulate_grad_hook`); hooks on the accumulator itself would
never run again.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from secateur.errors import ThinError

if TYPE_CHECKING:
    from torch import Tensor, nn

MARK = "secateur: seen"


def held_accumulators(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """{name: the gradient accumulator} of the leaves whose accumulator is kept alive by somebody.

    Raises `ThinError` if one has hooks of its own.
    """
    found = {}
    for name, tensor in tensors.items():
        if not (tensor.is_leaf and tensor.requires_grad):
            continue
        _accumulator(tensor).metadata[MARK] = True
        node = _accumulator(tensor)  # the same one only if it is held
        if node.metadata.pop(MARK, False):
            if _has_hooks(node):
                raise ThinError(
                    "a hook stands on its gradient accumulator, which would not see the gradients of the thin network",
                    where=name,
                    hint="remove it and register it again after thinning, or use "
                    "register_post_accumulate_grad_hook of the parameter, which stays",
                )
            found[name] = node
    return found


def warn_off(accumulators: Iterable[Any]) -> Iterator[Any]:
    """Make graphs of the old shapes say so when they are run; yields the handles."""
    for node in accumulators:
        yield node.register_prehook(_too_late)


def _too_late(_: Any) -> None:
    raise ThinError(
        "this graph was recorded before the network was thinned, and its gradients have the old shapes",
        where="backward",
        hint="call backward before thinning, or run the forward again",
    )


def _accumulator(tensor: Tensor) -> Any:
    import torch

    with torch.enable_grad():
        return torch.autograd.graph.get_gradient_edge(tensor).node


def _has_hooks(node: Any) -> bool:
    for register in (node.register_hook, node.register_prehook):
        handle = register(lambda *_: None)
        hooks = handle.hooks_dict_ref()
        handle.remove()
        if hooks:
            return True
    return False


def retire_replicas(parameters: Iterable[nn.Parameter]) -> None:
    """Make every `DistributedDataParallel` that holds buckets of these parameters' gradients say so when it is called.

    It would run, and average nothing: its hooks stand on accumulators that no gradient reaches any more, not even if
    thinning fails and the parameters are put back.
    """
    import torch

    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return
    from torch.nn.parallel import DistributedDataParallel

    wanted = {id(parameter) for parameter in parameters}
    for each in gc.get_objects():
        if issubclass(type(each), DistributedDataParallel) and any(id(p) in wanted for p in each.module.parameters()):
            each.register_forward_pre_hook(_retired)


def _retired(*_: Any) -> None:
    raise ThinError(
        "the network inside was thinned, or was about to be, and this wrapper sees its gradients no more",
        where="DistributedDataParallel",
        hint="delete this wrapper and wrap the network anew, in every process",
    )
