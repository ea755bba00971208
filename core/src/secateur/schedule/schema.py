"""The JSON Schema of schedule files: one definition per registered class and per name that another tool has for it.

Editors complete and check schedules by it. It says less than the grammar: what validators refuse, it lets pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from secateur.config.json_schema import (
    Json,
    class_schema,
    field_schemas,
    first_sentence,
    object_schema,
    required_keys,
    value_schema,
)
from secateur.plugins import PluginManager, Registry
from secateur.schedule.grammar import VERSION
from secateur.schedule.lr import RENAMED, lr_arguments, lr_classes
from secateur.schedule.policies import ARGS, KINDS, section
from secateur.schedule.policy import PolicyArgs
from secateur.schedule.spelled import Meaning, meanings
from secateur.schedule.thinner import Thinner
from secateur.schedule.window import Window

DIALECT = "https://json-schema.org/draft/2020-12/schema"
PUBLISHED = "schedule.schema.json"


def published() -> str:
    """The schema as it is published with the package: of the classes that come with Secateur."""
    return files("secateur.schedule").joinpath(PUBLISHED).read_text(encoding="utf-8")


def schedule_schema(manager: PluginManager, sections: Mapping[str, type[Any]] | None = None) -> Json:
    """The schema of schedules with the classes of these plugins; `sections`: the class of each further section."""
    definitions: Json = {}
    for kind, registry in (("pruner", manager.pruners), ("regularizer", manager.regularizers)):
        definitions |= _definitions(kind, _registered(registry, list(manager.criteria)))
    definitions |= _definitions("lr_scheduler", {name: [_lr(name, cls)] for name, cls in lr_classes().items()})
    thinner = class_schema(Thinner)
    names = (Thinner.name, *Thinner.aliases)
    definitions |= _definitions("extension", {name: [_with_class(thinner, name)] for name in names})
    definitions["policy"] = _policy()
    properties: Json = {
        "version": {"const": VERSION, "description": "the version of the grammar"},
        "plugins": _or_nothing(value_schema(list[str])) | {"description": "plugins that must be there"},
        **{name: class_schema(cls) for name, cls in (sections or {}).items()},
        **{
            section(kind): _or_nothing({"type": "object", "additionalProperties": {"$ref": f"#/$defs/{kind}"}})
            for kind in KINDS
        },
        "policies": _or_nothing({"type": "array", "items": {"$ref": "#/$defs/policy"}}),
    }
    head = {"$schema": DIALECT, "title": "Secateur schedule", "$comment": "written by: secateur schema"}
    return head | object_schema(properties, []) | {"$defs": definitions}


def _or_nothing(schema: Json) -> Json:
    """A section or a key that may stand there without a value."""
    return {**schema, "type": [schema["type"], "null"]}


def _definitions(kind: str, forms: Mapping[str, Sequence[Json]]) -> Json:
    """One definition for each form of each name, and one that chooses among them by `class`."""
    found: Json = {}
    choices = []
    for name, each in forms.items():
        titles = [f"{kind}.{name}"] if len(each) == 1 else [f"{kind}.{name}.{i}" for i in range(1, len(each) + 1)]
        found |= dict(zip(titles, each, strict=True))
        references = [{"$ref": f"#/$defs/{title}"} for title in titles]
        then = references[0] if len(references) == 1 else {"anyOf": references}
        choices.append({"if": {"properties": {"class": {"const": name}}}, "then": then})
    names = {"type": "object", "properties": {"class": {"enum": list(forms)}}, "required": ["class"]}
    return found | {kind: names | ({"allOf": choices} if choices else {})}


def _registered(registry: Registry[Any], criteria: list[str]) -> dict[str, list[Json]]:
    return {
        name: [_meaning(name, each, criteria) for each in meanings(name, registry.candidates(name))]
        for name in (*registry, *registry.aliases)
    }


def _meaning(name: str, meaning: Meaning, criteria: list[str]) -> Json:
    cls, spelling = meaning.cls, meaning.spelling
    said = cls.summary or first_sentence(cls)
    ours = field_schemas(cls)
    if ours.get("criterion", {}).get("type") == "string":
        ours["criterion"] = {**ours["criterion"], "enum": criteria}
    if spelling is None:
        return _with_class(object_schema(ours, required_keys(cls), said), name)
    required = set(required_keys(cls)) - set(spelling.presets)
    tree = object_schema({}, [], f"{said}; spells {cls.name!r}")
    for their in spelling.ignored:
        _put(tree, their, {"description": f"accepted, and ignored: {spelling.ignored[their]}"}, required=False)
    spoken = list(meaning.keys.values())
    for their, our in meaning.keys.items():
        if their in spelling.ignored:
            continue
        values = dict(ours[our])
        if table := spelling.values.get(our):
            values = {"anyOf": [{"enum": list(table)}, values]}
        _put(tree, their, values, required=their in spelling.required or (our in required and spoken.count(our) == 1))
    for key, value in spelling.presets.items():
        if key not in spelling.keys and key in ours:
            _put(tree, key, {"const": value}, required=False)
    for their, served in spelling.when.items():
        _put(tree, their, {"enum": sorted(served, key=repr)}, required=None not in served)
    return _with_class(tree, name)


def _put(tree: Json, key: str, schema: Json, *, required: bool) -> None:
    """Add a key, or one in a mapping if it is dotted."""
    head, _, rest = key.partition(".")
    if rest:
        inner = tree["properties"].setdefault(head, object_schema({}, []))
        if "properties" in inner:  # else the whole of it is ignored
            _put(inner, rest, schema, required=required)
    else:
        tree["properties"][head] = schema
    if required and head not in tree.setdefault("required", []):
        tree["required"].append(head)


def _with_class(schema: Json, name: str) -> Json:
    properties = {"class": {"const": name}, **schema["properties"]}
    return {**schema, "properties": properties, "required": ["class", *schema.get("required", [])]}


def _lr(name: str, cls: type[Any]) -> Json:
    arguments = lr_arguments(cls)
    properties = {key: value_schema(argument.hint) for key, argument in arguments.items()}
    properties |= {their: properties[our] for their, our in RENAMED.get(name, {}).items()}
    required = [key for key, argument in arguments.items() if argument.required]
    return _with_class(object_schema(properties, required), name)


def _policy() -> Json:
    args = field_schemas(PolicyArgs)
    bindings: Json = {}
    for kind in KINDS:
        taken = {key: schema for key, schema in args.items() if key in ARGS[kind]}
        allowed = _or_nothing(object_schema(taken, []))
        bindings[kind] = object_schema({"instance_name": {}, "args": allowed}, ["instance_name"])
    ranged = ["starting_epoch", "ending_epoch"]
    listed = {"required": ["epochs"], "not": {"anyOf": [{"required": [key]} for key in ranged]}}
    return object_schema({**bindings, **field_schemas(Window)}, [], "binds an instance to epochs") | {
        "allOf": [
            {"oneOf": [{"required": [kind]} for kind in KINDS]},
            {"oneOf": [listed, {"required": ranged}]},
        ]
    }
