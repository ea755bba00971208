"""Explanations for people: what couples the slices of a unit, or makes an axis stay, operation by operation.

The chains to all slices share what they share: one line is a run of operations up to the next that writes or reads
slices, and where chains part the lines fork. `→` goes with the data, `←` against it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from attrs import define, field, frozen

from secateur.errors import PlanError, suggestion

if TYPE_CHECKING:
    from secateur.coupling.chains import Chain, Step
    from secateur.coupling.refusals import Refusal
    from secateur.coupling.units import TensorAxis
    from secateur.graph.ir import Op
    from secateur.thinning.plan import Dim, Plan

MOST_STEPS = 9
"""Entries of one run; of a longer one the middle is counted."""
MOST_CARRYING = 4
"""Entries shown of neighbours that only pass an axis on."""
MOST_REASONS = 4
"""Reasons shown for one axis; the rest is counted."""
NOT_SAVED = "(which operations couple them is not saved with a plan; plan the model again to see it)"


@frozen
class Block:
    """Lines, and the blocks that fork off below them."""

    lines: tuple[str, ...]
    branches: tuple[Block, ...] = ()

    def drawn(self) -> Iterator[str]:
        """The lines of this block and, indented, of all that forks off."""
        yield from self.lines
        for branch in self.branches:
            last = branch is self.branches[-1]
            for number, line in enumerate(branch.drawn()):
                yield (("└── " if last else "├── ") if number == 0 else ("    " if last else "│   ")) + line


def explanation(plan: Plan, name: str) -> list[Block]:
    """What is named so: a dim, and parameters (or those of a module) that stay; nothing is a `PlanError`."""
    blocks: list[Block] = []
    for dim in plan.dims:
        if dim.name == name:
            head = f"{dim.name}: {len(dim.kept)} of {dim.size} units stay; a unit consists of"
            blocks += [Block((head,), (_coupled(plan, dim),)), *_renormalising(plan, dim)]
    for refusal in plan.refusals:
        if name in (refusal.parameter, refusal.parameter.rpartition(".")[0]):
            blocks.append(_staying(plan, refusal))
    if not blocks:
        names = [dim.name for dim in plan.dims] + [refusal.parameter for refusal in plan.refusals]
        raise PlanError(f"nothing is named {name!r}", where="plan", hint=suggestion(name, names))
    return blocks


def _coupled(plan: Plan, dim: Dim) -> Block:
    """The slices of a unit, each at the operation that couples it."""
    if plan.chains is None:
        return Block((*_slices(dim, list(dim.slices)), NOT_SAVED))
    root = _Node()
    for chain in plan.chains.of_dim(dim.name):
        if chain.end is not None:
            root.at(chain.steps).ends.append(chain.end)
    return root.block(lambda node: ", ".join(_slices(dim, node.ends)))


def _renormalising(plan: Plan, dim: Dim) -> list[Block]:
    """The operations that read a size which the units of a dim change; a dim that stays for it is a refusal."""
    if not dim.renormalises or any((refusal.parameter, refusal.axis) in dim.slices for refusal in plan.refusals):
        return []
    chains = plan.chains.of_renormalisations(dim.name) if plan.chains else ()
    head = "exact after rescaling" if dim.exact else "changes the scale of what stays"
    return [_ending(head, chains, dim.renormalises)]


def _staying(plan: Plan, refusal: Refusal) -> Block:
    """An axis that stays, with the operations that lead to each reason."""
    part = "" if refusal.indices == refusal.size else f" ({refusal.indices} of {refusal.size} indices)"
    chains = plan.chains.of_refusal(refusal.parameter, refusal.axis) if plan.chains else ()
    return _ending(f"stays: {refusal.parameter} axis {refusal.axis}{part}", chains, refusal.reasons)


def _ending(head: str, chains: Sequence[Chain], reasons: Sequence[str]) -> Block:
    """Chains that end with a reason; where there are none, the bare reasons."""
    root = _Node(reasons=[] if chains else list(reasons))
    for chain in chains[:MOST_REASONS]:
        root.at(chain.steps).reasons.append(chain.reason)
    found = root.block(lambda node: "; ".join(node.reasons))
    first = found.lines[0]
    lines = [head + (" " if first.startswith("→") else ": " if first else "") + first, *found.lines[1:]]
    more = len(chains) - MOST_REASONS
    counted = (Block((f"… and {more} more reason{'s' if more > 1 else ''}",)),) if more > 0 else ()
    return Block(tuple(lines), (*found.branches, *counted))


def _slices(dim: Dim, places: Sequence[TensorAxis]) -> list[str]:
    """`bn1.weight, .bias axis 0 (write it)`: slices of one module that play the same part are named together."""
    alike: dict[tuple[str, int, bool, int], list[str]] = {}
    for name, axis in places:
        key = (name.rpartition(".")[0], axis, (name, axis) in dim.readers, dim.slices[name, axis].shape[1])
        alike.setdefault(key, []).append(name)
    shown = []
    for (module, axis, reads, count), names in alike.items():
        short = [names[0], *(name.removeprefix(module) if module else name for name in names[1:])]
        verb = ("read" if reads else "write") + ("s" if len(names) == count == 1 else "")
        many = "" if count == 1 else f"{count} slices of "
        shown.append(f"{many}{', '.join(short)} axis {axis} ({verb} it)")
    return shown


@define(eq=False)
class _Node:
    """Where some chains have come to: what they meet there, and how they go on."""

    step: Step | None = None
    ends: list[TensorAxis] = field(factory=list)
    reasons: list[str] = field(factory=list)
    onward: dict[Op, _Node] = field(factory=dict)

    def at(self, steps: Sequence[Step]) -> _Node:
        """The node that some steps lead to."""
        node = self
        for step in steps:
            node = node.onward.setdefault(step.op, _Node(step))
        return node

    def block(self, met: Callable[[_Node], str]) -> Block:
        """This node and all beyond it; `met` says what is met at a node, if anything."""
        lines, node = [], self
        while True:
            run = [node]
            while not met(node) and len(node.onward) == 1:
                (node,) = node.onward.values()
                run.append(node)
            steps = [each.step for each in run if each.step]
            lines.append(": ".join(filter(None, (_run(steps, bool(met(node))), met(node)))))
            if len(node.onward) != 1:
                return Block(tuple(lines), tuple(other.block(met) for other in node.onward.values()))
            (node,) = node.onward.values()


def _run(steps: Sequence[Step], meets: bool) -> str:
    """`→ relu → conv2d at layer1.conv1 (net.py:9)`: operations that only pass the axis on are named without a place.

    The last one is named with it all the same if the chain `meets` something there.
    """
    shown: list[str] = []
    for bare, group in groupby(steps, lambda step: step.carries and not (meets and step is steps[-1])):
        arrows = [f"{'←' if step.upstream else '→'} {step.op.kind}{'' if bare else _at(step.op)}" for step in group]
        shown += _shortened(arrows, MOST_CARRYING) if bare else arrows
    return " ".join(_shortened(shown, MOST_STEPS))


def _shortened(shown: list[str], most: int) -> list[str]:
    """A list whose middle is counted if it is longer than `most`."""
    if len(shown) <= most:
        return shown
    head, tail = shown[: most // 2], shown[-((most - 1) // 2) :]
    return [*head, f"→ … {len(shown) - len(head) - len(tail)} more …", *tail]


def _at(op: Op) -> str:
    """The module and line of an operation; a file of an installed package is named from that package on."""
    head, installed, tail = op.place.rpartition(f"site-packages{os.sep}")
    return f" at {head.rpartition('(')[0]}({tail}" if installed else f" at {op.place}"
