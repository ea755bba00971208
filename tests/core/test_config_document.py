"""Bad documents are refused with one message that names file, line and key; good ones are read as YAML."""

from __future__ import annotations

from pathlib import Path

import pytest

from secateur.config import load, loads
from secateur.errors import ConfigError

INDENT = "check the indentation, and whether a quote or bracket is closed too early"
COLON = "check the indentation, and quote a text that contains ': '"
COMMA = "close the bracket, and put commas between its elements"
TAG = "quote a text that starts with '!', and write plain mappings, lists and values"
SIGN = "quote a text that starts with '@', '`' or '%'"

BAD = {
    "empty": ("", "s.yaml: is empty; write 'key: value' lines"),
    "comment only": ("# nothing\n", "s.yaml: is empty; write 'key: value' lines"),
    "document mark only": ("---\n", "s.yaml: is empty; write 'key: value' lines"),
    "duplicate key": ("a: 1\na: 2\n", "s.yaml:2: key 'a' stands twice, first in line 1, with another value; keep one"),
    "duplicate inner key": (
        "a:\n  b: 1\n  c: 2\n  b: 3\n",
        "s.yaml:4: a: key 'b' stands twice, first in line 2, with another value; keep one",
    ),
    "duplicate by value": (
        "on: x\ntrue: y\n",
        "s.yaml:2: key true stands twice, first in line 1, with another value; keep one",
    ),
    "colon in a text": (
        "a: b: c\n",
        f"s.yaml:1: not valid YAML at column 5: mapping values are not allowed here; {COLON}",
    ),
    "open bracket": (
        "a: [1, 2\nb: 3\n",
        "s.yaml:2: not valid YAML at column 2: while parsing a flow sequence (line 1): "
        f"expected ',' or ']', but got ':'; {COMMA}",
    ),
    "wrong bracket": (
        "a: {b: 1]\n",
        "s.yaml:1: not valid YAML at column 9: while parsing a flow mapping (line 1): "
        f"expected ',' or '}}', but got ']'; {COMMA}",
    ),
    "tab": (
        "a:\n\t- 1\n",
        "s.yaml:2: not valid YAML at column 1: found character '\\t' that cannot start any token; "
        "indent with spaces, not with tabs",
    ),
    "open quote": (
        "a: 'x\n",
        "s.yaml:2: not valid YAML at column 1: while scanning a quoted scalar (line 1): "
        "found unexpected end of stream; close the quote or the bracket",
    ),
    "indentation": (
        "a:\n  b: 1\n c: 2\n",
        "s.yaml:3: not valid YAML at column 2: while parsing a block mapping (line 1): "
        f"expected <block end>, but found '<block mapping start>'; {INDENT}",
    ),
    "text after a quote": (
        "a: 'x' y\n",
        "s.yaml:1: not valid YAML at column 8: while parsing a block mapping (line 1): "
        f"expected <block end>, but found '<scalar>'; {INDENT}",
    ),
    "no colon": (
        "a: 1\nb\n",
        "s.yaml:3: not valid YAML at column 1: while scanning a simple key (line 2): "
        "could not find expected ':'; write 'key: value'",
    ),
    "undefined alias": (
        "a: *b\n",
        "s.yaml:1: not valid YAML at column 4: found undefined alias 'b'; "
        "quote a text that starts with '*', or define the anchor before its use",
    ),
    "lone star": (
        "a: *\n",
        "s.yaml:1: not valid YAML at column 5: while scanning an alias (line 1): "
        "expected alphabetic or numeric character, but found '\\n'; quote a text that starts with '*' or '&'",
    ),
    "anchor twice": (
        "a: &x 1\nb: &x 2\n",
        "s.yaml:2: not valid YAML at column 4: "
        "found duplicate anchor 'x'; first occurrence (line 1): second occurrence",
    ),
    "at sign": (
        "a: @b\n",
        f"s.yaml:1: not valid YAML at column 4: found character '@' that cannot start any token; {SIGN}",
    ),
    "code": (
        "a: !!python/object/apply:os.system ['true']\n",
        f"s.yaml:1: a: tag '!!python/object/apply:os.system' is not accepted here; {TAG}",
    ),
    "code in a key": (
        "a:\n  ? !!python/name:os.system\n  : 1\n",
        f"s.yaml:2: a: tag '!!python/name:os.system' is not accepted here; {TAG}",
    ),
    "own tag": ("a:\n- !secret x\n", f"s.yaml:2: a[0]: tag '!secret' is not accepted here; {TAG}"),
    "set": ("a: !!set {b}\n", f"s.yaml:1: a: tag '!!set' is not accepted here; {TAG}"),
    "tag of another kind": ("a: !!str {b: 1}\n", f"s.yaml:1: a: tag '!!str' is not accepted here; {TAG}"),
    "undefined tag handle": (
        "a: !e!x 1\n",
        "s.yaml:1: not valid YAML at column 4: while parsing a node (line 1): found undefined tag handle '!e!'",
    ),
    "two documents": (
        "a: 1\n---\nb: 2\n",
        "s.yaml:2: a second document starts here; remove the '---' line",
    ),
    "list as key": (
        "? [1, 2]\n: x\n",
        "s.yaml:1: a key must be a string, got a list; quote a text in brackets",
    ),
    "null as key": ("~: x\n", "s.yaml:1: a key must be a string, got ~; write 'key: value'"),
    "nan as key": (".nan: 1\n", "s.yaml:1: a key must be a string, got .nan; quote it"),
    "alias in itself": (
        "a: &a [*a]\n",
        "s.yaml:1: a[0]: an alias stands inside of what it names; write the value out",
    ),
    "merge in itself": (
        "a: &a {<<: *a}\n",
        "s.yaml:1: a: an alias stands inside of what it names; write the value out",
    ),
    "merge of a number": (
        "a: {<<: 3}\n",
        "s.yaml:1: a: '<<' merges mappings only; write '<<: *anchor' of a mapping",
    ),
    "merge of a list of numbers": (
        "a:\n  <<: [1]\n",
        "s.yaml:2: a: '<<' merges mappings only; write '<<: *anchor' of a mapping",
    ),
    "two merges": (
        "a: &x {b: 1}\nc:\n  <<: *x\n  <<: *x\n",
        "s.yaml:4: c: key '<<' stands twice, first in line 3; merge several with '<<: [*a, *b]'",
    ),
    "deep list": ("[" * 10_000, "s.yaml:1: nested more than 50 levels deep"),
    "deep mapping": ("{a: " * 51, "s.yaml:1: nested more than 50 levels deep"),
    "integer by tag": ("a: !!int x\n", "s.yaml:1: a: 'x' is no integer that can be read"),
    "boolean by tag": ("a: !!bool 2\n", "s.yaml:1: a: '2' is no boolean that can be read"),
    "empty number": ("a: !!float ''\n", "s.yaml:1: a: '' is no number that can be read"),
    "digits of nothing": ("a: 0b_\n", "s.yaml:1: a: '0b_' is no integer that can be read"),
    "endless number": (
        "a: " + "1:1" * 5000 + "\n",
        f"s.yaml:1: a: '{('1:1' * 20)[:58]}… is no integer that can be read",
    ),
    "surrogate": (
        'a: "\\ud800"\n',
        "s.yaml:1: a: half a character (a lone surrogate); write the character itself",
    ),
    "no such character": ('a: 1\nb: "\\Uffffffff"\n', "s.yaml:2: not valid YAML: no such character"),
    "control character": ("a: 1\nb: \x01\n", "s.yaml:2: character 0x0001 is not allowed; remove it"),
    "YAML 2": (
        "%YAML 2.0\n---\na: 1\n",
        "s.yaml:1: not valid YAML at column 1: found incompatible YAML document (version 1.* is required)",
    ),
    "too long": ("#" * (4 * 2**20 + 1), "s.yaml: larger than 4 MiB; is it a configuration?"),
}


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD)
def test_bad_document(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loads(text, "s.yaml")
    assert str(caught.value) == message


@pytest.mark.parametrize("last", ["[{}]", "{{<<: [{}]}}"], ids=["aliases", "merges"])
def test_expansion_is_bounded(last: str) -> None:
    """Nine lines that stand for 10^9 values are given up early, even where the values hold nothing."""
    lines = ["a0: &a0 {}"]
    lines += [f"a{i}: &a{i} " + last.format(", ".join([f"*a{i - 1}"] * 10)) for i in range(1, 10)]
    with pytest.raises(ConfigError, match=r"^s.yaml:\d: a[45].*: more than 100000 values; aliases are counted as"):
        loads("\n".join(lines), "s.yaml")


def test_many_values_without_aliases_are_bounded() -> None:
    with pytest.raises(ConfigError, match=r"^s.yaml:1: more than 100000 values; "):
        loads("[" + "1," * 100_001 + "]", "s.yaml")


def test_a_file_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "no.yaml")
    assert str(caught.value) == f"{tmp_path / 'no.yaml'}: no such file"
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        load("no.yaml")
    assert str(caught.value) == f"no.yaml: no such file; the current directory is {tmp_path}"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path)
    assert str(caught.value) == f"{tmp_path}: is a directory; name a YAML file in it"
    with pytest.raises(ConfigError) as caught:
        load("a\0b")
    assert str(caught.value) == r"'a\x00b': cannot be read: embedded null byte"
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"file/s.yaml: cannot be read: Not a directory$"):
        load(tmp_path / "file" / "s.yaml")
    with pytest.raises(ConfigError, match=r"^/dev/zero: larger than 4 MiB; "):
        load("/dev/zero")


