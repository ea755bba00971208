"""A report as one HTML file: style and script within, nothing fetched, readable without the script and on paper."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secateur.checkpoint.files import replacing
from secateur.errors import SecateurError
from secateur.report.content import Picture, Proof, ReportContent
from secateur.report.drawing import draw, ruler
from secateur.report.grouping import ITSELF, groups, total
from secateur.report.spelling import change, exactly, first_value, scientific, sentence, spelled
from secateur.report.yaml_text import coloured

if TYPE_CHECKING:
    from jinja2 import Environment

WIDE = 1400
"""A picture that is wider is not made fit into the page unless that is asked for: it could not be read."""
TEMPLATES = files("secateur.report") / "templates"


def write_html(path: str | os.PathLike[str], content: ReportContent) -> None:
    """Write a report, whole or not at all; `SecateurError` if that cannot be done."""
    text = to_html(content)
    with replacing(path, SecateurError) as temporary:
        Path(temporary).write_text(text, encoding="utf-8")


def to_html(content: ReportContent) -> str:
    """The document. Whatever the content says is text in it, never markup."""
    script = _read("report.js")
    return (
        _environment()
        .get_template("report.html")
        .render(
            content=content,
            style=_read("report.css"),
            script=script,
            policy=_policy(script),
            drawings=[drawing for chart in content.charts if (drawing := draw(chart)) is not None],
            groups=groups(content.modules),
            itself=ITSELF,
            whole=(total([m.before for m in content.modules]), total([m.after for m in content.modules])),
            picture=_picture(content.picture),
            wide=_width(content.picture) > WIDE,
            ruler=ruler([(10.0**n, f"1e{n}" if n else "1") for n in range(-16, 1, 4)]),
        )
    )


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    made = Environment(
        loader=FunctionLoader(_read), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    made.filters |= {
        "change": change,
        "coloured": coloured,
        "exactly": exactly,
        "first_value": first_value,
        "json": _json,
        "number": "{:,}".format,
        "on_ruler": _on_ruler,
        "scientific": scientific,
        "sentence": sentence,
        "shape": _shape,
        "share": _share,
        "spelled": spelled,
    }
    return made


def _read(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _policy(script: str) -> str:
    """What the page may do: nothing but show itself, and run this one script."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'"


def _picture(picture: Picture) -> str:
    """The picture as an address that holds it: as an image it can run nothing, whatever it contains."""
    return f"data:image/svg+xml;base64,{base64.b64encode(picture.svg.encode()).decode()}" if picture.svg else ""


def _width(picture: Picture) -> float:
    """What a picture says of its width, 0 if nothing."""
    found = re.search(r"<svg[^>]*\swidth=\"([\d.]+)", picture.svg)
    return float(found[1]) if found else 0.0


def _on_ruler(proof: Proof) -> tuple[float, float]:
    """Where the difference of a proof and its tolerance lie."""
    (found, _), (limit, _) = ruler([(proof.relative or 0.0, ""), (proof.tolerance or 0.0, "")])
    return found, limit


def _share(part: float, whole: float) -> str:
    """A share for a style sheet, in percent.

    >>> _share(1, 3), _share(1, 0)
    ('33.33%', '0%')
    """
    return f"{min(100.0, 100 * part / whole):.4g}%" if whole else "0%"


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _shape(shape: tuple[int, ...] | None) -> str:
    """Sizes of one example.

    >>> _shape((16, 32, 32))
    '16×32×32'
    """
    return "" if shape is None else "×".join(str(size) for size in shape)
