"""Turn a mapping of a document into an attrs class, checked key by key, and back.

The fields of the class are the schema: their names are the keys, their annotations the types, their
validators the limits, and a field without default is required.
"""

from __future__ import annotations

import sys
import typing
from collections.abc import Mapping
from inspect import get_annotations
from types import SimpleNamespace
from typing import Any, Literal, TypeVar

import attrs

from secateur.config.describe import LISTS, MAPPINGS, UNIONS, describe, members, unwrap
from secateur.config.node import Node, plain, shorten
from secateur.config.scalars import READERS, as_literal, refuse
from secateur.errors import ConfigError, PluginError, suggestion

T = TypeVar("T")


def structure(node: Node, cls: type[T], *, extra: Mapping[str, Any] | None = None) -> T:
    """Build an attrs class from a mapping node.

    A field's name is its key, unless its metadata says otherwise: `field(metadata={"yaml": "class"})`, or
    `{"yaml": None}` for a field that is never read from a file. `extra` gives the values, by name, of
    fields that do not come from the file; their keys are unknown in it. Sequences become tuples where the
    annotation allows it.

    Raises `ConfigError` at the place of the first fault: an unknown, missing or ill-typed key, or what the
    class's validators or its `__attrs_post_init__` refuse with `ValueError`. Raises `PluginError` if the
    class itself cannot be a schema.
    """
    given = dict(extra or {})
    foreign = sorted(given.keys() - {field.name for field in _fields(cls) if field.init})
    if foreign:
        raise TypeError(f"{cls.__qualname__} has no field {foreign[0]!r} to be given as extra")
    if node.kind != "mapping":
        raise refuse(node, cls)
    by_key = {key: field for key, field in keyed(cls).items() if field.name not in given}
    found: dict[str, Node] = {}
    for key, (key_node, value) in zip((key for key, _ in node.items()), node.pairs, strict=True):
        if key not in by_key:
            raise key_node.error(f"unknown key {shorten(repr(key))}", hint=suggestion(key, by_key))
        found[key] = value
    missing = [repr(k) for k, field in by_key.items() if k not in found and field.default is attrs.NOTHING]
    if missing:
        raise node.error(f"required {'key' if len(missing) == 1 else 'keys'} missing: {', '.join(missing)}")
    values = {by_key[key].name: convert(value, annotation(cls, by_key[key])) for key, value in found.items()}
    return _construct(cls, given | values, node, {by_key[key].name: value for key, value in found.items()})


