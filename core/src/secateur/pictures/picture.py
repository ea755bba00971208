"""Draw a graph: `picture(graph, plan=plan).save("net.svg")`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from attrs import frozen

from secateur.checkpoint.files import check_writable, replacing
from secateur.errors import PlanError, SecateurError, suggestion
from secateur.graph.ir import Graph
from secateur.pictures.dot import dot_of
from secateur.pictures.drawing import Drawing
from secateur.pictures.page import inline, page_of, tidied
from secateur.pictures.pdf import pdf_of
from secateur.pictures.rendering import laid_out
from secateur.thinning.plan import Plan

Level = Literal["module", "op"]
Direction = Literal["down", "right"]
FORMS = ("svg", "png", "pdf", "html", "dot", "gv")


@frozen(repr=False)
class Picture:
    """A drawn graph: DOT text, and what Graphviz makes of it."""

    dot: str
    """The text in the language of Graphviz."""
    title: str = "network"
    summary: str = ""
    """How many boxes it has, for how many operations or modules."""

    def render(self, form: str = "svg", *, dpi: int = 144) -> bytes:
        """The picture as a file of that form: svg, png, pdf, html, or the DOT text. `dpi`: dots per inch of a PNG.

        Raises `SecateurError` for another form, or if there is no program that draws DOT.
        """
        if form not in FORMS:
            raise SecateurError(f"{form!r} is no form of a picture", where="render", hint=suggestion(form, FORMS))
        if form in ("dot", "gv"):
            return self.dot.encode()
        if form == "png":
            return laid_out(self.dot, form, dpi)
        if form == "pdf":
            return pdf_of(laid_out(self.dot, "json"))
        svg = tidied(laid_out(self.dot, "svg").decode(), self.title)
        return (svg if form == "svg" else page_of(svg, self.title)).encode()

    def save(self, path: str | Path, *, dpi: int = 144) -> None:
        """Write the picture in the form that the suffix says; the file appears whole or not at all."""
        target = Path(path)
        check_form(target)
        check_writable(str(target), SecateurError)
        content = self.render(target.suffix.removeprefix("."), dpi=dpi)
        with replacing(str(target), SecateurError) as temporary:
            temporary.write_bytes(content)

    def _repr_svg_(self) -> str:
        """What notebooks show."""
        return inline(self.render("svg").decode())

    def __repr__(self) -> str:
        return f"<Picture of {self.title}: {len(self.dot.splitlines())} lines of DOT>"


def check_form(path: str | Path) -> None:
    """Raise `SecateurError` if the suffix of a file is no form of a picture."""
    suffix = Path(path).suffix.removeprefix(".")
    if suffix not in FORMS:
        what = f"{'.' + suffix if suffix else 'a name without a suffix'} is no form of a picture"
        raise SecateurError(what, where=str(path), hint=f"name a file in one of {', '.join(f'.{f}' for f in FORMS)}")


def picture(
    graph: Graph,
    *,
    plan: Plan | None = None,
    level: Level = "module",
    parameters: bool = False,
    fold: bool = True,
    legend: bool = True,
    direction: Direction = "down",
    title: str = "network",
) -> Picture:
    """Draw a graph, coloured by dim: boxes of one colour (and letter) write units that can only leave together.

    `plan`: show widths before and after it; it must be of the model that the graph is of. `level`: "module" draws one
    box for each call of a module, with the modules that only pass its result on as a line in it, "op" one for each
    operation. `parameters`: draw parameters and buffers too. `fold`: of blocks that repeat, built alike and as wide
    before and after, draw one. `direction`: "down" or "right". `title` is what a page is
    called, and what is read out for a picture.

    Raises `SecateurError` for another level or direction, `PlanError` if the plan does not fit.
    """
    for name, value, known in (("level", level, ("module", "op")), ("direction", direction, ("down", "right"))):
        if value not in known:
            raise SecateurError(f"{value!r} is no {name}", where="picture", hint=suggestion(str(value), known))
    if plan is not None and not isinstance(plan, Plan):
        what = f"plan is of type {type(plan).__name__}"
        raise PlanError(what, where="picture", hint="give what secateur.plan returned")
    drawing = Drawing.of(graph, plan, level, parameters, fold)
    return Picture(dot_of(drawing, direction, legend), title, drawing.summary)
