"""Turn DOT text into SVG or PNG by Graphviz: `dot` if it is installed, else the program of a package."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from secateur.errors import SecateurError

PROGRAMS: Final = ("dot", "graphviz-pure")
"""Programs that lay out DOT, the first that is found counts."""
TIMEOUT: Final = 120
"""Seconds after which a layout is given up."""
HINT: Final = "pip install 'secateur[pictures]', or install Graphviz; DOT text needs neither"


def program() -> str:
    """The path of the program that lays out DOT; `SecateurError` if there is none."""
    beside = str(Path(sys.executable).parent)
    for name in PROGRAMS:
        if found := shutil.which(name) or shutil.which(name, path=beside):
            return found
    raise SecateurError("there is no program that draws DOT", where="pictures", hint=HINT)


def check_program(path: str) -> None:
    """Raise `SecateurError` if a file of that suffix needs a program that draws DOT, and there is none."""
    if Path(path).suffix not in (".dot", ".gv"):
        program()


def laid_out(dot: str, form: str, dpi: int = 96) -> bytes:
    """What Graphviz makes of DOT text. `form`: "svg", "png", "json", …; `dpi`: points per inch of a PNG.

    Raises `SecateurError` if there is no program, or if it fails or takes too long.
    """
    command = [program(), f"-T{form}", *([f"-Gdpi={dpi}"] if form == "png" else [])]
    try:
        done = subprocess.run(command, input=dot.encode(), capture_output=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired as error:
        what = f"{Path(command[0]).name} took more than {TIMEOUT} seconds"
        raise SecateurError(what, where="pictures", hint="draw fewer boxes: fold=True, level='module'") from error
    except OSError as error:
        what = f"{command[0]} cannot be run ({error.strerror or error})"
        raise SecateurError(what, where="pictures", hint=HINT) from error
    if done.returncode or not done.stdout:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"]
        what = f"{Path(command[0]).name} failed: {said[0]}"
        raise SecateurError(what, where="pictures", hint="save the DOT text and look at it")
    return done.stdout
