"""Lengths that must agree: tie the vectors of an equation between sizes, so that they leave together.

`reshape(b, n, heads, C // heads)` holds as long as C is heads times the width it is cut into. Each of the three alone
would break it; tied as a product they cannot. So an equation whose sides are lengths, products and quotients of lengths
becomes a tie, index by index. That may be more than the equation asks for, never less. An attribute that no axis
follows yet, C in `self.C // self.heads`, is defined by the equation.
"""

from __future__ import annotations

from secateur.coupling.constants import uses_of
from secateur.coupling.facts import SizeFact
from secateur.coupling.labels import Axis, fixed
from secateur.coupling.products import merge, split
from secateur.coupling.system import SizeSystem
from secateur.graph.sizes import Arithmetic, Attribute, AxisLength, Expr, Literal


def tie_lengths(system: SizeSystem, fact: SizeFact) -> bool:
    """Tie the vectors that a size fact relates; return False if it is of another form, or was tied before."""
    facts = system.labelling.facts
    if not len(fact.atoms) or id(fact) in facts.tied:
        return False
    facts.tied[id(fact)] = fact
    expr, due = fact.expr, Axis(fact.atoms)
    if isinstance(expr, Arithmetic) and expr.operation == "//":
        whole, divisor = axis_of(system, expr.left, fact), axis_of(system, expr.right, fact)
        if divisor is None:
            return False
        due = merge(facts, divisor, due, fact.op)
        if _define(system, expr.left, due, fact):
            return True
    elif isinstance(expr, Arithmetic) and expr.operation == "*" and isinstance(expr.left, Literal):
        count = expr.left.value
        if count > 0 and len(due) % count == 0 and _undefined(system, expr.right, len(due) // count):
            outer, inner = split(facts, due, count, len(due) // count, fact.op)
            facts.fix(outer.atoms, f"it is as long as the number {count} that is written", op=fact.op)
            return _define(system, expr.right, inner, fact)
        whole = axis_of(system, expr, fact)
    else:
        whole = axis_of(system, expr, fact)
    if whole is None or not whole.free or not due.free or len(whole) != len(due):
        return False
    facts.tie(whole.atoms, due.atoms, fact.op)
    return True


def _undefined(system: SizeSystem, expr: Expr, length: int) -> bool:
    """Whether an expression is an attribute of that value that no axis follows yet."""
    return isinstance(expr, Attribute) and expr not in system.bound and system.attribute(expr, len) == length


def _define(system: SizeSystem, expr: Expr, axis: Axis, fact: SizeFact) -> bool:
    """Let an attribute that nothing follows yet be the length of an axis from now on, if it is that long."""
    if not axis.free or not isinstance(expr, Attribute) or not _undefined(system, expr, len(axis)):
        return False
    facts, graph = system.labelling.facts, system.labelling.graph
    facts.sizes.append(SizeFact(expr, axis.atoms, fact.op))
    facts.sizes += uses_of(expr, graph, facts)  # until now it could not change
    return True


def axis_of(system: SizeSystem, expr: Expr, fact: SizeFact) -> Axis | None:
    """An axis as long as an expression says, made of the axes it speaks of; None for sums and the like."""
    labelling = system.labelling
    if isinstance(expr, Literal):
        return fixed(expr.value) if expr.value > 0 else None
    if isinstance(expr, AxisLength):
        return Axis(labelling.labels[expr.value][expr.axis].atoms)
    if isinstance(expr, Attribute):
        return Axis(system.bound[expr].atoms) if expr in system.bound else fixed(system.attribute(expr, len))
    if expr.operation != "*":
        return None
    left, right = axis_of(system, expr.left, fact), axis_of(system, expr.right, fact)
    return None if left is None or right is None else merge(labelling.facts, left, right, fact.op)
