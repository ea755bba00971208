"""A mapping becomes an attrs object, or one error says which line and key is wrong and how to mend it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import pytest
from attrs import field, frozen

from secateur.config import dump, loads, structure
from secateur.config.validators import in_range, non_empty, non_negative, positive
from secateur.errors import ConfigError


@frozen(kw_only=True)
class Window:
    starting_epoch: int = field(default=0, validator=non_negative)
    ending_epoch: int = 9
    frequency: int = field(default=1, validator=positive)

    def __attrs_post_init__(self) -> None:
        if self.ending_epoch <= self.starting_epoch:
            raise ValueError("ending_epoch must be greater than starting_epoch")


@frozen(kw_only=True)
class Pruner:
    class_: str = field(metadata={"yaml": "class"}, validator=non_empty)
    sparsity: float = field(default=0.0, validator=in_range(0, 1, high_open=True))
    weights: str | list[str] = field(factory=list)
    scope: Literal["local", "global", "off"] = "local"
    keep_mask: bool = False
    levels: Mapping[str, float] = field(factory=dict)
    shape: tuple[int, int] | None = None
    names: dict[int, str] = field(factory=dict)
    window: Window | None = None
    limit: int | float | None = None
    rest: Any = None


@frozen(kw_only=True)
class Schedule:
    version: Literal[1]
    name: str = "unnamed"
    pruners: dict[str, Pruner] = field(factory=dict)
    policies: list[Window] = field(factory=list)
    parts: list[Window | dict[str, int] | None] = field(factory=list)


def pruner(line: str) -> str:
    return f"version: 1\npruners:\n  p:\n    class: agp\n    {line}\n"


def policy(line: str) -> str:
    return f"version: 1\npolicies:\n- frequency: 2\n- {line}\n"


P, W = "s.yaml:5: pruners.p", "s.yaml:4: policies[1]"
PRUNER_KEYS = "(known: class, keep_mask, levels, limit, names, rest, scope, shape, sparsity, weights, window)"
STRINGS = "expected a string or a list of strings"

BAD = [
    ("[]", "s.yaml:1: expected a mapping, got a list"),
    ("agp", "s.yaml:1: expected a mapping, got 'agp'"),
    ("name: a", "s.yaml:1: required key missing: 'version'"),
    ("version: 2", "s.yaml:1: version: expected 1, got 2"),
    ("version: '1'", "s.yaml:1: version: expected 1, got '1'; remove the quotes"),
    ("version: true", "s.yaml:1: version: expected 1, got true"),
    ("version: 1.0", "s.yaml:1: version: expected 1, got 1.0"),
    (
        "version: 1\nprunners: {}",
        "s.yaml:2: unknown key 'prunners'; did you mean 'pruners'? (known: name, parts, policies, pruners, version)",
    ),
    ("version: 1\nzzz: {}", "s.yaml:2: unknown key 'zzz'; (known: name, parts, policies, pruners, version)"),
    ("version: 1\non: x", "s.yaml:2: a key must be a string, got on; quote it: 'on'"),
    ("version: 1\n2: x", "s.yaml:2: a key must be a string, got 2; quote it: '2'"),
    ("version: 1\nname: 2", "s.yaml:2: name: expected a string, got 2; quote it: '2'"),
    ("version: 1\nname: 1.50", "s.yaml:2: name: expected a string, got 1.50; quote it: '1.50'"),
    (
        "version: 1\nname: on",
        "s.yaml:2: name: expected a string, got on, which YAML reads as true; quote it: 'on'",
    ),
    (
        "version: 1\nname: No",
        "s.yaml:2: name: expected a string, got No, which YAML reads as false; quote it: 'No'",
    ),
    ("version: 1\nname: true", "s.yaml:2: name: expected a string, got true; quote it: 'true'"),
    ("version: 1\nname: ~", "s.yaml:2: name: expected a string, got ~; quote it: '~'"),
    ("version: 1\nname:", "s.yaml:2: name: expected a string, got nothing"),
    ("version: 1\nname: [a]", "s.yaml:2: name: expected a string, got a list"),
    ("version: 1\nname: {a: b}", "s.yaml:2: name: expected a string, got a mapping"),
    ("version: 1\npruners:", "s.yaml:2: pruners: expected a mapping of strings to mappings, got nothing"),
    ("version: 1\npruners: [a]", "s.yaml:2: pruners: expected a mapping of strings to mappings, got a list"),
    ("version: 1\npruners: {p: }", "s.yaml:2: pruners.p: expected a mapping, got nothing"),
    ("version: 1\npruners:\n  p:\n    sparsity: 0.5", "s.yaml:4: pruners.p: required key missing: 'class'"),
    ("version: 1\npruners:\n  1: {}", "s.yaml:3: pruners: a key must be a string, got 1; quote it: '1'"),
    ("version: 1\npruners: {p: {class: ''}}", "s.yaml:2: pruners.p.class: must not be empty"),
    (
        "version: 1\npruners: {p: {class_: a}}",
        f"s.yaml:2: pruners.p: unknown key 'class_'; did you mean 'class'? {PRUNER_KEYS}",
    ),
    (pruner("sparsty: 0.5"), f"{P}: unknown key 'sparsty'; did you mean 'sparsity'? {PRUNER_KEYS}"),
    (pruner("sparsity: 1.2"), f"{P}.sparsity: must be in [0, 1), got 1.2"),
    (pruner("sparsity: 1"), f"{P}.sparsity: must be in [0, 1), got 1.0"),
    (pruner("sparsity: half"), f"{P}.sparsity: expected a number, got 'half'"),
    (pruner("sparsity: .nan"), f"{P}.sparsity: expected a finite number, got .nan"),
    (pruner("sparsity: -.inf"), f"{P}.sparsity: expected a finite number, got -.inf"),
    (pruner("sparsity: 0x" + "f" * 290), f"{P}.sparsity: expected a finite number, got 0x{'f' * 57}…"),
    (pruner("sparsity: '0.5'"), f"{P}.sparsity: expected a number, got '0.5'; remove the quotes"),
    (pruner("sparsity: 'half'"), f"{P}.sparsity: expected a number, got 'half'"),
    (pruner("sparsity: '1e-4'"), f"{P}.sparsity: expected a number, got '1e-4'; remove the quotes"),
    (pruner("sparsity: true"), f"{P}.sparsity: expected a number, got true"),
    (pruner("sparsity: 010"), f"{P}.sparsity: YAML reads 010 as 8; write it in decimal"),
    (pruner("weights: 3"), f"{P}.weights: {STRINGS}, got 3; quote it: '3'"),
    (pruner("weights: [a, 3]"), f"{P}.weights[1]: expected a string, got 3; quote it: '3'"),
    (pruner("weights: [[a]]"), f"{P}.weights[0]: expected a string, got a list"),
    (pruner("weights: {a: 1}"), f"{P}.weights: {STRINGS}, got a mapping"),
    (
        pruner("scope: globl"),
        f"{P}.scope: unknown value 'globl'; did you mean 'global'? (known: global, local, off)",
    ),
    (pruner("scope: 3"), f"{P}.scope: expected one of 'local', 'global', 'off', got 3"),
    (
        pruner("scope: off"),
        f"{P}.scope: expected one of 'local', 'global', 'off', got off, which YAML reads as false; quote it: 'off'",
    ),
    (pruner("scope: [local]"), f"{P}.scope: expected one of 'local', 'global', 'off', got a list"),
    (pruner("keep_mask: 1"), f"{P}.keep_mask: expected true or false, got 1"),
    (pruner("keep_mask: 'yes'"), f"{P}.keep_mask: expected true or false, got 'yes'; remove the quotes"),
    (pruner("keep_mask: ture"), f"{P}.keep_mask: expected true or false, got 'ture'"),
    (pruner("levels: {conv1.weight: x}"), f"{P}.levels['conv1.weight']: expected a number, got 'x'"),
    (pruner("levels: [a]"), f"{P}.levels: expected a mapping of strings to numbers, got a list"),
    (pruner("shape: [1]"), f"{P}.shape: expected a list of an integer and an integer, got a list of 1"),
    (pruner("shape: [1, x]"), f"{P}.shape[1]: expected an integer, got 'x'"),
    (pruner("shape: 3"), f"{P}.shape: expected a list of an integer and an integer, got 3"),
    (pruner("names: {a: b}"), f"{P}.names: in a key: expected an integer, got 'a'"),
    (pruner("names: {1: 2}"), f"{P}.names[1]: expected a string, got 2; quote it: '2'"),
    (pruner("window: 3"), f"{P}.window: expected a mapping, got 3"),
    (pruner("window: {frequency: 0}"), f"{P}.window.frequency: must be positive, got 0"),
    (
        pruner("window:\n      starting_epoch: 9"),
        "s.yaml:6: pruners.p.window: ending_epoch must be greater than starting_epoch",
    ),
    (pruner("limit: x"), f"{P}.limit: expected an integer or a number or null, got 'x'"),
    (policy("starting_epoch: two"), f"{W}.starting_epoch: expected an integer, got 'two'"),
    (policy("starting_epoch: -1"), f"{W}.starting_epoch: must not be negative, got -1"),
    (policy("starting_epoch: 3.0"), f"{W}.starting_epoch: expected an integer, got 3.0; write 3"),
    (policy("starting_epoch: 1e2"), f"{W}.starting_epoch: expected an integer, got 1e2; write 100"),
    (policy("starting_epoch: 3.5"), f"{W}.starting_epoch: expected an integer, got 3.5"),
    (policy("starting_epoch: '3'"), f"{W}.starting_epoch: expected an integer, got '3'; remove the quotes"),
    (policy("starting_epoch: yes"), f"{W}.starting_epoch: expected an integer, got yes"),
    (policy("starting_epoch: 1:30"), f"{W}.starting_epoch: YAML reads 1:30 as 90; write it in decimal"),
    (policy("starting_epoch:"), f"{W}.starting_epoch: expected an integer, got nothing"),
    (policy("a"), f"{W}: expected a mapping, got 'a'"),
    ("version: 1\npolicies: {a: {}}", "s.yaml:2: policies: expected a list of mappings, got a mapping"),
    ("version: 1\npolicies: a", "s.yaml:2: policies: expected a list of mappings, got 'a'"),
    (
        "version: 1\nparts:\n- {a: x}",
        "s.yaml:3: parts[0]: fits none of its 2 forms: "
        "3: parts[0]: unknown key 'a'; 3: parts[0].a: expected an integer, got 'x'",
    ),
]


@pytest.mark.parametrize(("text", "message"), BAD)
def test_bad_configuration(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        structure(loads(text, "s.yaml"), Schedule)
    assert str(caught.value) == message


def test_a_good_configuration() -> None:
    text = """
