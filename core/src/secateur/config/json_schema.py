"""JSON Schema of what `structure` reads: annotations, and attrs classes with their descriptions.

The dialect is draft 2020-12. Validators of fields are not part of it: a value that the schema accepts may be refused.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
import typing
from itertools import pairwise
from typing import Any, Literal

import attrs

from secateur.config.describe import LISTS, MAPPINGS, UNIONS, unwrap
from secateur.config.node import Node
from secateur.config.structure import annotation, keyed

Json = dict[str, Any]

_TYPES: dict[Any, str] = {int: "integer", float: "number", bool: "boolean", str: "string", type(None): "null"}
_KEY = re.compile(
    r"`(\w+)`((?:\s*(?:,|and)\s*`\w+`)*):\s+(.+?)(?=\s+`\w+`(?:\s*(?:,|and)\s*`\w+`)*:|\n\s*\n|\Z)", re.DOTALL
)
"""How a class's docstring describes its keys: `key`: what it says, or `one` and `other`: …"""


def value_schema(hint: Any) -> Json:
    """The schema of the values that an annotation stands for.

    >>> value_schema(list[float] | None)
    {'anyOf': [{'type': 'array', 'items': {'type': 'number'}}, {'type': 'null'}]}
    """
    hint = unwrap(hint)
    if hint in _TYPES:
        return {"type": _TYPES[hint]}
    origin, arguments = typing.get_origin(hint) or hint, typing.get_args(hint)
    if origin in UNIONS:
        forms = [value_schema(member) for member in arguments]
        return {"anyOf": forms} if {} not in forms else {}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in LISTS:
        return _array(origin, arguments)
    if origin in MAPPINGS:
        return (
            {"type": "object", "additionalProperties": value_schema(arguments[1])} if arguments else {"type": "object"}
        )
    if isinstance(origin, type) and attrs.has(origin) and origin is not Node:
        return class_schema(origin)
    return {}


def _array(origin: Any, arguments: tuple[Any, ...]) -> Json:
    if origin is tuple and arguments and arguments[-1] is not Ellipsis:
        size = len(arguments)
        return {
            "type": "array",
            "prefixItems": [value_schema(each) for each in arguments],
            "minItems": size,
            "maxItems": size,
        }
    return {"type": "array", "items": value_schema(arguments[0])} if arguments else {"type": "array"}


def class_schema(cls: type[Any]) -> Json:
    """The schema of a mapping that `structure` turns into this class."""
    properties = field_schemas(cls)
    return object_schema(properties, required_keys(cls), first_sentence(cls))


def object_schema(properties: Json, required: list[str], description: str = "") -> Json:
    """The schema of a mapping with these keys and no others."""
    found: Json = {"type": "object", "properties": properties, "additionalProperties": False}
    if required:
        found["required"] = required
    return {"description": description, **found} if description else found


def field_schemas(cls: type[Any]) -> Json:
    """The schema of each key of a class, with its description and default."""
    notes = descriptions(cls)
    found: Json = {}
    for key, field in keyed(cls).items():
        found[key] = value_schema(annotation(cls, field))
        if field.name in notes:
            found[key]["description"] = notes[field.name]
        if isinstance(field.default, bool | int | float | str):
            found[key]["default"] = field.default
    return found


def required_keys(cls: type[Any]) -> list[str]:
    """The keys of a class that must be given."""
    return [key for key, field in keyed(cls).items() if field.default is attrs.NOTHING]


def first_sentence(cls: type[Any]) -> str:
    """The first paragraph of a class's docstring, in one line."""
    return " ".join((inspect.getdoc(cls) or "").split("\n\n")[0].split())


def descriptions(cls: type[Any]) -> dict[str, str]:
    """What docstrings say of the fields of a class: those of the class and its bases, and those below the fields."""
    found: dict[str, str] = {}
    for owner in reversed(cls.__mro__):
        if not attrs.has(owner):
            continue
        text = inspect.cleandoc(owner.__doc__ or "")
        for match in _KEY.finditer(text):
            said = " ".join(match[3].split())
            found.update(dict.fromkeys([match[1], *re.findall(r"`(\w+)`", match[2])], said))
        found.update(_below(owner))
    return {name: said for name, said in found.items() if name in {field.name for field in attrs.fields(cls)}}


def _below(cls: type[Any]) -> dict[str, str]:
    """The texts that stand below the fields of a class in its source."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    except (OSError, TypeError, SyntaxError):  # made at run time: there is no source to look at
        return {}
    body = tree.body[0].body if tree.body and isinstance(tree.body[0], ast.ClassDef) else []
    found = {}
    for field, below in pairwise(body):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
            and isinstance(below.value.value, str)
        ):
            found[field.target.id] = " ".join(below.value.value.split())
    return found
