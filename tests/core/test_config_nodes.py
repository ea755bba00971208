"""A node knows its place, and holds what YAML says."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
import yaml

from secateur.config import Node, loads, plain
from secateur.errors import ConfigError, SecateurError

DOCUMENT = """\
version: 1
pruners:
  low:
    class: 'agp'        # a comment
    weights: [conv1.weight,
              fc.weight]
    levels:
      conv1.weight: 0.5
      2: 0.25
policies:
  - pruner: {instance_name: low}
    epochs: [0, 1]
"""


def test_every_node_knows_its_place() -> None:
    root = loads(DOCUMENT, "s.yaml")
    low = root.require("pruners").require("low")
    policy = root.require("policies").elements[0]
    places = {
        node.path: (node.line, node.column, node.kind)
        for node in (
            root,
            low,
            low.require("weights").elements[1],
            policy.require("pruner").require("instance_name"),
        )
    }
    assert places == {
        "": (1, 1, "mapping"),
        "pruners.low": (4, 5, "mapping"),
        "pruners.low.weights[1]": (6, 15, "scalar"),
        "policies[0].pruner.instance_name": (11, 29, "scalar"),
    }
    levels = dict(low.require("levels").items_any())
    assert levels["conv1.weight"].where == "s.yaml:8: pruners.low.levels['conv1.weight']"
    assert levels[2].where == "s.yaml:9: pruners.low.levels[2]"
    assert repr(policy) == "<mapping at s.yaml:11: policies[0]>"


def test_values_are_views() -> None:
    root = loads(DOCUMENT, "s.yaml")
    value = root.value
    assert list(value) == ["version", "pruners", "policies"]  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="does not support item assignment"):
        value["version"] = root  # type: ignore[index]
    with pytest.raises(AttributeError):
        root.line = 3  # type: ignore[misc]
    assert root.require("version").value == 1
    elements = root.require("policies").value
    assert isinstance(elements, tuple)
    assert isinstance(elements[0], Node)
    assert root.get("nothing") is None
    assert plain(root.without("pruners", "policies")) == {"version": 1}
    assert plain(root) == yaml.safe_load(DOCUMENT)


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda r: r.require("zzz"), "s.yaml:1: required key missing: 'zzz'"),
        (lambda r: r.require("version").get("a"), "s.yaml:1: version: expected a mapping, got 1"),
        (lambda r: r.require("policies").without("a"), "s.yaml:11: policies: expected a mapping, got a list"),
        (lambda r: r.expect("sequence"), "s.yaml:1: expected a list, got a mapping"),
        (lambda r: r.expect("scalar"), "s.yaml:1: expected a single value, got a mapping"),
        (
            lambda r: r.require("pruners").require("low").require("levels").value,
            "s.yaml:9: pruners.low.levels: a key must be a string, got 2; quote it: '2'",
        ),
    ],
)
def test_misuse_of_a_node(use: Callable[[Node], object], message: str) -> None:
    root = loads(DOCUMENT, "s.yaml")
    with pytest.raises(ConfigError) as caught:
        use(root)
    assert str(caught.value) == message


def test_an_error_can_be_placed_at_another_node() -> None:
    root = loads(DOCUMENT, "s.yaml")
    error = root.error("is no pruner", hint="name one", node=root.require("policies").elements[0])
    assert isinstance(error, SecateurError)
    assert str(error) == "s.yaml:11: policies[0]: is no pruner; name one"


@pytest.mark.parametrize(
    "text",
    [
        "a: &x [1, {b: 2}]\nc: *x\nd: [*x, *x]\n",
        "base: &b {p: 1, q: 2}\nuse:\n  <<: *b\n  q: 3\n  r: 4\n",
        "x: &x {p: 1, q: 1}\ny: &y {q: 2, r: 2}\nuse:\n  r: 3\n  <<: [*x, *y]\n",
        "x: &x {p: 1}\ny: &y {<<: *x, q: 1}\nuse: {<<: *y}\n",
        "'<<': 1\nb: =\nc: <<\n",
        "3: a\n2.5: b\ntrue: c\nd: e\n",
        "a: [1, -2, 0x1F, 0b11, 017, 1_000, 1:30]\n",
        "a: [1.5, -2., .5, 1.0e+3, .inf, -.INF, 1:30.5]\n",
        "a: [yes, No, on, OFF, true, FALSE]\n",
        "a: [~, null, NULL]\nb:\n",
        "a: ['1', \"2\", 'yes', '~', !!str 3, ! 4]\n",
        "a: [!!int '3', !!float 3, !!bool 'on', !!null '', !!seq [], !!map {}]\n",
        "a: |\n  two\n  lines\nb: >-\n  one\n  line\n",
        '"a": {"b": [1, 2.5, null, true, "x\\u00e9"]}\n',
        "just a text",
        "- a\n- - b\n  - c\n",
    ],
)
def test_plain_is_what_the_safe_loader_gives(text: str) -> None:
    """Aliases, merges and scalars resolve like in YAML 1.1; equality of types is checked through `repr`."""
    try:
        expected = yaml.safe_load(text)
    except yaml.constructor.ConstructorError:  # of the bare `=` and `<<`, which it leaves without a value
        expected = {"<<": 1, "b": "=", "c": "<<"}
    assert repr(plain(loads(text))) == repr(expected)


def test_where_plain_differs_from_the_safe_loader() -> None:
    """Dates stay texts; a bare number with an exponent is a number even where YAML 1.1 sees a text."""
    text = "a: 2020-01-31\nb: 1e-4\nc: -1E5\nd: 1.5e3\ne: '1e-4'\nf: !!str 1e-4\ng: 1e999\n"
    expected = ["2020-01-31", 1e-4, -1e5, 1500.0, "1e-4", "1e-4", "1e999"]
    assert list(plain(loads(text)).values()) == expected
    assert loads("b: 1e-4").require("b").value == "1e-4"


def test_merged_nodes_stand_under_the_key_that_merges_them() -> None:
    """Their line is the one where the text stands, their path the one where it is used."""
    node = loads("base: &b\n  p: 1\nuse:\n  <<: *b\n", "s.yaml").require("use").require("p")
    assert node.where == "s.yaml:2: use.p"


def test_long_texts_are_cut_in_messages() -> None:
    value = loads(f"{'k' * 500}: [{'v' * 500}]", "s.yaml").require("k" * 500)
    with pytest.raises(ConfigError) as caught:
        value.elements[0].expect("mapping")
    assert str(caught.value) == f"s.yaml:1: {'k' * 59}…[0]: expected a mapping, got '{'v' * 58}…"


def test_imports_neither_torch_nor_numpy() -> None:
    code = "import sys, secateur.config.validators; print({'torch', 'numpy'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"
