"""Arguments that a user gives by name to a function of a plugin's, checked before it is called."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any

from secateur.errors import suggestion


def check_arguments(make: Callable[..., Any], given: Collection[str], filled: Collection[str] = ()) -> None:
    """Raise `TypeError`, in the user's words, if `make` does not take one of the arguments, or wants another one.

    `filled`: arguments that are not the user's to give. What has no signature is not checked.

    >>> def build(width, depth=2): ...
    >>> check_arguments(build, {"widht": 3})
    Traceback (most recent call last):
      ...
    TypeError: there is no argument 'widht'; did you mean 'width'? (known: depth, width)
    >>> check_arguments(build, {"depth": 3})
    Traceback (most recent call last):
      ...
    TypeError: the argument 'width' is missing
    """
    known = _parameters(make)
    if known is None:
        return
    named = {name: each for name, each in known.items() if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)}
    anything = any(each.kind is each.VAR_KEYWORD for each in known.values())
    for name in given:
        if name in filled or (name not in named and not anything):
            raise TypeError(f"there is no argument {name!r}; {suggestion(name, set(named) - set(filled))}")
    for name, each in named.items():
        if each.default is each.empty and name not in given and name not in filled:
            raise TypeError(f"the argument {name!r} is missing")


def taken(make: Callable[..., Any], offered: Mapping[str, Any]) -> dict[str, Any]:
    """Of the arguments that are offered, those that `make` takes."""
    known = _parameters(make)
    anything = known is None or any(each.kind is each.VAR_KEYWORD for each in known.values())
    return {name: value for name, value in offered.items() if anything or name in (known or {})}


def _parameters(make: Callable[..., Any]) -> Mapping[str, inspect.Parameter] | None:
    """What a callable takes, by name; None if it does not say."""
    try:
        return inspect.signature(make).parameters
    except (TypeError, ValueError):
        return None
