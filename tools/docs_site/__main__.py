"""Put together what the site is built from: docs/, the change log, and the reference, which is written here and now.

    python tools/docs_site FOLDER

The reference comes from the hook specifications, the records, the public names and the argument parsers, so it cannot
go stale. The folder is made anew.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def assemble(folder: Path) -> None:
    """Copy the pages and write the reference, into a folder that is made anew."""
    if folder.exists() and not (folder / "reference" / "hooks.md").is_file():
        sys.exit(f"{folder} exists and was not made by this program: name another folder")
    from pages import pages  # takes seconds: torch is loaded

    written = pages()
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "docs", folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(ROOT / "CHANGELOG.md", folder / "changelog.md")
    (folder / "reference").mkdir()
    for name, text in written.items():
        (folder / "reference" / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python tools/docs_site FOLDER")
    assemble(Path(sys.argv[1]))
