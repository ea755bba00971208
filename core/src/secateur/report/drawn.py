"""The picture of a network, if something here can draw it."""

from __future__ import annotations

from secateur.graph.ir import Graph
from secateur.report.content import Picture
from secateur.thinning.plan import Plan


def picture_of(graph: Graph, plan: Plan | None) -> Picture:
    """The modules and what leaves them; without a renderer, why there is no picture."""
    return Picture()
