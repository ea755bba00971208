"""Fake distributions: plugins with their own `.dist-info`, so that the tests need nothing installed."""

from __future__ import annotations

import importlib.metadata
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

HEADER = "from secateur.hookspecs import hookimpl\nfrom secateur.records import *\n"


class FakeDists:
    """Writes distributions into a folder on `sys.path`, the only one that is searched for plugins."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.modules: list[str] = []

    def add(self, plugin: str, source: str, *, dist: str = "", version: str = "1.0", module: str = "") -> str:
        """Install a plugin; the name of its module is returned."""
        dist = dist or f"fake-{plugin}"
        module = module or f"fake_{plugin}_{dist}".replace("-", "_")
        (self.folder / f"{module}.py").write_text(HEADER + textwrap.dedent(source))
        info = self.folder / f"{dist.replace('-', '_')}-{version}.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: {version}\n")
        points = info / "entry_points.txt"
        old = points.read_text() if points.exists() else "[secateur]\n"
        points.write_text(f"{old}{plugin} = {module}\n")
        self.modules.append(module)
        return module

    def add_model(self, plugin: str, *models: str, dist: str = "", version: str = "1.0") -> str:
        """Install a good plugin that provides models."""
        records = ", ".join(f"ModelEntry(name={name!r}, build=dict, input_shape=(8,))" for name in models)
        source = f"""
            @hookimpl
            def secateur_models():
                return [{records}]
        """
        return self.add(plugin, source, dist=dist, version=version)


@pytest.fixture
def dists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDists]:
    """A `FakeDists` in a new folder; no other distribution is found, no variable of the user's read."""
    folder = tmp_path / "site"
    folder.mkdir()
    search = importlib.metadata.distributions
    monkeypatch.setattr(importlib.metadata, "distributions", lambda **_: search(path=[str(folder)]))
    monkeypatch.syspath_prepend(str(folder))
    for variable in ("SECATEUR_DISABLE", "SECATEUR_PLUGINS"):
        monkeypatch.delenv(variable, raising=False)
    fakes = FakeDists(folder)
    yield fakes
    for module in fakes.modules:
        sys.modules.pop(module, None)
