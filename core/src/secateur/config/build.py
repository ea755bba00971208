"""Copy PyYAML's graph of a document into our tree: aliases expanded, merges done, everything checked."""

from __future__ import annotations

import yaml
from yaml.constructor import SafeConstructor

from secateur.config.node import Kind, Node, Scalar, Trail, plain, shorten
from secateur.errors import ConfigError

MAX_NODES = 100_000
MAX_DEPTH = 50
MAX_NUMBER = 300
"""Characters in a number, so that it has a float and a printed form."""

PREFIX = "tag:yaml.org,2002:"
_TAGS: dict[type[yaml.Node], tuple[str, ...]] = {
    yaml.MappingNode: ("map",),
    yaml.SequenceNode: ("seq",),
    yaml.ScalarNode: ("str", "int", "float", "bool", "null", "timestamp", "merge", "value"),
}


def check_size(depth: int, count: int, where: str) -> None:
    """Raise `ConfigError` if a document is too deep or too large."""
    if depth > MAX_DEPTH:
        raise ConfigError(f"nested more than {MAX_DEPTH} levels deep", where=where)
    if count > MAX_NODES:
        raise ConfigError(
            f"more than {MAX_NODES} values", where=where, hint="aliases are counted as often as they are used"
        )


class Builder:
    """Builds the tree of one document: `Builder(source).build(root, None)`."""

    def __init__(self, source: str) -> None:
        self.source, self.count = source, 0
        self.open: list[int] = []
        self.constructor = SafeConstructor()

    def build(self, raw: yaml.Node, trail: Trail | None) -> Node:
        """Build the node at `trail` and all below it."""
        place = self.enter(raw, trail)
        node = place
        if isinstance(raw, yaml.MappingNode):
            node = self.node(raw, "mapping", trail, pairs=self.entries(raw, trail))
        elif isinstance(raw, yaml.SequenceNode):
            parts = (self.build(child, Trail(trail, i, True)) for i, child in enumerate(raw.value))
            node = self.node(raw, "sequence", trail, elements=tuple(parts))
        elif isinstance(raw, yaml.ScalarNode):
            value, quoted = self.scalar(raw, place), raw.style is not None
            node = self.node(raw, "scalar", trail, scalar=value, text=raw.value, quoted=quoted)
        self.open.pop()
        return node

    def enter(self, raw: yaml.Node, trail: Trail | None) -> Node:
        """Check size, recursion and tag before looking into a node; return its place."""
        place = self.node(raw, "scalar", trail)
        self.count += 1
        check_size(len(self.open) + 1, self.count, place.where)
        if id(raw) in self.open:
            raise place.error("an alias stands inside of what it names", hint="write the value out")
        known = _TAGS[type(raw)]
        if raw.tag.removeprefix(PREFIX) not in known or not raw.tag.startswith(PREFIX):
            tag = raw.tag.replace(PREFIX, "!!", 1)
            hint = "quote a text that starts with '!', and write plain mappings, lists and values"
            raise place.error(f"tag {shorten(repr(tag))} is not accepted here", hint=hint)
        self.open.append(id(raw))
        return place

    def node(
        self,
        raw: yaml.Node,
        kind: Kind,
        trail: Trail | None,
        *,
        pairs: tuple[tuple[Node, Node], ...] = (),
        elements: tuple[Node, ...] = (),
        scalar: Scalar = None,
        text: str = "",
        quoted: bool = False,
    ) -> Node:
        """Make a node at the raw node's place."""
        line, column = raw.start_mark.line + 1, raw.start_mark.column + 1
        return Node(self.source, line, column, kind, pairs, elements, scalar, text, quoted, trail)

    def entries(self, raw: yaml.MappingNode, trail: Trail | None) -> tuple[tuple[Node, Node], ...]:
        """Build the pairs of a mapping: what it merges first, then its own keys, which win.

        A key may be repeated with an equal value: that cannot mean anything else.
        """
        own: dict[Scalar, tuple[Node, Node]] = {}
        merged: dict[Scalar, tuple[Node, Node]] = {}
        merge_line = 0
        for raw_key, raw_value in raw.value:
            if raw_key.tag == f"{PREFIX}merge":
                if merge_line:
                    place = self.node(raw_key, "scalar", trail)
                    hint = "merge several with '<<: [*a, *b]'"
                    raise place.error(f"key '<<' stands twice, first in line {merge_line}", hint=hint)
                merge_line = raw_key.start_mark.line + 1
                merged = self.merge(raw_value, trail)
                continue
            key = self.key(raw_key, trail)
            value = self.build(raw_value, Trail(trail, key.scalar))
            if key.scalar in own:
                first, other = own[key.scalar]
                if repr(plain(other)) != repr(plain(value)):
                    what = f"key {key.shown} stands twice, first in line {first.line}, with another value"
                    raise key.error(what, hint="keep one")
                continue
            own[key.scalar] = key, value
        return tuple((merged | own).values())

    def merge(self, raw: yaml.Node, trail: Trail | None) -> dict[Scalar, tuple[Node, Node]]:
        """Build the pairs that `<<` brings in; of several mappings, the first wins."""
        place = self.enter(raw, trail)
        result: dict[Scalar, tuple[Node, Node]] = {}
        if isinstance(raw, yaml.MappingNode):
            result = {key.scalar: (key, value) for key, value in self.entries(raw, trail)}
        elif isinstance(raw, yaml.SequenceNode) and all(isinstance(v, yaml.MappingNode) for v in raw.value):
            for each in reversed(raw.value):
                result |= self.merge(each, trail)
        else:
            raise place.error("'<<' merges mappings only", hint="write '<<: *anchor' of a mapping")
        self.open.pop()
        return result

    def key(self, raw: yaml.Node, trail: Trail | None) -> Node:
        """Build a key; its place is that of its mapping, with its own line."""
        key = self.build(raw, trail)
        if key.kind != "scalar":
            raise key.error(f"a key must be a string, got {key.shown}", hint="quote a text in brackets")
        if key.scalar is None:
            raise key.error(f"a key must be a string, got {key.shown}", hint="write 'key: value'")
        if isinstance(key.scalar, float) and key.scalar != key.scalar:
            raise key.error(f"a key must be a string, got {key.shown}", hint="quote it")
        return key

    def scalar(self, raw: yaml.ScalarNode, place: Node) -> Scalar:
        """Resolve a scalar; dates, `=` and `<<` as a value stay strings."""
        text, tag = raw.value, raw.tag.removeprefix(PREFIX)
        if any("\ud800" <= letter <= "\udfff" for letter in text):
            raise place.error("half a character (a lone surrogate)", hint="write the character itself")
        if tag == "null":
            return None
        if tag not in ("int", "float", "bool"):
            return str(text)
        try:
            if len(text) > MAX_NUMBER:
                raise ValueError
            value: Scalar = getattr(self.constructor, f"construct_yaml_{tag}")(raw)
        except (ValueError, OverflowError, KeyError, IndexError):
            kind = {"int": "integer", "float": "number", "bool": "boolean"}[tag]
            raise place.error(f"{shorten(repr(text))} is no {kind} that can be read") from None
        return value
