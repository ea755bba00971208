"""Draw a graph: `picture(graph, plan=plan).save("net.svg")`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from attrs import frozen

from secateur.errors import SecateurError, suggestion
from secateur.graph.ir import Graph
from secateur.pictures.dot import dot_of
from secateur.pictures.drawing import Drawing
from secateur.pictures.rendering import laid_out

if TYPE_CHECKING:
    from secateur.thinning.plan import Plan

Level = Literal["module", "op"]
Direction = Literal["down", "right"]
FORMS = ("svg", "png")


@frozen(repr=False)
class Picture:
    """A drawn graph: DOT text, and what Graphviz makes of it."""

    dot: str
    """The text in the language of Graphviz."""

    def render(self, form: str = "svg", *, dpi: int = 96) -> bytes:
        """The picture as a file of that form; `dpi`: dots per inch of a PNG.

        Raises `SecateurError` for another form, or if there is no program that draws DOT.
        """
        if form not in FORMS:
            raise SecateurError(f"{form!r} is no form of a picture", where="render", hint=suggestion(form, FORMS))
        return laid_out(self.dot, form, dpi)

    def save(self, path: str | Path, *, dpi: int = 96) -> None:
        """Write the picture in the form that the suffix says."""
        target = Path(path)
        target.write_bytes(self.render(target.suffix.removeprefix("."), dpi=dpi))

    def __repr__(self) -> str:
        return f"<Picture: {len(self.dot.splitlines())} lines of DOT>"


def picture(
    graph: Graph,
    *,
    plan: Plan | None = None,
    level: Level = "module",
    parameters: bool = False,
    fold: bool = True,
    legend: bool = True,
    direction: Direction = "down",
) -> Picture:
    """Draw a graph, coloured by dim: boxes of one colour (and letter) write units that can only leave together.

    `plan`: show widths before and after it; it must be of the model that the graph is of. `level`: "module" draws one
    box for each call of a module, with the modules that only pass its result on as a line in it, "op" one for each
    operation. `parameters`: draw parameters and buffers too. `fold`: of blocks that repeat, built alike and as wide
    before and after, draw one. `direction`: "down" or "right".

    Raises `SecateurError` for another level or direction, `PlanError` if the plan does not fit.
    """
    for name, value, known in (("level", level, ("module", "op")), ("direction", direction, ("down", "right"))):
        if value not in known:
            raise SecateurError(f"{value!r} is no {name}", where="picture", hint=suggestion(str(value), known))
    drawing = Drawing.of(graph, plan, level, parameters, fold)
    return Picture(dot_of(drawing, direction, legend))
