"""A node is one piece of a YAML document that knows where it stands: file, line, and dotted key."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Literal

from attrs import evolve, frozen

from secateur.errors import ConfigError

Scalar = str | int | float | bool | None
Kind = Literal["mapping", "sequence", "scalar"]

_SIMPLE_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_EXPONENT = re.compile(r"[-+]?(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)[eE][-+]?[0-9]+")


@frozen(eq=False)
class Trail:
    """The way from the root of the document to a node: its last key or index, and the trail to its parent."""

    parent: Trail | None
    part: Scalar
    indexed: bool = False

    def __str__(self) -> str:
        parts: list[str] = []
        at: Trail | None = self
        while at is not None:
            if at.indexed:
                parts.append(f"[{at.part}]")
            elif isinstance(at.part, str) and _SIMPLE_KEY.fullmatch(at.part):
                parts.append(f".{shorten(at.part)}")
            else:
                parts.append(f"[{shorten(repr(at.part))}]")
            at = at.parent
        return "".join(reversed(parts)).removeprefix(".")


@frozen(eq=False, repr=False)
class Node:
    """A mapping, a sequence or a scalar of a document, immutable, with its place.

    A node has `pairs` (key node, value node) if it is a mapping, `elements` if a sequence, and otherwise a
    `scalar`, resolved by the rules of YAML 1.1, beside the `text` as it stands in the file. Nodes are
    compared by identity; compare what they hold with `plain`.
    """

    source: str
    """The file, as the user named it."""
    line: int
    """Line in the file, from 1."""
    column: int
    """Column in that line, from 1."""
    kind: Kind
    pairs: tuple[tuple[Node, Node], ...] = ()
    elements: tuple[Node, ...] = ()
    scalar: Scalar = None
    text: str = ""
    quoted: bool = False
    """Whether the scalar stands in quotes or in a block (`|`, `>`), so that it can only be a string."""
    trail: Trail | None = None

    def __repr__(self) -> str:
        return f"<{self.kind} at {self.where}>"

    @property
    def path(self) -> str:
        """The dotted key, such as `policies[2].pruner.instance_name`; empty for the root.

        Keys that are no plain words are quoted: `sensitivities['conv1.weight']`.
        """
        return str(self.trail) if self.trail is not None else ""

    @property
    def where(self) -> str:
        """File, line and dotted key: `schedule.yaml:12: policies[2].starting_epoch`."""
        return f"{self.source}:{self.line}" + (f": {self.path}" if self.trail is not None else "")

    @property
    def value(self) -> Mapping[str, Node] | tuple[Node, ...] | Scalar:
        """What the node holds: a read-only mapping of nodes, a tuple of nodes, or the scalar.

        Raises `ConfigError` for a mapping with a key that is no string.
        """
        if self.kind == "mapping":
            return MappingProxyType(dict(self.items()))
        return self.elements if self.kind == "sequence" else self.scalar

    @property
    def natural(self) -> Scalar:
        """The scalar as a person reads it: like YAML 1.1, but a bare `1e-4` is a number, not a string."""
        if not self.quoted and isinstance(self.scalar, str) and _EXPONENT.fullmatch(self.text):
            number = float(self.text.replace("_", ""))
            return number if math.isfinite(number) else self.scalar
        return self.scalar

    @property
    def shown(self) -> str:
        """The node in a few words, for messages: `'two'`, `3.5`, `nothing`, `a list`."""
        if self.kind != "scalar":
            return "a list" if self.kind == "sequence" else "a mapping"
        if isinstance(self.natural, str):
            return shorten(repr(self.scalar))
        return shorten(" ".join(self.text.split())) or "nothing"

    def items(self) -> Iterator[tuple[str, Node]]:
        """Go through a mapping whose keys are strings; `ConfigError` for another key, or for another kind."""
        self.expect("mapping")
        for key, value in self.pairs:
            if not isinstance(key.scalar, str):
                raise key.error(f"a key must be a string, got {key.shown}", hint=f"quote it: '{key.text}'")
            yield key.scalar, value

    def items_any(self) -> Iterator[tuple[Scalar, Node]]:
        """Go through a mapping whose keys may be numbers or booleans too."""
        self.expect("mapping")
        for key, value in self.pairs:
            yield key.scalar, value

    def get(self, key: str) -> Node | None:
        """Return the value under a key of a mapping, or None; `ConfigError` if the node is no mapping."""
        self.expect("mapping")
        return next((value for name, value in self.pairs if name.scalar == key), None)

    def key(self, key: str) -> Node:
        """Return the key of a mapping as a node, for errors about the key itself; the mapping if it is not there."""
        return next((name for name, _ in self.pairs if name.scalar == key), self)

    def require(self, key: str) -> Node:
        """Return the value under a key of a mapping; `ConfigError` if it is not there."""
        value = self.get(key)
        if value is None:
            raise self.error(f"required key missing: {key!r}")
        return value

    def without(self, *keys: str) -> Node:
        """Return the same mapping without some keys: for those that the caller has read itself."""
        self.expect("mapping")
        return evolve(self, pairs=tuple(pair for pair in self.pairs if pair[0].scalar not in keys))

    def expect(self, kind: Kind) -> None:
        """Raise `ConfigError` if the node is of another kind."""
        if self.kind != kind:
            named = {"mapping": "a mapping", "sequence": "a list", "scalar": "a single value"}[kind]
            raise self.error(f"expected {named}, got {self.shown}")

    def error(self, what: str, hint: str = "", node: Node | None = None) -> ConfigError:
        """Make (not raise) the error that says what is wrong at this node, or at another one."""
        return ConfigError(what, where=(node or self).where, hint=hint)


def plain(node: Node) -> Any:
    """Turn a node into ordinary dicts, lists and scalars.

    Like `yaml.safe_load`, except that dates stay strings and that a bare `1e-4` is a number.
    """
    if node.kind == "mapping":
        return {key: plain(value) for key, value in node.items_any()}
    if node.kind == "sequence":
        return [plain(element) for element in node.elements]
    return node.natural


def shorten(text: str, width: int = 60) -> str:
    """Cut a long text for a message.

    >>> shorten("a" * 100, width=5)
    'aaaa…'
    """
    return text if len(text) <= width else text[: width - 1] + "…"
