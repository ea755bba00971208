"""Whatever stands in a file, it is read whole or refused with a `ConfigError` of one line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import pytest
import yaml
from attrs import field, frozen
from hypothesis import example, given
from hypothesis import strategies as st

from secateur.config import dump, loads, plain, structure
from secateur.config.validators import in_range
from secateur.errors import ConfigError


@frozen
class Leaf:
    class_: str = field(metadata={"yaml": "class"})
    ratio: float = field(default=0.0, validator=in_range(-1e300, 1e300))
    flag: bool = False
    choice: Literal["local", "off", 3] | None = None


@frozen
class Tree:
    count: int
    leaf: Leaf
    names: tuple[str, ...] = ()
    text_or_list: str | list[str] = ""
    number: int | float | None = None
    leaves: Mapping[str, Leaf] = field(factory=dict)
    by_number: dict[int, list[Leaf | None]] = field(factory=dict)
    pair: tuple[int, str] | None = None


TEXT = st.text(max_size=20) | st.sampled_from(
    [
        "on",
        "1e-4",
        "1.5e3",
        "",
        "~",
        "null",
        "3",
        "0x1f",
        "2020-01-31",
        "1:30",
        "<<",
        "=",
        "a: b",
        "- a",
        "\x85\ufeff",
    ]
)
NUMBER = st.floats(-1e300, 1e300)
LEAF = st.builds(Leaf, TEXT, NUMBER, st.booleans(), st.sampled_from(["local", "off", 3, None]))
TREE = st.builds(
    Tree,
    st.integers(),
    LEAF,
    st.lists(TEXT, max_size=3).map(tuple),
    TEXT | st.lists(TEXT, max_size=3),
    st.none() | st.integers() | NUMBER,
    st.dictionaries(TEXT, LEAF, max_size=3),
    st.dictionaries(st.integers(), st.lists(st.none() | LEAF, max_size=2), max_size=2),
    st.none() | st.tuples(st.integers(), TEXT),
)


@pytest.mark.parametrize("flow", [False, True])
@given(tree=TREE)
def test_what_is_dumped_is_read_back(tree: Tree, flow: bool) -> None:
    text = yaml.safe_dump(dump(tree), default_flow_style=flow)
    assert structure(loads(text), Tree) == tree


@given(tree=TREE, key=st.sampled_from(["count", "leaf", "names", "pair"]))
def test_one_bad_key_is_the_one_that_is_named(tree: Tree, key: str) -> None:
    content = dump(tree) | {key: {"zzz": 1}}
    with pytest.raises(ConfigError, match=rf"^s.yaml:\d+: {key}: "):
        structure(loads(yaml.safe_dump(content), "s.yaml"), Tree)


SIGNS = "abn1-+.:,[]{}#&*!|>'\"%@`?~=_eE0x \t\n\x85\ufeff"
WORDS = [
    "\n  ",
    "\n- ",
    ": ",
    "<<: ",
    "&a ",
    "*a",
    "!!int ",
    "!!str ",
    "!t ",
    "---\n",
    "...\n",
    "\\u",
    "1e5",
    "on",
]
KEYS = ["count: ", "leaf:\n  ", "class: ", "names: ", "names: |\n", "leaves: ", "number: ", "\npair: "]
PIECES = st.lists(st.sampled_from([*SIGNS, *WORDS, *KEYS]), max_size=40).map("".join)


@given(text=st.text(max_size=60) | PIECES)
@example(text='"\\Uffffffff"')
@example(text="? " * 200)
@example(text="- " * 200)
@example(text="&a [*a]")
@example(text="{&a b: *a, <<: {c: *a}}")
@example(text="!!int 0b")
@example(text="!<tag:yaml.org,2002:float> ''")
@example(text="\ud800")
def test_any_text_is_read_or_refused_in_one_line(text: str) -> None:
    for read in (lambda: plain(loads(text)), lambda: structure(loads(text), Tree)):
        try:
            read()
        except ConfigError as error:
            message = str(error)
            assert message.startswith("<string>")
            assert message.isprintable(), repr(message)
            message.encode()


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3),
    max_leaves=10,
)


@given(
    content=st.dictionaries(st.sampled_from(["count", "leaf", "names", "number", "leaves", "pair"]), VALUES) | VALUES
)
def test_any_content_is_structured_or_refused(content: Any) -> None:
    """And what is accepted holds nothing but what the file says: it can be dumped and read again."""
    try:
        tree = structure(loads(yaml.safe_dump(content)), Tree)
    except ConfigError:
        return
    assert structure(loads(yaml.safe_dump(dump(tree))), Tree) == tree