def dump(value: Any) -> Any:
    """Turn an attrs object, or a container of them, into plain dicts and lists; `structure` reads them back.

    Raises `TypeError` for a value that YAML has no plain form for.
    """
    if isinstance(value, Node):
        return plain(value)
    if attrs.has(type(value)):
        return {key: dump(getattr(value, field.name)) for key, field in keyed(type(value)).items()}
    if isinstance(value, Mapping):
        return {key: dump(element) for key, element in value.items()}
    if isinstance(value, list | tuple):
        return [dump(element) for element in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise TypeError(f"cannot dump a {type(value).__qualname__}: {shorten(repr(value))}")


def yaml_key(field: attrs.Attribute[Any]) -> str | None:
    """Say under which key a field stands in a file; None if it is never there."""
    key: str | None = field.metadata.get("yaml", field.alias)
    return key


def keyed(cls: type) -> dict[str, attrs.Attribute[Any]]:
    """The fields of an attrs class that a file may give, by their keys."""
    keys = ((yaml_key(field), field) for field in _fields(cls) if field.init)
    return {key: field for key, field in keys if key is not None}


def _fields(cls: type) -> tuple[attrs.Attribute[Any], ...]:
    return tuple(attrs.fields(cls))


def convert(node: Node, hint: Any) -> Any:
    """Turn a node into what an annotation asks for; `ConfigError` at the node that does not fit."""
    hint = unwrap(hint)
    origin, arguments = typing.get_origin(hint) or hint, typing.get_args(hint)
    if hint in (Any, object):
        return plain(node)
    if hint is Node:
        return node
    if hint in READERS:
        return READERS[hint](node)
    if origin is Literal:
        return as_literal(node, arguments)
    if origin in UNIONS:
        return _union(node, hint)
    if origin in LISTS:
        return _sequence(node, hint, origin, arguments)
    if origin in MAPPINGS:
        return _mapping(node, hint, arguments or (str, Any))
    if isinstance(hint, type) and attrs.has(hint):
        return structure(node, hint)
    raise PluginError(f"no YAML is read for the annotation {hint!r}", where=node.where, hint="annotate Any")


def _sequence(node: Node, hint: Any, origin: Any, arguments: tuple[Any, ...]) -> Any:
    fixed = origin is tuple and bool(arguments) and arguments[-1] is not Ellipsis
    element = arguments[0] if arguments and not fixed else Any
    if node.kind != "sequence":
        raise node.error(refuse(node, hint).what, hint=f"write [{node.text}]" if _fits(node, element) else "")
    if fixed:
        if len(arguments) != len(node.elements):
            raise node.error(f"expected {describe(hint)}, got a list of {len(node.elements)}")
        return tuple(map(convert, node.elements, arguments))
    values = [convert(each, element) for each in node.elements]
    return values if origin is list else tuple(values)


def _fits(node: Node, hint: Any) -> bool:
    """Say whether a lone value was written where a list of such values is wanted."""
    try:
        convert(node, hint)
    except ConfigError:
        return False
    return node.kind == "scalar" and 0 < len(node.text) < 60 and node.text.isprintable() and hint is not Any


def _mapping(node: Node, hint: Any, arguments: tuple[Any, ...]) -> dict[Any, Any]:
    if node.kind != "mapping":
        raise refuse(node, hint)
    key_hint, value_hint = arguments
    if unwrap(key_hint) is str:
        return {key: convert(value, value_hint) for key, value in node.items()}
    result = {}
    for key, value in node.pairs:
        try:
            name = convert(key, key_hint)
        except ConfigError as error:
            raise key.error(f"in a key: {error.what}", hint=error.hint) from None
        result[name] = convert(value, value_hint)
    return result


def _union(node: Node, hint: Any) -> Any:
    """Take the member that fits best; if none does, say what is wrong with the one probably meant."""
    candidates = [member for member in members(hint) if _kind(member) in (node.kind, "any")]
    exact = type(node.natural)
    errors = []
    for candidate in sorted(candidates, key=lambda member: member is not exact):
        try:
            return convert(node, candidate)
        except ConfigError as error:
            errors.append(error)
    alternatives = [member for member in members(hint) if unwrap(member) is not type(None)]
    if len(alternatives) == 1:
        return convert(node, alternatives[0])  # raises
    if node.kind != "scalar" and len(errors) == 1:
        raise errors[0]
    if node.kind != "scalar" and errors:
        reasons = "; ".join(f"{error.where.removeprefix(node.source)[1:]}: {error.what}" for error in errors)
        raise node.error(f"fits none of its {len(errors)} forms: {reasons}")
    fixes = [error.hint for error in errors if error.hint]
    raise node.error(f"expected {describe(hint)}, got {node.shown}", hint=fixes[0] if fixes else "")


def _kind(hint: Any) -> str:
    origin = typing.get_origin(hint) or hint
    if hint in (Any, object, Node):
        return "any"
    if origin in LISTS:
        return "sequence"
    return "mapping" if origin in MAPPINGS or attrs.has(origin) else "scalar"


def annotation(cls: type, field: attrs.Attribute[Any]) -> Any:
    """Resolve the annotation of one field in the module of the class that wrote it."""
    for owner in cls.__mro__:
        written = get_annotations(owner).get(field.name)
        if written is None:
            continue
        scope = vars(sys.modules[owner.__module__]) if owner.__module__ in sys.modules else {}
        holder = SimpleNamespace(__annotations__={field.name: written})
        try:
            return typing.get_type_hints(holder, scope, dict(vars(owner)), include_extras=True)[field.name]
        except (NameError, SyntaxError) as error:
            raise PluginError(
                f"annotation {written!r} cannot be resolved: {error}",
                where=f"{owner.__module__}.{owner.__qualname__}.{field.name}",
                hint="import what it names at run time, not under TYPE_CHECKING",
            ) from error
    return Any


def _construct(cls: type[T], values: dict[str, Any], node: Node, places: Mapping[str, Node]) -> T:
    """Make the object; what it refuses is an error at the key that is to blame, or at the mapping."""
    alias = {field.name: field.alias or field.name for field in _fields(cls)}
    try:
        return cls(**{alias[name]: value for name, value in values.items()})
    except ConfigError as error:
        if error.where:
            raise
        raise _blame(cls, values, node, places, error) from None
    except ValueError as error:
        raise _blame(cls, values, node, places, error) from None


def _blame(
    cls: type, values: Mapping[str, Any], node: Node, places: Mapping[str, Node], error: Exception
) -> ConfigError:
    """Find the field that made the constructor fail: run the validators once more, one by one."""
    trial: Any = object.__new__(cls)
    name = ""
    try:
        for field in _fields(cls):
            name = field.name
            object.__setattr__(trial, name, _value(field, values, trial))
        for field in _fields(cls):
            name = field.name
            if field.validator is not None and getattr(trial, name) is not attrs.NOTHING:
                field.validator(trial, field, getattr(trial, name))
    except (ValueError, ConfigError) as fault:
        if name in places:
            return _located(places[name], fault)
        if type(fault) is type(error) and fault.args == error.args:
            return _located(node, fault, prefix=f"{name} ")
    return _located(node, error)


def _value(field: attrs.Attribute[Any], values: Mapping[str, Any], trial: Any) -> Any:
    """Compute what the constructor stores in a field: given or default, then converted."""
    value = values.get(field.name, field.default)
    if isinstance(value, attrs.Factory):  # type: ignore[arg-type]
        value = value.factory(trial) if value.takes_self else value.factory()
    converter: Any = field.converter
    if hasattr(converter, "takes_self"):
        more = ([trial] if converter.takes_self else []) + ([field] if converter.takes_field else [])
        return converter.converter(value, *more)
    return converter(value) if converter is not None else value


def _located(node: Node, error: Exception, prefix: str = "") -> ConfigError:
    """Put an error without a place at a node."""
    if isinstance(error, ConfigError):
        return error if error.where else node.error(prefix + error.what, hint=error.hint)
    return node.error(prefix + (str(error.args[0]) if error.args else "is refused"))
