"""One line per rule: how the families of rules are written down."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from secateur.coupling.site import Site
from secateur.records import OpRule


def rule(ops: str, signature: str, apply: Callable[[Site], Any], creates: bool = False) -> OpRule:
    """The rule of the operations named in `ops`, separated by spaces; it is named after the first.

    >>> rule("reshape view", "input, *shape", list).ops
    ('reshape', 'view')
    """
    names = tuple(ops.split())
    return OpRule(name=names[0], ops=names, signature=signature, apply=apply, creates=creates)
