"""The pages of the reference: which there are, and what stands on each."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import commands
import registered
from entries import anchor, entry, see
from sources import node_of, signature
from texts import fence, from_docstring, prose

import secateur
from secateur import hookspecs, records, testing
from secateur.testing.contract import LAWS

AUTHORS: Mapping[str, tuple[str, ...]] = {
    "Op rules": (
        "secateur.coupling.site.Site",
        "secateur.coupling.labels.Axis",
        "secateur.coupling.labels.Labels",
    ),
    "Pruners": (
        "secateur.pruning.base.Pruner",
        "secateur.pruning.base.Network",
        "secateur.pruning.base.Moment",
        "secateur.pruning.base.Decision",
        "secateur.pruning.rate.RatedPruner",
        "secateur.pruning.units.UnitPruner",
        "secateur.pruning.weights.WeightPruner",
        "secateur.pruning.spelling.Spelling",
    ),
    "Criteria": ("secateur.pruning.members.Member", "secateur.pruning.collecting.Collector"),
    "Regularizers": ("secateur.pruning.regularizer.Regularizer",),
    "Graph builders": ("secateur.graph.ir.Graph", "secateur.graph.ir.Op", "secateur.graph.ir.Value"),
    "The contract kit": tuple(f"secateur.testing.{name}" for name in testing.__all__),
}
"""What those who write plugins meet, by what they write."""


def hooks() -> dict[str, Any]:
    """The hook specifications, in the order in which they are written."""
    return {name: hook for name, hook in vars(hookspecs).items() if name.startswith("secateur_")}


def public() -> dict[str, Any]:
    """What `import secateur` gives, by name, without what is documented elsewhere."""
    names = [name for name in secateur.__all__ if name not in ("__version__", "hookimpl")]
    return {f"secateur.{name}": getattr(secateur, name) for name in names}


def authors() -> dict[str, Any]:
    """What those who write plugins meet, by full name."""
    return {name: _found(name) for names in AUTHORS.values() for name in names}


def _found(name: str) -> Any:
    module, _, last = name.rpartition(".")
    return getattr(importlib.import_module(module), last)


def _links() -> dict[str, str]:
    """{name of a class: where its section is}; the records come last, and win."""
    homes = {anchor(name): f"python.md#{anchor(name)}" for name, thing in public().items() if isinstance(thing, type)}
    homes |= {
        anchor(name): f"plugins.md#{anchor(name)}" for name, thing in authors().items() if isinstance(thing, type)
    }
    return homes | {name: f"records.md#{name}" for name in _records()}


def _records() -> dict[str, Any]:
    every = {name: getattr(records, name) for name in records.__all__}
    return {name: thing for name, thing in every.items() if isinstance(thing, type)} | {"Run": records.Run}


def pages() -> dict[str, str]:
    """{path below the reference: Markdown}."""
    links = _links()
    return {
        "hooks.md": _hooks_page(links),
        "records.md": _records_page(links),
        "plugins.md": _authors_page(links),
        "python.md": _python_page(links),
        "commands.md": commands.page(),
        "names.md": registered.page(),
    }


def _hooks_page(links: Mapping[str, str]) -> str:
    parts = ["# Hooks", from_docstring(hookspecs.__doc__)]
    for name, hook in hooks().items():
        node: Any = node_of(hook)
        shown = signature(name, node)
        parts += [
            f"## {name} {{ #{name} }}",
            fence(f"def {shown}", "python"),
            from_docstring(hook.__doc__),
            see(shown, name, links),
            _laws(name),
        ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _laws(hook: str) -> str:
    """What the contract kit tries on the records of a hook."""
    if hook not in LAWS:
        return ""
    lines = []
    for law in LAWS[hook]:
        module, _, name = law.partition(":")
        said = getattr(importlib.import_module(f"secateur.testing.{module}"), name).__doc__
        lines.append(f"- *{name.replace('_', ' ')}*: {prose(' '.join(said.strip().split(chr(10) * 2)[0].split()))}")
    return "\n".join(["`secateur plugins check` tries these laws on what it returns:", "", *lines])


def _records_page(links: Mapping[str, str]) -> str:
    near = {name: link.removeprefix("records.md") for name, link in links.items()}
    entries = [entry(thing, f"secateur.records.{name}", near) for name, thing in _records().items()]
    return "\n\n".join(["# Records", from_docstring(records.__doc__), *entries])


def _authors_page(links: Mapping[str, str]) -> str:
    near = {name: link.removeprefix("plugins.md") for name, link in links.items()}
    parts = ["# For authors of plugins", "What the functions of a plugin are given, and what its classes derive from."]
    for title, names in AUTHORS.items():
        parts.append(f"## {title}")
        parts += [entry(_found(name), name, near, level=3) for name in names]
    return "\n\n".join(parts)


def _python_page(links: Mapping[str, str]) -> str:
    near = {name: link.removeprefix("python.md") for name, link in links.items()}
    families: dict[str, list[str]] = {"Functions": [], "Classes": [], "Errors": []}
    for name, thing in public().items():
        kind = "Functions"
        if isinstance(thing, type):
            kind = "Errors" if issubclass(thing, Exception) else "Classes"
        families[kind].append(entry(thing, name, near, level=3))
    parts = [
        "# Python",
        "All that `import secateur` gives. What those who write plugins meet stands in"
        " [For authors of plugins](plugins.md); `secateur.hookimpl` marks a function as the implementation of a hook.",
    ]
    for title, entries in families.items():
        parts += [f"## {title}", *entries]
    return "\n\n".join(parts)
