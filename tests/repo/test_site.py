"""The documentation site builds without a warning, names all there is, and loads nothing from elsewhere."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import attrs
import pytest
import yaml

import secateur
from secateur import hookspecs, records, testing
from secateur.cli import builtin
from secateur.plugins import PluginManager
from secateur.plugins.registry import Registry

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
REFERENCE = ("commands.md", "hooks.md", "names.md", "plugins.md", "python.md", "records.md")
LOADS = {"link": "href", "script": "src", "img": "src", "iframe": "src", "source": "src", "object": "data"}
"""What a browser fetches by itself: {element: its attribute}."""
ELSEWHERE = re.compile(r"(https?:)?//")
CSS_ELSEWHERE = re.compile(r"@import[^;]*//|url\(\s*['\"]?(?:https?:)?//")


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a site that was built as `make docs` does."""
    pytest.importorskip("zensical")
    folder = tmp_path_factory.mktemp("site")
    (folder / "mkdocs.yml").write_text((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), encoding="utf-8")
    run([str(ROOT / "tools" / "docs_site"), "build/docs"], folder)
    said = run(["-m", "zensical", "build", "--clean", "--strict"], folder)
    assert "No issues found" in said
    return folder


def run(command: list[str], folder: Path) -> str:
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="session")
def reference(built: Path) -> Mapping[str, str]:
    """The pages of the reference, as Markdown."""
    written = {file.name: file.read_text(encoding="utf-8") for file in (built / "build/docs/reference").iterdir()}
    assert sorted(written) == sorted(REFERENCE)
    return written


def sections(text: str) -> list[str]:
    """The anchors of a page's sections."""
    return re.findall(r"^#{2,} .*\{ #(\S+) \}$", text, flags=re.MULTILINE)


def navigation(entry: Any) -> Iterator[str]:
    if isinstance(entry, str):
        yield entry
    for part in entry.values() if isinstance(entry, dict) else entry if isinstance(entry, list) else ():
        yield from navigation(part)


def test_every_page_is_in_the_navigation(built: Path) -> None:
    listed = sorted(navigation(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]))
    there = sorted(str(page.relative_to(built / "build/docs")) for page in (built / "build/docs").glob("**/*.md"))
    assert listed == there
    for page in there:
        assert (built / "site" / page).with_suffix(".html").is_file()


def test_every_hook_has_a_section(reference: Mapping[str, str]) -> None:
    hooks = [name for name in vars(hookspecs) if name.startswith("secateur_")]
    assert sections(reference["hooks.md"]) == hooks
    for hook in hooks:
        assert f"def {hook}(" in reference["hooks.md"]


def test_every_record_has_a_section_with_its_fields(reference: Mapping[str, str]) -> None:
    kinds = [name for name in records.__all__ if isinstance(getattr(records, name), type)]
    found = sections(reference["records.md"])
    assert set(kinds) <= set(found)
    for name in found:
        section = reference["records.md"].partition(f"{{ #{name} }}")[2].partition("\n## ")[0]
        for field in getattr(getattr(records, name), "__attrs_attrs__", ()):
            assert f"`{field.name}: " in section, f"{name} has a field {field.name}"


def test_every_command_has_a_section(reference: Mapping[str, str]) -> None:
    names = {command.name for command in builtin.secateur_commands()}
    assert set(sections(reference["commands.md"])) == names | {"front"}
    assert "`--criterion NAME`" in reference["commands.md"]


def test_every_public_name_has_a_section(reference: Mapping[str, str]) -> None:
    names = {*secateur.__all__} - {"__version__", "hookimpl"}
    assert set(sections(reference["python.md"])) == names
    assert {*testing.__all__} <= set(sections(reference["plugins.md"]))
    assert "`leaving: Indices`" in reference["python.md"]  # a property of a class
    assert "prune: float | Mapping[str, float] = 0.5," in reference["python.md"]


