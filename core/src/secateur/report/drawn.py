"""The picture of a network, if something here can draw it."""

from __future__ import annotations

from secateur.errors import SecateurError
from secateur.graph.ir import Graph
from secateur.report.content import Picture
from secateur.thinning.plan import Plan


def picture_of(graph: Graph, plan: Plan | None) -> Picture:
    """The modules, with their widths before and after a plan; if it cannot be drawn, why not."""
    from secateur.pictures import picture

    try:
        drawn = picture(graph, plan=plan, level="module").render("svg")
    except SecateurError as error:
        return Picture(note=f"No picture: {error}")
    return Picture(svg=drawn.decode("utf-8"))
