"""Bind the arguments of a recorded call to the parameters a rule names.

A signature is written as Python writes it: `"input, weight, bias=None, groups=1"`; `*shape` takes the remaining
positional arguments (`view(2, 3)` and `view((2, 3))` bind alike); `dim|axis=0` accepts either keyword.
"""

from __future__ import annotations

import ast
from functools import cache
from typing import Any

from attrs import frozen

from secateur.graph.ir import Op

REQUIRED: Any = object()


class BindingError(ValueError):
    """The call does not fit the signature."""


@frozen
class Parameter:
    """One parameter of a signature."""

    names: tuple[str, ...]
    default: Any
    rest: bool


@cache
def parameters(signature: str) -> tuple[Parameter, ...]:
    """Parse a signature.

    >>> [p.names for p in parameters("input, dim|axis=0, *rest")]
    [('input',), ('dim', 'axis'), ('rest',)]
    """
    found = []
    for part in filter(None, (part.strip() for part in _split(signature))):
        name, _, default = part.partition("=")
        value = ast.literal_eval(default.strip()) if default else REQUIRED
        rest = name.startswith("*")
        found.append(Parameter(tuple(name.strip("* ").split("|")), () if rest else value, rest))
    return tuple(found)


def _split(signature: str) -> list[str]:
    parts, depth = [""], 0
    for character in signature:
        depth += (character in "([") - (character in ")]")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def bind(op: Op, signature: str) -> dict[str, Any]:
    """Return {parameter: argument} for a call; raise `BindingError` if the call does not fit."""
    positional, keywords = list(op.args), dict(op.kwargs)
    bound: dict[str, Any] = {}
    for parameter in parameters(signature):
        name = parameter.names[0]
        given = [keywords.pop(alias) for alias in parameter.names if alias in keywords] if keywords else ()
        if parameter.rest:
            taken = tuple(positional) or tuple(given)
            positional = []
            bound[name] = tuple(taken[0]) if len(taken) == 1 and isinstance(taken[0], tuple | list) else taken
        elif positional:
            bound[name] = positional.pop(0)
        elif given:
            bound[name] = given[0]
        elif parameter.default is REQUIRED:
            raise BindingError(f"no argument for {name!r}")
        else:
            bound[name] = parameter.default
    if positional or keywords:
        extra = [repr(entry) for entry in positional] + [f"{key}={entry}" for key, entry in keywords.items()]
        raise BindingError(f"unexpected {', '.join(extra)}")
    return bound
