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
    form = _form(signature, len(op.args), tuple(op.kwargs))
    if form is None:
        return _bind(op, signature)
    bound = form.defaults.copy()
    bound.update(zip(form.names, op.args, strict=False))
    for name, keyword in form.keywords:
        bound[name] = op.kwargs[keyword]
    if form.rest:
        taken = op.args[len(form.names) :]
        bound[form.rest] = tuple(taken[0]) if len(taken) == 1 and isinstance(taken[0], tuple | list) else taken
    return bound


@frozen
class _Form:
    """How calls are bound that give so many arguments by place and these keywords."""

    names: tuple[str, ...]
    """The parameters bound by place."""
    rest: str
    """The one that takes all further arguments by place, if there is one."""
    keywords: tuple[tuple[str, str], ...]
    """Parameters with the keywords that they are given by."""
    defaults: dict[str, Any]


@cache
def _form(signature: str, count: int, keywords: tuple[str, ...]) -> _Form | None:
    """The form of calls; None for one that is not bound so plainly, or that does not fit."""
    every, given = parameters(signature), dict.fromkeys(keywords)
    place = next((index for index, parameter in enumerate(every) if parameter.rest), len(every))
    rest = every[place].names[0] if place < len(every) else ""
    names = [parameter.names[0] for parameter in every[: min(count, place)]]
    if (count > place and not rest) or rest in given:
        return None
    by_keyword, defaults = [], {}
    for parameter in every[len(names) :]:
        if parameter.rest:
            continue
        aliases = [alias for alias in parameter.names if alias in given]
        if len(aliases) > 1 or (not aliases and parameter.default is REQUIRED):
            return None
        if aliases:
            by_keyword.append((parameter.names[0], aliases[0]))
        else:
            defaults[parameter.names[0]] = parameter.default
    if len(by_keyword) < len(given):
        return None
    return _Form(tuple(names), rest, tuple(by_keyword), defaults)


def _bind(op: Op, signature: str) -> dict[str, Any]:
    """Bind a call of any form, one argument after another."""
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
