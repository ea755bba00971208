"""Say in plain words what an annotation asks for: `list[int] | None` is "a list of integers or null"."""

from __future__ import annotations

import collections.abc as abc
import types
import typing
from typing import Any, Literal

import attrs

LISTS: tuple[Any, ...] = (list, tuple, abc.Sequence, abc.Iterable, abc.Collection)
MAPPINGS: tuple[Any, ...] = (dict, abc.Mapping, abc.MutableMapping)
UNIONS: tuple[Any, ...] = (typing.Union, types.UnionType)

_WORDS: dict[Any, tuple[str, str]] = {
    int: ("an integer", "integers"),
    float: ("a number", "numbers"),
    bool: ("true or false", "booleans"),
    str: ("a string", "strings"),
    type(None): ("null", "nulls"),
}


def unwrap(hint: Any) -> Any:
    """Strip what does not matter for a value: `Annotated`, `NewType`, `type` aliases."""
    while True:
        if typing.get_origin(hint) is typing.Annotated:
            hint = typing.get_args(hint)[0]
        elif isinstance(hint, typing.NewType):
            hint = hint.__supertype__
        elif hasattr(hint, "__value__"):
            hint = hint.__value__
        else:
            return type(None) if hint is None else hint


def members(hint: Any) -> list[Any]:
    """List the members of a union; of any other annotation, itself."""
    hint = unwrap(hint)
    if typing.get_origin(hint) not in UNIONS:
        return [hint]
    return [inner for member in typing.get_args(hint) for inner in members(member)]


def describe(hint: Any, plural: bool = False) -> str:
    """Say what values an annotation stands for.

    >>> describe(str | list[str]), describe(dict[str, float]), describe(tuple[int, str])
    ('a string or a list of strings', 'a mapping of strings to numbers', 'a list of an integer and a string')
    """
    hint = unwrap(hint)
    if hint in _WORDS:
        return _WORDS[hint][plural]
    origin, arguments = typing.get_origin(hint) or hint, typing.get_args(hint)
    if origin in UNIONS:
        return " or ".join(describe(member, plural) for member in arguments)
    if origin is Literal:
        return ("one of " if len(arguments) > 1 else "") + ", ".join(map(literal, arguments))
    if origin in LISTS:
        name = "lists" if plural else "a list"
        if not arguments:
            return name
        if origin is tuple and arguments[-1] is not Ellipsis:
            return f"{name} of {' and '.join(map(describe, arguments))}"
        return f"{name} of {describe(arguments[0], plural=True)}"
    if origin in MAPPINGS or attrs.has(origin):
        name = "mappings" if plural else "a mapping"
        if origin not in MAPPINGS or not arguments:
            return name
        return f"{name} of {describe(arguments[0], plural=True)} to {describe(arguments[1], plural=True)}"
    return "values" if plural else "a value"


def literal(value: Any) -> str:
    """Write a literal as it stands in YAML.

    >>> literal(True), literal("local"), literal(None)
    ('true', "'local'", 'null')
    """
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else repr(value)
