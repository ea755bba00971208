"""A drawing as PDF, of vectors and text that can be searched: what Graphviz lays out, written down without a library.

Text is in Helvetica, one of the fonts that every reader of PDF has, and of the widths that Graphviz reckons with.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

PAD: Final = 14.4
"""Points of white around the drawing."""
FONTS: Final = {"F": "Helvetica", "G": "Helvetica-Bold", "H": "Helvetica-Oblique", "S": "Symbol"}
SYMBOLS: Final = {"→": b"\xae", "←": b"\xac", "≤": b"\xa3", "≥": b"\xb3", "∞": b"\xa5"}
"""Characters that Helvetica's encoding lacks, as the font Symbol has them."""
OPACITY: Final = 0.05
"""Steps in which opacities are written."""


def pdf_of(layout: bytes) -> bytes:
    """Write the PDF of a layout that Graphviz gave as JSON, on one page of its size."""
    drawn = json.loads(layout)
    left, bottom, right, top = (float(number) for number in drawn["bb"].split(","))
    objects = [drawn, *drawn.get("objects", ()), *drawn.get("edges", ())]
    writer = _Writer()
    lines = [f"1 0 0 1 {PAD - left:.2f} {PAD - bottom:.2f} cm"]
    for each in objects:
        if each is drawn:  # the page itself is white
            each = {key: value for key, value in each.items() if key != "_draw_"}
        for key, operations in each.items():
            if key.endswith("draw_"):
                lines += ["q", *writer.written(operations), "Q"]
    size = (right - left + 2 * PAD, top - bottom + 2 * PAD)
    return _file("\n".join(lines).encode("latin-1"), size, writer.opacities)


class _Writer:
    """Turns Graphviz's drawing operations into those of PDF."""

    def __init__(self) -> None:
        self.opacities: dict[str, float] = {"o20": 1.0}

    def written(self, operations: Sequence[Mapping[str, Any]]) -> Iterator[str]:
        """The content stream of some operations; colours, pens and fonts hold until they are set again."""
        fill: Mapping[str, Any] = {}
        line, size, bold = "#000000", 14.0, 0
        for operation in operations:
            kind = operation["op"]
            if kind == "c":
                line = operation["color"]
                yield f"{_rgb(line)} RG"
            elif kind == "C":
                fill = operation
            elif kind == "S":
                yield from _pen(operation["style"])
            elif kind == "F":
                size = float(operation["size"])
            elif kind == "t":
                bold = int(operation["fontchar"])
            elif kind == "T":
                yield from _text(operation, line, size, bold)
            elif kind in "pPbBLeE":
                yield from self._shape(kind, operation, fill, outlined=not line.endswith("00") or len(line) < 9)

    def _shape(self, kind: str, operation: Mapping[str, Any], fill: Mapping[str, Any], outlined: bool) -> Iterator[str]:
        path = _path(kind, operation)
        filled = kind in "PBE"
        if filled and fill.get("grad", "none") != "none":
            yield f"q {path} W n"
            yield from _bands(operation, fill)
            yield "Q"
            yield f"{path} {'S' if outlined else 'n'}"
            return
        if filled:
            yield f"/{self._opacity(fill.get('color', '#000000'))} gs {_rgb(fill.get('color', '#000000'))} rg"
        if kind in "pPeE":
            path += " h"
        paint = "f" if filled and not outlined else "B" if filled else "S" if outlined else "n"
        yield f"{path} {paint}"

    def _opacity(self, colour: str) -> str:
        steps = round(int(colour[7:9], 16) / 255 / OPACITY) if len(colour) > 7 else round(1 / OPACITY)
        self.opacities[f"o{steps}"] = steps * OPACITY
        return f"o{steps}"


def _path(kind: str, operation: Mapping[str, Any]) -> str:
    if kind in "eE":
        return _ellipse(*operation["rect"])
    points = [f"{x:.2f} {y:.2f}" for x, y in operation["points"]]
    if kind in "bB":
        curves = [f"{' '.join(points[i : i + 3])} c" for i in range(1, len(points) - 2, 3)]
        return " ".join([f"{points[0]} m", *curves])
    return " ".join([f"{points[0]} m", *(f"{point} l" for point in points[1:])])


