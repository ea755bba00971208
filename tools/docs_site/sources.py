"""What the source says of a function or class: its signature, its fields, and what is written below each."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

WIDTH = 88
"""Columns that a signature in one line may have."""
Function = ast.FunctionDef | ast.AsyncFunctionDef


@lru_cache(maxsize=64)
def _tree(file: str) -> ast.Module:
    return ast.parse(Path(file).read_text(encoding="utf-8"))


def node_of(thing: Any) -> Function | ast.ClassDef:
    """The definition of a function or class in its source."""
    thing = inspect.unwrap(thing)
    file, names = inspect.getsourcefile(thing), thing.__qualname__.split(".")
    node: ast.AST = _tree(str(file))
    for name in names:
        found = [each for each in ast.iter_child_nodes(node) if getattr(each, "name", None) == name]
        node = found[-1]
    assert isinstance(node, Function | ast.ClassDef)
    return node


def signature(name: str, node: Function, *, method: bool = False) -> str:
    """The signature as it is written, in one line if it fits, and without `self`."""
    entries = list(_parameters(node.args))
    if method and not _is(node, "staticmethod"):
        entries = entries[1:]
    ending = f" -> {ast.unparse(node.returns)}" if node.returns is not None else ""
    line = f"{name}({', '.join(entries)}){ending}"
    if len(line) <= WIDTH or not entries:
        return line
    inner = "".join(f"    {entry},\n" for entry in entries if entry != "/")
    return f"{name}(\n{inner}){ending}"


def _parameters(arguments: ast.arguments) -> Iterator[str]:
    plain = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(plain) - len(arguments.defaults)) + list(arguments.defaults)
    for position, (argument, default) in enumerate(zip(plain, defaults, strict=True)):
        yield _parameter(argument, default)
        if arguments.posonlyargs and position == len(arguments.posonlyargs) - 1:
            yield "/"
    if arguments.vararg:
        yield "*" + ast.unparse(arguments.vararg)
    elif arguments.kwonlyargs:
        yield "*"
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        yield _parameter(argument, default)
    if arguments.kwarg:
        yield "**" + ast.unparse(arguments.kwarg)


def _parameter(argument: ast.arg, default: ast.expr | None) -> str:
    text = ast.unparse(argument)
    if default is None:
        return text
    return f"{text}{' = ' if argument.annotation else '='}{ast.unparse(default)}"


def fields(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    """The public fields of a class, `"name: type = default"`, each with the text below it."""
    for position, entry in enumerate(node.body):
        if not isinstance(entry, ast.AnnAssign) or not isinstance(entry.target, ast.Name):
            continue
        if entry.target.id.startswith("_"):
            continue
        below = node.body[position + 1] if position + 1 < len(node.body) else None
        said = ""
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) and isinstance(below.value.value, str):
            said = below.value.value
        yield f"{entry.target.id}: {ast.unparse(entry.annotation)}{_default(entry.value)}", said


def _default(value: ast.expr | None) -> str:
    """What a field is if nobody says otherwise; attrs' own ways to say so are looked through."""
    if isinstance(value, ast.Call) and ast.unparse(value.func) in ("field", "attrs.field"):
        given = {keyword.arg: keyword.value for keyword in value.keywords}
        if "factory" in given:
            return f" = {ast.unparse(given['factory'])}()"
        value = given.get("default")
    return "" if value is None else f" = {ast.unparse(value)}"


def methods(node: ast.ClassDef) -> Iterator[tuple[str, Function]]:
    """The public methods and properties of a class, with how they are written down: a property without brackets."""
    for entry in node.body:
        if not isinstance(entry, Function):
            continue
        shown = not entry.name.startswith("_") or entry.name in ("__call__", "__getitem__")
        if not shown or any(_is(entry, word) for word in ("setter", "overload")):
            continue
        if _is(entry, "property") or _is(entry, "cached_property"):
            returns = f": {ast.unparse(entry.returns)}" if entry.returns is not None else ""
            yield f"{entry.name}{returns}", entry
        else:
            yield signature(entry.name, entry, method=True), entry


def constructor(node: ast.ClassDef) -> Function | None:
    """The `__init__` that a class writes itself."""
    found = [entry for entry in node.body if isinstance(entry, Function) and entry.name == "__init__"]
    return found[0] if found else None


def _is(node: Function, decorator: str) -> bool:
    return any(ast.unparse(each).split(".")[-1] == decorator for each in node.decorator_list)
