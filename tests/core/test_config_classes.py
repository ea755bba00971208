"""Every form of annotation, default, converter and validator that a class can have is honoured."""

from __future__ import annotations

import typing
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, NewType, Optional

import attrs
import pytest
from attrs import field, frozen

from secateur.config import Node, dump, loads, plain, structure
from secateur.config.validators import in_range, positive
from secateur.errors import ConfigError, PluginError

if TYPE_CHECKING:
    from decimal import Decimal


Ratio = NewType("Ratio", float)


@frozen
class Forms:
    sequence: Sequence[int] = ()
    iterable: Iterable[str] = ()
    bare_list: list = field(factory=list)  # type: ignore[type-arg]
    bare_dict: dict = field(factory=dict)  # type: ignore[type-arg]
    bare_tuple: tuple = ()  # type: ignore[type-arg]
    old: Optional[typing.List[int]] = None  # noqa: UP006, UP045
    annotated: Annotated[int, "epochs"] = 0
    ratio: Ratio = Ratio(0.0)
    node: Node | None = None
    number_or_text: str | float = ""
    flag_or_text: str | bool = ""
    mixed: Literal["auto"] | int = 0
    nothing: None = None
    _private: int = 0


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("sequence: [1, 2]", "sequence", (1, 2)),
        ("iterable: [a]", "iterable", ("a",)),
        ("bare_list: [1, [a]]", "bare_list", [1, ["a"]]),
        ("bare_dict: {a: [1]}", "bare_dict", {"a": [1]}),
        ("bare_tuple: [1, a]", "bare_tuple", (1, "a")),
        ("old: [1]", "old", [1]),
        ("old: ~", "old", None),
        ("annotated: 3", "annotated", 3),
        ("ratio: 1", "ratio", 1.0),
        ("number_or_text: 3", "number_or_text", 3.0),
        ("number_or_text: 1e-4", "number_or_text", 1e-4),
        ("number_or_text: '1e-4'", "number_or_text", "1e-4"),
        ("number_or_text: 2020-01-31", "number_or_text", "2020-01-31"),
        ("flag_or_text: on", "flag_or_text", True),
        ("flag_or_text: 'on'", "flag_or_text", "on"),
        ("mixed: auto", "mixed", "auto"),
        ("mixed: 3", "mixed", 3),
        ("nothing: ~", "nothing", None),
        ("private: 3", "_private", 3),
    ],
)
def test_forms_of_annotations(text: str, name: str, value: object) -> None:
    result = getattr(structure(loads(text), Forms), name)
    assert (type(result), result) == (type(value), value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sequence: 3", "sequence: expected a list of integers, got 3; write [3]"),
        ("iterable: a", "iterable: expected a list of strings, got 'a'; write [a]"),
        ("iterable: 3", "iterable: expected a list of strings, got 3"),
        ("bare_list: a", "bare_list: expected a list, got 'a'"),
        ("bare_dict: []", "bare_dict: expected a mapping, got a list"),
        ("iterable: |\n  a\n  b", "iterable: expected a list of strings, got 'a\\nb'"),
        ("old: 3", "old: expected a list of integers, got 3; write [3]"),
        ("old: {}", "old: expected a list of integers, got a mapping"),
        ("nothing: 3", "nothing: expected null, got 3"),
        (
            "mixed: autp",
            "mixed: expected 'auto' or an integer, got 'autp'; did you mean 'auto'? (known: auto)",
        ),
        ("flag_or_text: 3", "flag_or_text: expected a string or true or false, got 3; quote it: '3'"),
    ],
)
def test_bad_forms(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        structure(loads(text), Forms)
    assert str(caught.value) == f"<string>:1: {message}"


def test_a_node_is_passed_through() -> None:
    node = structure(loads("node: {a: 1}"), Forms).node
    assert isinstance(node, Node)
    assert (node.where, plain(node)) == ("<string>:1: node", {"a": 1})
    assert dump(Forms(node=node))["node"] == {"a": 1}


@frozen
class Injected:
    name: str
    ratio: float = field(default=0.5, validator=in_range(0, 1))
    model: Decimal | None = None
    cache: int = field(default=0, metadata={"yaml": None})


def test_extra_values_do_not_come_from_the_file() -> None:
    """The annotation of such a field need not even be known at run time."""
    result = structure(loads("ratio: 0.25"), Injected, extra={"name": "p", "model": "m"})
    assert result == Injected("p", 0.25, "m")  # type: ignore[arg-type]
    known = "(known: model, ratio)"
    with pytest.raises(ConfigError) as caught:
        structure(loads("name: q"), Injected, extra={"name": "p"})
    assert str(caught.value) == f"<string>:1: unknown key 'name'; {known}"
    with pytest.raises(ConfigError) as caught:
        structure(loads("cache: 3"), Injected, extra={"name": "p"})
    assert str(caught.value) == f"<string>:1: unknown key 'cache'; {known}"
    with pytest.raises(ConfigError) as caught:
        structure(loads("{}"), Injected, extra={"name": "p", "ratio": 2})
    assert str(caught.value) == "<string>:1: ratio must be in [0, 1], got 2"
    with pytest.raises(TypeError, match=r"^Injected has no field 'zzz' to be given as extra$"):
        structure(loads("{}"), Injected, extra={"zzz": 1})


def test_dump_leaves_out_what_is_not_of_the_file_and_refuses_what_has_no_form() -> None:
    assert dump(Injected("p")) == {"name": "p", "ratio": 0.5, "model": None}
    with pytest.raises(TypeError, match=r"^cannot dump a object: <object object at"):
        dump({"a": object()})


@frozen
class Strange:
    unknown: Decimal | None = None
    odd: complex = 0j


def test_a_class_that_is_no_schema_is_the_plugins_fault() -> None:
    with pytest.raises(PluginError) as caught:
        structure(loads("unknown: 3"), Strange)
    assert str(caught.value) == (
        f"{__name__}.Strange.unknown: annotation 'Decimal | None' cannot be resolved: "
        "name 'Decimal' is not defined; import what it names at run time, not under TYPE_CHECKING"
    )
    with pytest.raises(PluginError) as caught:
        structure(loads("odd: 3"), Strange)
    assert str(caught.value) == ("<string>:1: odd: no YAML is read for the annotation <class 'complex'>; annotate Any")


def _even(value: int) -> int:
    if value % 2:
        raise ValueError("must be even")
    return value


def _placeless(instance: object, attribute: attrs.Attribute[Any], value: str) -> None:
    if value == "bad":
        raise ConfigError("is no good name", hint="take another")
    if value == "worse":
        raise ConfigError("is no good name", where="names.txt:3")


@attrs.define(slots=False)
class Checked:
    even: int = field(default=2, converter=_even)
    doubled: int = field(default=attrs.Factory(lambda self: self.even * 2, takes_self=True), validator=positive)
    name: str = field(default="", validator=[attrs.validators.max_len(5), _placeless])
    counter: int = field(init=False, validator=positive)
    made: typing.ClassVar[list[int]] = []

    def __attrs_post_init__(self) -> None:
        if self.doubled == 8:
            raise ValueError
        self.made.append(self.even)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("even: 3", "c.yaml:2: even: must be even"),
        ("doubled: -2", "c.yaml:2: doubled: must be positive, got -2"),
        ("even: -2", "c.yaml:2: doubled must be positive, got -4"),
        ("name: abcdef", "c.yaml:2: name: Length of 'name' must be <= 5: 6"),
        ("name: bad", "c.yaml:2: name: is no good name; take another"),
        ("name: worse", "names.txt:3: is no good name"),
        ("even: 4", "c.yaml:2: is refused"),
    ],
)
def test_what_a_class_refuses_stands_at_its_key(text: str, message: str) -> None:
    """Converters, validators and `__attrs_post_init__`; and no object comes out of a bad mapping."""
    Checked.made.clear()
    with pytest.raises(ConfigError) as caught:
        structure(loads(f"# comment\n{text}", "c.yaml"), Checked)
    assert str(caught.value) == message
    assert Checked.made == []


def test_a_late_fault_makes_no_object() -> None:
    """Every key is read before the class is called."""
    Checked.made.clear()
    with pytest.raises(ConfigError, match=r"^c.yaml:2: doubled: expected an integer, got 'x'$"):
        structure(loads("even: 6\ndoubled: x", "c.yaml"), Checked)
    assert Checked.made == []
    assert structure(loads("even: 6"), Checked).doubled == 12
    assert Checked.made == [6]


@frozen
class Base:
    base: Annotated[int, field] = 0


@frozen
class Derived(Base):
    own: int = 0


@frozen
class Untyped:
    value = field(default=None)  # type: ignore[var-annotated]


def test_inherited_fields_are_keys_too() -> None:
    assert structure(loads("{base: 1, own: 2}"), Derived) == Derived(1, 2)


def test_a_field_without_annotation_takes_anything() -> None:
    assert structure(loads("value: [1, a]"), Untyped).value == [1, "a"]
