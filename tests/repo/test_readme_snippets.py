"""The Python blocks of README and docs run as written, one after another, beside the YAML blocks they read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
BLOCK = re.compile(r"^```(python|yaml)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_snippets_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = page.read_text(encoding="utf-8")
    namespace: dict[str, object] = {"__name__": "snippet"}
    found = BLOCK.findall(text)
    assert found or page.name != "README.md"
    for language, body in found:
        if language == "yaml":
            name = re.match(r"# (\S+\.yaml)\n", body)
            if name:
                Path(name[1]).write_text(body, encoding="utf-8")
        else:
            exec(compile(body, str(page), "exec"), namespace)
