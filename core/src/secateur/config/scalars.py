"""Turn a scalar node into an int, a float, a bool, a string or one of a few literals, or say why not."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal

from secateur.config.describe import describe, literal
from secateur.config.node import Node, Scalar
from secateur.errors import ConfigError, suggestion

_MISREAD = re.compile(r"[-+]?0[0-9_]+|[^:]*:.*", re.DOTALL)
"""Numbers that YAML 1.1 reads as octal (`010` is 8) or to the base 60 (`1:30` is 90)."""


def refuse(node: Node, hint: Any) -> ConfigError:
    """Make (not raise) the error of a value that is not what the annotation asks for."""
    fix = ""
    if node.kind == "scalar" and hint in (int, float, bool) and node.quoted and _looks_like(node.text, hint):
        fix = "remove the quotes"
    elif hint is int and isinstance(node.natural, float) and node.natural.is_integer():
        fix = f"write {int(node.natural)}" if abs(node.natural) < 1e15 else ""
    return node.error(f"expected {describe(hint)}, got {node.shown}", hint=fix)


def _looks_like(text: str, hint: Any) -> bool:
    if hint is bool:
        return text.lower() in ("true", "false", "yes", "no", "on", "off")
    try:
        return math.isfinite(hint(text))
    except (ValueError, OverflowError):
        return False


def as_int(node: Node) -> int:
    """Read an integer: not a boolean, not 3.0, not "3", and nothing that YAML 1.1 reads in another base."""
    if not isinstance(node.scalar, int) or isinstance(node.scalar, bool):
        raise refuse(node, int)
    _check_base(node)
    return node.scalar


def as_float(node: Node) -> float:
    """Read a finite number; integers and a bare `1e-4` (a string in YAML 1.1) are numbers too."""
    value = node.natural
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise refuse(node, float)
    _check_base(node)
    try:
        value = float(value)
    except OverflowError:
        value = math.inf
    if not math.isfinite(value):
        raise node.error(f"expected a finite number, got {node.shown}")
    return value


def _check_base(node: Node) -> None:
    if _MISREAD.fullmatch(node.text):
        raise node.error(f"YAML reads {node.shown} as {node.scalar}", hint="write it in decimal")


def as_bool(node: Node) -> bool:
    """Read true or false, or YAML 1.1's yes, no, on, off; not 0 and 1."""
    if not isinstance(node.scalar, bool):
        raise refuse(node, bool)
    return node.scalar


def as_str(node: Node) -> str:
    """Read a string; a number, a boolean or null must be quoted to be one."""
    if isinstance(node.scalar, str):
        return node.scalar
    raise _not_string(node, "a string")


def _not_string(node: Node, expected: str) -> ConfigError:
    if node.kind != "scalar" or not node.text:
        return node.error(f"expected {expected}, got {node.shown}")
    read = ""
    if isinstance(node.scalar, bool) and node.text.lower() != literal(node.scalar):
        read = f", which YAML reads as {literal(node.scalar)}"
    return node.error(f"expected {expected}, got {node.shown}{read}", hint=f"quote it: '{node.text}'")


def as_none(node: Node) -> None:
    """Read null."""
    if node.kind != "scalar" or node.scalar is not None:
        raise refuse(node, type(None))


def as_literal(node: Node, choices: tuple[Scalar, ...]) -> Scalar:
    """Read one of a few values, of the same type as in the annotation."""
    expected = describe(Literal[choices])
    if node.kind == "scalar":
        for value in choices:
            if type(value) is type(node.scalar) and value == node.scalar:
                return value
        if node.text in choices:
            raise _not_string(node, expected)
        if node.quoted and node.text in map(literal, choices):
            raise node.error(f"expected {expected}, got {node.shown}", hint="remove the quotes")
        if isinstance(node.scalar, str) and all(isinstance(value, str) for value in choices):
            raise node.error(f"unknown value {node.shown}", hint=suggestion(node.scalar, map(str, choices)))
    raise node.error(f"expected {expected}, got {node.shown}")


READERS: Mapping[Any, Callable[[Node], Scalar]] = MappingProxyType(
    {int: as_int, float: as_float, bool: as_bool, str: as_str, type(None): as_none}
)