def _ellipse(x: float, y: float, w: float, h: float) -> str:
    a, b = 0.5523 * w, 0.5523 * h
    quarters = (
        (x + w, y + b, x + a, y + h, x, y + h),
        (x - a, y + h, x - w, y + b, x - w, y),
        (x - w, y - b, x - a, y - h, x, y - h),
        (x + a, y - h, x + w, y - b, x + w, y),
    )
    curves = [" ".join(f"{number:.2f}" for number in quarter) + " c" for quarter in quarters]
    return " ".join([f"{x + w:.2f} {y:.2f} m", *curves])


def _bands(operation: Mapping[str, Any], fill: Mapping[str, Any]) -> Iterator[str]:
    """A gradient of two colours that meet sharply: upright bands, clipped to the shape."""
    xs, ys = [x for x, _ in operation["points"]], [y for _, y in operation["points"]]
    left, width, bottom, height = min(xs), max(xs) - min(xs), min(ys), max(ys) - min(ys)
    stops = fill["stops"]
    edges = [0.0, *(float(stop["frac"]) for stop in stops[1:]), 1.0]
    for stop, start, end in zip(stops, edges, edges[1:], strict=False):
        band = f"{left + start * width:.2f} {bottom:.2f} {(end - start) * width:.2f} {height:.2f} re"
        yield f"{_rgb(stop['color'])} rg {band} f"


def _pen(style: str) -> Iterator[str]:
    if width := re.fullmatch(r"setlinewidth\(([\d.]+)\)", style):
        yield f"{width[1]} w"
    elif style in ("dashed", "dotted", "solid"):
        yield {"dashed": "[4 3] 0 d", "dotted": "[1 3] 0 d", "solid": "[] 0 d"}[style]


def _text(operation: Mapping[str, Any], colour: str, size: float, bold: int) -> Iterator[str]:
    text, (x, y), width = operation["text"], operation["pt"], float(operation["width"])
    x -= {"l": 0.0, "c": width / 2, "r": width}[operation["align"]]
    font = "G" if bold & 1 else "H" if bold & 2 else "F"
    yield f"BT {_rgb(colour)} rg 1 0 0 1 {x:.2f} {y:.2f} Tm"
    for part in re.split(f"([{''.join(SYMBOLS)}])", text):
        if part in SYMBOLS:
            yield f"/S {size:g} Tf {_string(SYMBOLS[part])} Tj"
        elif part:
            yield f"/{font} {size:g} Tf {_string(part.encode('cp1252', 'replace'))} Tj"
    yield "ET"


def _string(text: bytes) -> str:
    return f"<{text.hex()}>"


def _rgb(colour: str) -> str:
    digits = colour.removeprefix("#")
    return " ".join(f"{int(digits[i : i + 2], 16) / 255:.3f}" for i in (0, 2, 4))


def _file(content: bytes, size: tuple[float, float], opacities: Mapping[str, float]) -> bytes:
    packed = zlib.compress(content)
    fonts = " ".join(
        f"/{key} << /Type /Font /Subtype /Type1 /BaseFont /{name}"
        f"{'' if name == 'Symbol' else ' /Encoding /WinAnsiEncoding'} >>"
        for key, name in FONTS.items()
    )
    states = " ".join(f"/{name} << /ca {value:.2f} >>" for name, value in opacities.items())
    page = (
        f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {size[0]:.2f} {size[1]:.2f}] /Contents 4 0 R "
        f"/Resources << /Font << {fonts} >> /ExtGState << {states} >> >> >>"
    )
    stream = f"<< /Length {len(packed)} /Filter /FlateDecode >>\nstream\n".encode() + packed + b"\nendstream"
    bodies = [b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>", page.encode(), stream]
    made = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    places = []
    for number, body in enumerate(bodies, 1):
        places.append(len(made))
        made += f"{number} 0 obj\n".encode() + body + b"\nendobj\n"
    start = len(made)
    made += f"xref\n0 {len(bodies) + 1}\n0000000000 65535 f \n".encode()
    made += b"".join(f"{place:010d} 00000 n \n".encode() for place in places)
    made += f"trailer\n<< /Size {len(bodies) + 1} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n".encode()
    return bytes(made)
