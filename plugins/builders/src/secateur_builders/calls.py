"""Names for calls: one normalised name per operation, and the line of source that made it."""

from __future__ import annotations

import os
import sys
from functools import cache
from types import FrameType
from typing import Any

import torch
from torch._ops import OpOverload, OpOverloadPacket

from secateur.graph.ir import Source

SPELLINGS = {
    "truediv": "div",
    "true_divide": "div",
    "divide": "div",
    "multiply": "mul",
    "subtract": "sub",
    "concat": "cat",
    "concatenate": "cat",
    "absolute": "abs",
    "negative": "neg",
    "clip": "clamp",
    "invert": "bitwise_not",
    "swapaxes": "transpose",
    "swapdims": "transpose",
    "moveaxis": "movedim",
    "view_as": "reshape_as",
}
"""Other spellings of an operation, after dunders, in-place underscores and prefixes are stripped."""

REFLECTED = frozenset({"radd", "rsub", "rmul", "rdiv", "rtruediv", "rpow", "rfloordiv", "rmod", "rmatmul"})
IN_PLACE = frozenset({"iadd", "isub", "imul", "idiv", "itruediv", "ipow", "ifloordiv", "imod", "iand", "ior"})


def operation_name(func: Any) -> tuple[str, bool, bool]:
    """Return the normalised name of a torch function, whether it changes its first argument, and whether its
    operands are swapped (`1 - x` calls `__rsub__`).

    >>> operation_name(torch.Tensor.add_), operation_name(torch.Tensor.__rsub__)
    (('add', True, False), ('sub', False, True))
    >>> operation_name(torch.ops.aten.relu.default)
    ('aten::relu', False, False)
    """
    name = getattr(func, "__name__", type(func).__name__)
    if own := own_name(func):
        return own, False, False
    if name in ("__get__", "__set__"):
        property_name = getattr(getattr(func, "__self__", None), "__name__", "")
        return f"property:{property_name}" if name == "__get__" else "property_set", False, False
    dunder = name.startswith("__") and name.endswith("__")
    in_place = not dunder and name.endswith("_")
    name = name.strip("_")
    reflected = dunder and name in REFLECTED
    if dunder and (reflected or name in IN_PLACE):
        in_place = in_place or name in IN_PLACE
        name = name[1:]
    if name == "setitem":
        in_place = True
    return SPELLINGS.get(name, name), in_place, reflected


def own_name(func: Any) -> str:
    """The full name of an operation that is no function of torch, so that none is taken for another; "" for torch's.

    An operator of the dispatcher, such as a custom one, is `library::name`, whatever the overload; a function of the
    user's that calls `torch.overrides.handle_torch_function` is `module.name`.
    """
    if isinstance(func, OpOverload):
        return str(func._schema.name)
    if isinstance(func, OpOverloadPacket):
        return str(func._qualified_op_name)
    module = getattr(func, "__module__", None)
    if not isinstance(module, str) or module.partition(".")[0] in ("torch", "builtins"):
        return ""
    return f"{module}.{getattr(func, '__qualname__', type(func).__name__)}"


SKIPPED = (os.path.dirname(torch.__file__) + os.sep, os.path.dirname(__file__) + os.sep)


@cache
def is_library(file: str) -> bool:
    """Whether a file belongs to torch or to this package, or is none."""
    return file.startswith(SKIPPED) or file.startswith("<")


def calling_line() -> Source | None:
    """The innermost line on the stack that belongs neither to torch nor to this package."""
    frame: FrameType | None = sys._getframe(2)  # past the caller, which is of this package
    while frame is not None:
        code = frame.f_code
        file = code.co_filename
        if not is_library(file):
            return _line(file, frame.f_lineno)
        if code.co_name == "build" and frame.f_globals.get("__name__") == "secateur_builders.trace":
            return None
        frame = frame.f_back
    return None


@cache
def _line(file: str, line: int) -> Source:
    return Source(file, line)
