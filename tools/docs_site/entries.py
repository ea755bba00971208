"""One section of a reference page for a function or a class."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping
from typing import Any

import sources
from texts import fence, from_docstring, item

WORD = re.compile(r"\b[A-Za-z_]+\b")


def entry(thing: Any, name: str, links: Mapping[str, str], level: int = 2) -> str:
    """The section: signature, docstring, fields, methods, and links to the types that they name."""
    node = sources.node_of(thing)
    written = _class(node, name) if isinstance(node, ast.ClassDef) else fence(sources.signature(name, node), "python")
    heading = f"{'#' * level} {name.rpartition('.')[2]} {{ #{anchor(name)} }}"
    named = [field for field, _ in sources.fields(node)] if isinstance(node, ast.ClassDef) else []
    body = [heading, written, from_docstring(ast.get_docstring(node)), see(" ".join([written, *named]), name, links)]
    if isinstance(node, ast.ClassDef):
        body += [*_fields(node), *_methods(node)]
    return "\n\n".join(part for part in body if part) + "\n"


def anchor(name: str) -> str:
    """What a section is called in an address."""
    return name.rpartition(".")[2]


def see(text: str, name: str, links: Mapping[str, str]) -> str:
    """A line of links to all that a signature names and that has a section of its own."""
    own = anchor(name)
    found = [word for word in dict.fromkeys(WORD.findall(text)) if word in links and word != own]
    shown = ", ".join(f"[`{word}`]({links[word]})" for word in found)
    return f"See {shown}." if shown else ""


def _class(node: ast.ClassDef, name: str) -> str:
    bases = f"({', '.join(ast.unparse(base) for base in node.bases)})" if node.bases else ""
    made = sources.constructor(node)
    if made is not None and bases != "(Exception)":
        return fence("class " + sources.signature(name, made, method=True).removesuffix(" -> None"), "python")
    return fence(f"class {name}{bases}", "python")


def _fields(node: ast.ClassDef) -> Iterable[str]:
    listed = [item(f"`{field}`", from_docstring(said)) for field, said in sources.fields(node)]
    return ["\n".join(listed)] if listed else []


def _methods(node: ast.ClassDef) -> Iterable[str]:
    """A list of them, each with its signature in one line."""
    listed = []
    for shown, method in sources.methods(node):
        line = " ".join(shown.split()).replace("( ", "(").replace(", )", ")")
        listed.append(item(f"`{line}`", from_docstring(ast.get_docstring(method))))
    return ["\n".join(listed)] if listed else []
