"""What a network is at one moment: its graph, sizes, and the modules they are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from attrs import frozen

from secateur.graph.capture import trace
from secateur.graph.ir import Graph
from secateur.measure import count_bytes, count_macs, count_parameters
from secateur.plugins import PluginManager
from secateur.records import OpRule
from secateur.report.gathering import Tallies, tallies

if TYPE_CHECKING:
    from torch import nn

Count = Callable[[Graph, Mapping[str, OpRule]], int]


@frozen(eq=False)
class Network:
    """Plain numbers, and the graph they were counted on."""

    graph: Graph
    parameters: int
    macs: int
    bytes: int
    modules: Tallies


def look(
    model: nn.Module, inputs: Any, plugins: PluginManager, builder: str = "trace", count: Count = count_macs
) -> Network:
    """Record a network and count; `count`: its multiply-accumulates. `CaptureError` if it does not run on `inputs`."""
    graph = trace(model, inputs, builder)
    macs = count(graph, plugins.op_rules)
    modules = tallies(model, graph, plugins.op_rules, macs)
    return Network(graph, count_parameters(model), macs, count_bytes(model), modules)
