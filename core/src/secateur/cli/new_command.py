"""`secateur new`: write the start of a plugin package, with a passing test, for its author to change."""

from __future__ import annotations

import importlib.util
import keyword
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Final

import secateur
from secateur.cli import console
from secateur.errors import PluginError, suggestion
from secateur.plugins import current
from secateur.records import Command

if TYPE_CHECKING:
    import argparse
    from importlib.resources.abc import Traversable

KINDS: Final = {"thinner": "a layer type with its op rule and layer adapter"}
"""What can be made, each a folder of templates."""
SUFFIX: Final = ".txt"
"""Every template ends so, that no tool takes it for a module."""
NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9]*([-_][A-Za-z0-9]+)*")
TORCH_LIBRARIES: Final = {"aten", "prim", "prims", "quantized"}
"""Libraries of operators that torch keeps for itself."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    kinds = "; ".join(f"{kind}: {what}" for kind, what in KINDS.items())
    parser.add_argument("kind", metavar="KIND", help=kinds)
    parser.add_argument("name", metavar="NAME", help="of the package, such as my-layers; the folder is named so")
    parser.add_argument("--into", default=".", metavar="FOLDER", help="where the folder is made (default: here)")


def run(arguments: argparse.Namespace) -> int:
    """Write the package, whole or not at all, and say what to do next."""
    kind, name = arguments.kind, arguments.name
    if kind not in KINDS:
        raise PluginError(f"there is no template {kind!r}", where="secateur new", hint=suggestion(kind, KINDS))
    module = module_name(name)
    target = Path(arguments.into) / name
    values = {"name": name, "module": module, "versions": _versions(secateur.__version__)}
    count = write_tree(target, rendered(kind, values))
    out = console.stdout()
    out.print(f"wrote {target} ({count} files); next:", markup=False, soft_wrap=True)
    for line, note in {
        f"pip install -e '{target}[test]'": f"secateur plugins then lists {module}",
        f"python -m pytest {target}": "masked and thinned compute the same",
    }.items():
        out.print(f"  $ {line:<40}  # {note}", markup=False, soft_wrap=True)
    out.print(f"then make {target / 'src' / module} your own: layer.py and thinner.py", markup=False, soft_wrap=True)
    return 0


def module_name(name: str) -> str:
    """The module of a package of that name; a name that cannot be used is a `PluginError`.

    >>> module_name("my-fancy-Layers")
    'my_fancy_layers'
    """
    where = "secateur new"
    if not NAME.fullmatch(name):
        hint = "use letters, digits and single hyphens, such as my-layers"
        if set(name) & set("/\\."):
            hint += "; --into FOLDER says where it goes"
        raise PluginError(f"{name!r} cannot name a package", where=where, hint=hint)
    module = name.lower().replace("-", "_")
    if keyword.iskeyword(module) or module in TORCH_LIBRARIES:
        raise PluginError(f"{module!r} is a reserved word", where=where, hint=f"choose another, such as {name}-layers")
    if any(row.name == module for row in current().rows):
        raise PluginError(f"a plugin named {module!r} is installed", where=where, hint="choose another name")
    if module in sys.stdlib_module_names or importlib.util.find_spec(module) is not None:
        raise PluginError(f"there is a module {module!r} already", where=where, hint="choose another name")
    return module


def _versions(version: str) -> str:
    """The versions of Secateur that a plugin written for this one accepts.

    >>> _versions("0.1.3")
    '>=0.1,<0.2'
    """
    major, minor = version.split(".")[:2]
    return f">={major}.{minor},<{major}.{int(minor) + 1}"


def rendered(kind: str, values: Mapping[str, str]) -> dict[str, str]:
    """The files of a package by their path in its folder, with the names filled in."""
    root = files("secateur.cli") / "templates" / kind
    return {
        path.replace("src/module/", f"src/{values['module']}/").removesuffix(SUFFIX): Template(text).substitute(values)
        for path, text in sorted(_walk(root, ""))
    }


def _walk(folder: Traversable, prefix: str) -> Iterator[tuple[str, str]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _walk(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(SUFFIX):
            yield f"{prefix}{entry.name}", entry.read_text(encoding="utf-8")


def write_tree(target: Path, contents: Mapping[str, str]) -> int:
    """Write files into a new folder, all or none, and return how many; what stands in the way is a `PluginError`."""
    where = str(target)
    try:
        if target.exists() or target.is_symlink():
            raise PluginError("it exists already", where=where, hint="choose another name, or --into another folder")
        if not target.parent.is_dir():
            raise PluginError(f"there is no folder {str(target.parent)!r}", where=where, hint="make it first")
        with tempfile.TemporaryDirectory(prefix=".secateur-new-", dir=target.parent) as scratch:
            made = Path(scratch) / target.name
            for path, text in contents.items():
                file = made / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text, encoding="utf-8")
            made.rename(target)
    except OSError as problem:
        reason = problem.strerror or type(problem).__name__
        hint = "make room or permission, or choose another place with --into"
        raise PluginError(f"it cannot be written ({reason})", where=where, hint=hint) from problem
    return len(contents)


COMMAND: Final = Command(
    name="new",
    summary="Start a plugin package of your own, with a passing test.",
    configure=configure,
    run=run,
    order=95,
)
