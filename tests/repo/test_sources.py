"""Habits that no linter knows: short modules, documented hooks, files that belong to everybody."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from secateur import hookspecs

LONGEST_MODULE = 350

# Written in pieces, so that this file does not mention what it forbids.
FORBIDDEN = {
    "a path of one machine": "|".join(f"/{folder}/" for folder in ("work", "root", "farm")),
    "a package registry's host": "|".join(
        re.escape(f"{name}.{end}")
        for name, end in (
            ("pypi", "org"),
            ("pythonhosted", "org"),
            ("npmjs", "org"),
            ("npmjs", "com"),
            ("debian", "org"),
        )
    ),
    "the number of an issue": r"\b[Ii]ssue[s]?[ /]" + r"#?\d",
}


def hooks() -> list[str]:
    return sorted(name for name in vars(hookspecs) if name.startswith("secateur_"))


def is_text(file: Path) -> bool:
    return b"\0" not in file.read_bytes()[:8192]


def mentions(text: str) -> list[str]:
    """What a text has that no file may have, with its line."""
    return [
        f"line {number} has {what}: {line.strip()[:100]}"
        for number, line in enumerate(text.splitlines(), 1)
        for what, pattern in FORBIDDEN.items()
        if re.search(pattern, line)
    ]


def undocumented(tree: ast.Module) -> list[str]:
    """Public functions, classes and methods without a docstring; a function inside a function is nobody's business."""
    found = []

    def visit(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                continue
            decorators = {ast.unparse(decorator).split(".")[-1] for decorator in child.decorator_list}
            public = not child.name.startswith("_") and not decorators & {"overload", "override"}
            protocol = isinstance(node, ast.ClassDef) and any(ast.unparse(b) == "Protocol" for b in node.bases)
            if public and not protocol and ast.get_docstring(child) is None:
                found.append(f"{prefix}{child.name}")
            if isinstance(child, ast.ClassDef) and public:
                visit(child, f"{child.name}.")

    visit(tree, "")
    return found


def test_modules_are_short(sources: list[Path], root: Path) -> None:
    assert sources
    lengths = {str(file.relative_to(root)): len(file.read_text().splitlines()) for file in sources}
    long = {name: length for name, length in lengths.items() if length > LONGEST_MODULE}
    assert not long, f"more than one idea each? {long}"


def test_every_module_says_what_it_is(sources: list[Path], root: Path) -> None:
    for file in sources:
        said = ast.get_docstring(ast.parse(file.read_text())) or ""
        place = file.relative_to(root)
        assert said, f"{place} has no docstring"
        assert said.split("\n\n")[0].rstrip().endswith((".", ":")), (
            f"{place}: its docstring does not start with a sentence"
        )


def test_everything_public_is_documented(sources: list[Path], root: Path) -> None:
    found = {str(file.relative_to(root)): undocumented(ast.parse(file.read_text())) for file in sources}
    assert not {name: names for name, names in found.items() if names}


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("def public(): ...", ["public"]),
        ("def _private(): ...", []),
        ("def public():\n    'Says so.'\n    def inner(): ...", []),
        ("class Public:\n    'Says so.'\n    def method(self): ...", ["Public.method"]),
    ],
)
def test_undocumented_things_are_found(code: str, names: list[str]) -> None:
    assert undocumented(ast.parse(code)) == names


@pytest.mark.parametrize("hook", hooks())
def test_every_hook_shows_an_example_of_itself(hook: str) -> None:
    said = getattr(hookspecs, hook).__doc__ or ""
    assert "Example::" in said
    example = said.split("Example::")[1]
    assert "@hookimpl" in example
    assert f"def {hook}(" in example


def test_files_mention_nothing_of_the_place_they_were_written_at(files: list[Path], root: Path) -> None:
    assert len(files) > 100
    found = {
        str(file.relative_to(root)): lines
        for file in files
        if is_text(file) and (lines := mentions(file.read_text(encoding="utf-8")))
    }
    assert not found


@pytest.mark.parametrize(
    "text",
    [
        "see " + "/wor" + "k/main",
        "from files.python" + "hosted.org",
        "fixes issue " + "#12",
        "github.com/a/b/issues/" + "7",
    ],
)
def test_such_mentions_are_found(text: str) -> None:
    assert len(mentions(f"first line\n{text}\n")) == 1
    assert mentions(f"first line\n{text}\n")[0].startswith("line 2 has ")
