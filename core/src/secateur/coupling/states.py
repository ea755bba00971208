"""Recurrent states that a model takes and returns: they are as long as the layer has units, and follow it.

Inputs and outputs of a model never shrink, with this exception: what a recurrent layer takes as its initial state and
gives as its last one goes round from call to call, and only the layer reads it. An input that only such layers read,
and an output that only they write, are states if the same layer has both. A model that returns nothing else returns
its results in them, and they stay.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import field, frozen

from secateur.graph.ir import Graph, Op
from secateur.records import OpRule

CARRIERS = frozenset(
    {"unsqueeze", "squeeze", "index_select", "getitem", "unbind", "select", "stack", "cat", "transpose", "permute"}
    | {"contiguous", "clone", "detach", "to"}
)
"""Operations that only pass a state on."""


@frozen(eq=False)
class States:
    """The names of the inputs and outputs of a graph that are states; their units lie along the last axis."""

    taken: frozenset[str] = frozenset()
    returned: frozenset[str] = frozenset()
    loose: frozenset[str] = frozenset()
    """Outputs that were states if the example gave the model states to go on from."""


def states_of(graph: Graph, rules: Mapping[str, OpRule]) -> States:
    """Find the states that a model takes and returns."""
    search = _Search.of(graph, rules)
    if not search.takes:
        return States()
    fed = {name: modules for name in graph.inputs if (modules := search.fed(name))}
    made = {name: modules for name in graph.outputs if (modules := search.made(name))}
    if len(made) == len(graph.outputs):
        return States()
    both = _union(fed.values()) & _union(made.values())
    taken, returned = (frozenset(n for n, modules in group.items() if modules <= both) for group in (fed, made))
    return States(taken, returned, frozenset(made) - returned)


Modules = frozenset[str]


@frozen(eq=False)
class _Search:
    graph: Graph
    takes: Mapping[str, frozenset[str]] = field(factory=dict)
    """{recurrent operation: the values that are its states}"""
    gives: Mapping[str, frozenset[str]] = field(factory=dict)

    @classmethod
    def of(cls, graph: Graph, rules: Mapping[str, OpRule]) -> _Search:
        found = {}
        for op in graph.ops.values():
            rule = rules[op.kind] if op.kind in rules else None  # noqa: SIM401 - a registry refuses unknown names
            if rule is not None and rule.states is not None:
                found[op.name] = rule.states(op)
        takes = {name: frozenset(taken) for name, (taken, _) in found.items()}
        return cls(graph, takes, {name: frozenset(given) for name, (_, given) in found.items()})

    def fed(self, name: str) -> Modules:
        """The modules whose states a value is; none if anything else reads it."""
        value = self.graph.values[name]
        readers = self.graph.consumers.get(name, ())
        if not value.shape or not value.dtype.startswith(("float", "bfloat")) or name in self.graph.outputs:
            return frozenset()
        return _all([self._reads(op, name) for op in readers])

    def _reads(self, op: Op, name: str) -> Modules:
        if op.name in self.takes:
            return frozenset([op.module]) if name in self.takes[op.name] else frozenset()
        if op.kind not in CARRIERS or op.overwrites:
            return frozenset()
        return _all([self.fed(output) for output in op.outputs if self.graph.consumers.get(output)])

    def made(self, name: str) -> Modules:
        """The modules whose states a value is; none if anything else writes it."""
        op = self.graph.producer.get(name)
        if op is None:
            return frozenset()
        if op.name in self.gives:
            return frozenset([op.module]) if name in self.gives[op.name] else frozenset()
        if op.kind not in CARRIERS or op.overwrites:
            return frozenset()
        floats = [one for one in op.inputs if self.graph.values[one].dtype.startswith(("float", "bfloat"))]
        return _all([self.made(one) for one in floats])


def _all(parts: list[Modules]) -> Modules:
    """What all parts have together; nothing if one of them has nothing."""
    return _union(parts) if all(parts) else frozenset()


def _union(parts: Iterable[Modules]) -> Modules:
    return frozenset().union(*parts)