def test_a_file_that_is_not_utf8(tmp_path: Path) -> None:
    file = tmp_path / "latin.yaml"
    file.write_bytes(b"a: 1\nb: caf\xe9\n")
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert str(caught.value) == f"{file}:2: not UTF-8: byte 0xe9; save the file as UTF-8"


def test_a_file_is_read_with_or_without_byte_order_mark(tmp_path: Path) -> None:
    for start in (b"", b"\xef\xbb\xbf"):
        file = tmp_path / "s.yaml"
        file.write_bytes(start + "name: é\n".encode())
        node = load(str(file)).require("name")
        assert (node.value, node.source, node.line, node.column) == ("é", str(file), 1, 7)


@pytest.mark.parametrize(
    "text", ["a: 1\na: 1\n", "a: [0.1, {b: x}]\na: [0.1, {b: 'x'}]\n", "a: 1e-4\na: 1.0e-4\n", "a:\na: null\n"]
)
def test_a_key_may_be_repeated_with_an_equal_value(text: str) -> None:
    node = loads(text, "s.yaml")
    assert [key for key, _ in node.items()] == ["a"]
    assert node.require("a").line == 1


@pytest.mark.parametrize(
    ("one", "other"), [("1", "1.0"), ("1", "true"), ("1", "'1'"), ("[1]", "[1, 1]"), ("0", "null")]
)
def test_a_key_with_a_value_that_only_looks_equal_is_refused(one: str, other: str) -> None:
    with pytest.raises(ConfigError, match=r"s\.yaml:2: key 'a' stands twice, first in line 1, with another value"):
        loads(f"a: {one}\na: {other}\n", "s.yaml")
