"""Watch every module that is called, and leave torch without a trace of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

MARKS = "_global_forward_hooks_with_kwargs"
"""Where torch notes which hooks want keyword arguments. It keeps the note when the hook is removed, and `torch.compile`
then warns of hooks that are not there."""


@contextmanager
def module_calls(
    enter: Callable[[nn.Module, Any], None], leave: Callable[[nn.Module, Any, Any, Any], None]
) -> Iterator[None]:
    """Call `enter(module, inputs)` and `leave(module, inputs, keywords, outputs)` around each call in the body."""
    from torch.nn.modules import module as hooks

    handles = (
        hooks.register_module_forward_pre_hook(enter),
        hooks.register_module_forward_hook(leave, with_kwargs=True),
    )
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
            getattr(hooks, MARKS, {}).pop(handle.id, None)