def test_everything_a_schedule_can_name_is_listed(reference: Mapping[str, str]) -> None:
    page, plugins = reference["names.md"], PluginManager.discover()
    for registry in (plugins.pruners, plugins.regularizers):
        kinds = {name: registry[name] for name in registry if from_here(registry, name)}
        assert {"agp", "level"} <= set(kinds) or {"l1", "bn_l1"} <= set(kinds)
        for kind in kinds.values():
            section = page.partition(f"{{ #{kind.name} }}")[2].partition("\n##")[0]
            keys = {field.name for field in attrs.fields(kind) if field.init}
            assert {*re.findall(r"^- `(\w+):", section, re.M)} == keys, kind.name
            assert all(f"`{spelling.name}`" in section for spelling in kind.spellings)
    for named in (plugins.criteria, plugins.models, plugins.datasets):
        assert all(f"| `{name}` |" in page for name in named if from_here(named, name))
    assert "- `scope: Literal['local', 'global', 'isomorphic'] = 'local'`" in page


def from_here(registry: Registry[Any], name: str) -> bool:
    return str(registry.provider(name).dist).startswith("secateur")


@pytest.mark.parametrize("page", sorted(DOCS.glob("**/*.md")), ids=lambda page: page.stem)
def test_pages_name_nothing_that_is_missing(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    packages = {name.removeprefix("secateur_") for name in ("builders", "pruners", "thinners", "models")}
    hooks = {name.removeprefix("secateur_") for name in vars(hookspecs) if name.startswith("secateur_")}
    assert {*re.findall(r"\bsecateur_([a-z_]+)", text)} <= hooks | packages
    for name in {*re.findall(r"(?<![\w.-])(?:import |from )?(secateur(?:\.[A-Za-z_]+)+)", text)}:
        assert exists(name), f"{page.name} speaks of {name}"
    commands = {command.name for command in builtin.secateur_commands()}
    typed = {
        *re.findall(r"`(?:secateur|\$ secateur) ([a-z]+)", text),
        *re.findall(r"^\$ secateur ([a-z]+)", text, re.M),
    }
    assert typed <= commands


def exists(name: str) -> bool:
    """Whether a dotted name is a module, or something in one."""
    steps = name.split(".")
    thing: Any = secateur
    for position, step in enumerate(steps[1:], 2):
        if not hasattr(thing, step):
            try:
                importlib.import_module(".".join(steps[:position]))
            except ImportError:
                return False
        thing = getattr(thing, step)
    return True


class Loaded(HTMLParser):
    """Collects what a page loads by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        address = dict(attrs).get(LOADS.get(tag, ""))
        if address and dict(attrs).get("rel") not in ("canonical", "alternate"):
            self.found.append(address)


def test_pages_load_nothing_from_elsewhere(built: Path) -> None:
    pages = sorted((built / "site").glob("**/*.html"))
    assert len(pages) > len(REFERENCE)
    for page in pages:
        loaded = Loaded()
        loaded.feed(page.read_text(encoding="utf-8"))
        assert loaded.found, page
        for address in loaded.found:
            assert not ELSEWHERE.match(address), f"{page.name} loads {address}"
            if page.name != "404.html":  # whoever serves the site decides where that one is shown
                assert (page.parent / address.partition("?")[0]).is_file(), f"{page.name} loads {address}"
    for sheet in (built / "site").glob("**/*.css"):
        assert not CSS_ELSEWHERE.search(sheet.read_text(encoding="utf-8")), sheet.name


def test_the_search_needs_no_server(built: Path) -> None:
    assert "var __index" in (built / "site/search.js").read_text(encoding="utf-8")[:100]
    assert "secateur_op_rules" in (built / "site/search.js").read_text(encoding="utf-8")


def test_a_broken_link_ends_the_build(tmp_path: Path) -> None:
    pytest.importorskip("zensical")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/index.md").write_text("# Home\n\n[there](missing.md)\n", encoding="utf-8")
    (tmp_path / "mkdocs.yml").write_text("site_name: broken\n", encoding="utf-8")
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert "page does not exist" in done.stdout + done.stderr


def test_a_folder_of_someone_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    command = [sys.executable, str(ROOT / "tools" / "docs_site"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "was not made by this program" in done.stderr
    assert (tmp_path / "mine.txt").is_file()
