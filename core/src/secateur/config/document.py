"""Read a YAML document into nodes: never runs anything, and refuses what a person did not mean.

Beside syntax errors it refuses duplicate keys, tags, several documents in a file, and documents that are
absurdly deep or that grow absurdly large when their aliases are expanded.
"""

from __future__ import annotations

from pathlib import Path

import yaml
from yaml.reader import ReaderError

from secateur.config.build import PREFIX, Builder, check_size
from secateur.config.node import Node, shorten
from secateur.errors import ConfigError

MAX_SIZE = 4 * 2**20
"""Largest document, in bytes of the file or characters of the text."""

_HINTS = (
    ("'\\t'", "indent with spaces, not with tabs"),
    ("mapping values are not allowed", "check the indentation, and quote a text that contains ': '"),
    ("expected <block end>", "check the indentation, and whether a quote or bracket is closed too early"),
    ("could not find expected ':'", "write 'key: value'"),
    ("expected ',' or", "close the bracket, and put commas between its elements"),
    ("expected alphabetic or numeric", "quote a text that starts with '*' or '&'"),
    ("undefined alias", "quote a text that starts with '*', or define the anchor before its use"),
    ("cannot start any token", "quote a text that starts with '@', '`' or '%'"),
    ("end of stream", "close the quote or the bracket"),
)


def load(path: str | Path) -> Node:
    """Read a YAML file (UTF-8, one document) and return its root; `ConfigError` if that cannot be done."""
    name = str(path)
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_SIZE + 1)
    except FileNotFoundError:
        hint = "" if Path(path).is_absolute() else f"the current directory is {Path.cwd()}"
        raise ConfigError("no such file", where=name, hint=hint) from None
    except IsADirectoryError:
        raise ConfigError("is a directory", where=name, hint="name a YAML file in it") from None
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise ConfigError(f"cannot be read: {reason}", where=ascii(name) if "\0" in name else name) from None
    _check_length(len(data), name)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        what = f"not UTF-8: byte 0x{data[error.start]:02x}"
        raise ConfigError(what, where=f"{name}:{line}", hint="save the file as UTF-8") from None
    return loads(text, name)


def loads(text: str, name: str = "<string>") -> Node:
    """Read a YAML document from a string and return its root; `name` stands for the file in messages.

    >>> loads("a: [1, 2]").require("a").elements[1].where
    '<string>:1: a[1]'
    """
    _check_length(len(text), name)
    loader: _Loader | None = None
    try:
        loader = _Loader(text, name)
        root = _single(loader)
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(error, name) from None
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(
            f"character {error.character:#06x} is not allowed", where=f"{name}:{line}", hint="remove it"
        ) from None
    except (ValueError, OverflowError):  # PyYAML passes "\UFFFFFFFF" to chr()
        line = loader.get_mark().line + 1 if loader else 1
        raise ConfigError("not valid YAML: no such character", where=f"{name}:{line}") from None
    finally:
        if loader is not None:
            loader.dispose()
    if root is None or (isinstance(root, yaml.ScalarNode) and root.tag == f"{PREFIX}null" and not root.value):
        raise ConfigError("is empty", where=name, hint="write 'key: value' lines")
    return Builder(name).build(root, None)


class _Loader(yaml.SafeLoader):
    """A safe loader that gives up on documents that are too deep or too large."""

    def __init__(self, text: str, source: str) -> None:
        super().__init__(text)
        self.source, self.depth, self.count = source, 0, 0

    @property
    def here(self) -> str:
        """File and line of what is read next."""
        return f"{self.source}:{self.peek_event().start_mark.line + 1}"  # type: ignore[no-untyped-call]

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self.depth += 1
        self.count += 1
        check_size(self.depth, self.count, self.here)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def compose_scalar_node(self, anchor: dict[object, yaml.Node]) -> yaml.ScalarNode:
        tag = self.peek_event().tag  # type: ignore[no-untyped-call]
        node = super().compose_scalar_node(anchor)
        if tag == f"{PREFIX}str":
            node.style = "'"  # `!!str 3` says the same as `'3'`
        return node


def _check_length(length: int, name: str) -> None:
    if length > MAX_SIZE:
        raise ConfigError(f"larger than {MAX_SIZE // 2**20} MiB", where=name, hint="is it a configuration?")


def _single(loader: _Loader) -> yaml.Node | None:
    root = loader.get_node() if loader.check_node() else None
    if loader.check_node():
        raise ConfigError("a second document starts here", where=loader.here, hint="remove the '---' line")
    return root


def _syntax_error(error: yaml.MarkedYAMLError, name: str) -> ConfigError:
    mark = error.problem_mark or error.context_mark
    what = error.problem or error.context or "unknown error"
    if error.context and error.problem and error.context_mark:
        what = f"{error.context} (line {error.context_mark.line + 1}): {what}"
    what = " ".join(what.split())
    at = f" at column {mark.column + 1}" if mark else ""
    return ConfigError(
        f"not valid YAML{at}: {shorten(what, 200)}",
        where=f"{name}:{mark.line + 1}" if mark else name,
        hint=next((hint for key, hint in _HINTS if key in what), ""),
    )