version: 1
pruners:
  low:
    class: agp
    sparsity: 1e-4          # a text in YAML 1.1
    weights: conv1.weight
    keep_mask: yes
    levels: {conv1.weight: 1, fc.weight: 0.5}
    shape: [3, 4]
    names: {1: one}
    window: {starting_epoch: 3}
    limit: 3
    rest: [1, {a: 2.5}, 1e-4]
  high: {class: '1e-4', weights: [a, b], limit: 0.5, window: null, scope: 'off'}
policies:
- frequency: 0x10
- {}
parts: [~, {frequency: 2}, {a: 1}]
"""
    schedule = structure(loads(text), Schedule)
    assert schedule == Schedule(
        version=1,
        pruners={
            "low": Pruner(
                class_="agp",
                sparsity=1e-4,
                weights="conv1.weight",
                keep_mask=True,
                levels={"conv1.weight": 1.0, "fc.weight": 0.5},
                shape=(3, 4),
                names={1: "one"},
                window=Window(starting_epoch=3),
                limit=3,
                rest=[1, {"a": 2.5}, 1e-4],
            ),
            "high": Pruner(class_="1e-4", weights=["a", "b"], limit=0.5, scope="off"),
        },
        policies=[Window(frequency=16), Window()],
        parts=[None, Window(frequency=2), {"a": 1}],
    )
    low = schedule.pruners["low"]
    assert (type(low.limit), type(low.levels["conv1.weight"])) == (int, float)
    assert dump(schedule)["pruners"]["high"] == {
        "class": "1e-4",
        "sparsity": 0.0,
        "weights": ["a", "b"],
        "scope": "off",
        "keep_mask": False,
        "levels": {},
        "shape": None,
        "names": {},
        "window": None,
        "limit": 0.5,
        "rest": None,
    }
