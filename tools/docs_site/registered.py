"""What a schedule can name: pruners, criteria, regularizers, models and data sets of the first-party plugins."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Mapping
from typing import Any

import attrs
from texts import cell, code, from_docstring, item

from secateur.plugins import PluginManager
from secateur.plugins.registry import Registry

OURS = ("secateur", "secateur-builders", "secateur-models", "secateur-pruners", "secateur-thinners")
"""Distributions whose records are listed: what else is installed here is nobody's business."""


def page() -> str:
    """The whole page."""
    manager = PluginManager.discover()
    parts = [
        "# Names in a schedule",
        "What the plugins of Secateur register, with all keys. [Schedules](../schedules.md) tells the grammar,"
        " [Pruners and criteria](../pruners.md) how to choose. `secateur schema` prints the same for an editor, with"
        " your own plugins too.",
        "## Pruners { #pruners }",
        *(_section(kind) for kind in classes(manager.pruners).values()),
        "## Regularizers { #regularizers }",
        *(_section(kind) for kind in classes(manager.regularizers).values()),
        "## Criteria { #criteria }",
        _table(manager.criteria),
        "## Models { #models }",
        _table(manager.models),
        "## Data sets { #data-sets }",
        _table(manager.datasets),
    ]
    return "\n\n".join(parts) + "\n"


def ours(registry: Registry[Any]) -> dict[str, Any]:
    """The records of a registry that come with Secateur, by name."""
    return {name: registry[name] for name in sorted(registry) if registry.provider(name).dist in OURS}


def classes(registry: Registry[Any]) -> dict[str, Any]:
    """The same for classes that are registered under other tools' names too: under their own names only."""
    return {name: kind for name, kind in ours(registry).items() if kind.name == name}


def _section(kind: Any) -> str:
    """A class: what it does, its keys, and what other tools call it."""
    keys = [item(f"`{key}`", "") for key in keys_of(kind)]
    said = from_docstring(inspect.getdoc(kind))
    base = next((base for base in kind.__mro__[1:] if base.__name__.endswith("Pruner") and base.__doc__), None)
    if base is not None and base.__name__ in ("UnitPruner", "RatedPruner", "WeightPruner"):
        said += f"\n\nThe keys it shares with others are explained at [`{base.__name__}`](plugins.md#{base.__name__})."
    spellings = ", ".join(code(name) for name in dict.fromkeys(spelling.name for spelling in kind.spellings))
    also = f"In Distiller: {spellings}." if spellings else ""
    return "\n\n".join(part for part in (f"### {kind.name} {{ #{kind.name} }}", said, "".join(keys), also) if part)


def keys_of(kind: Any) -> list[str]:
    """The keys of a class in a schedule, `name: type = default`; those that must be given come first."""
    fields = [field for field in attrs.fields(kind) if field.init and not field.name.startswith("_")]
    fields.sort(key=lambda field: field.default is not attrs.NOTHING)
    types = typing.get_type_hints(kind)
    return [f"{field.name}: {_type(types[field.name])}{_default(field.default)}" for field in fields]


def _type(kind: Any) -> str:
    return re.sub(r"^Optional\[(.*)\]$", r"\1 | None", inspect.formatannotation(kind).replace("typing.", ""))


def _default(default: Any) -> str:
    if default is attrs.NOTHING:
        return ""
    made = default.factory() if isinstance(default, attrs.Factory) else default  # type: ignore[arg-type]
    return f" = {made!r}"


def _table(registry: Registry[Any]) -> str:
    lines = ["| name | what it is |", "|---|---|"]
    rows: Mapping[str, Any] = ours(registry)
    return "\n".join(lines + [f"| {code(name)} | {cell(record.summary)} |" for name, record in rows.items()])
