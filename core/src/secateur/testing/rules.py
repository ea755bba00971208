"""Laws of op rules: well-formed, one axis per axis of every output, and exact in every form of the call."""

from __future__ import annotations

from collections.abc import Iterable

from secateur.coupling.binding import parameters
from secateur.errors import SecateurError
from secateur.records import OpRule
from secateur.testing.broken import LawBroken, NotTried
from secateur.testing.calls import Branch, Branches, branches
from secateur.testing.exactness import drawn_plan, plan_is_exact
from secateur.thinning.planner import couple


def is_well_formed(rule: OpRule) -> None:
    """It has a name, handles operations, and its signature can be read."""
    if not rule.name or not rule.ops:
        raise LawBroken(f"the rule {rule.name!r} handles no operation: {rule}")
    try:
        parameters(rule.signature)
    except (ValueError, SyntaxError) as error:
        raise LawBroken(
            f"the signature {rule.signature!r} of the rule {rule.name!r} cannot be read: {error}"
        ) from error
    for name in ("apply", "macs"):
        given = getattr(rule, name)
        if given is not None and not callable(given):
            raise LawBroken(f"{name} of the rule {rule.name!r} is {given!r}, not a function")


def what_leaves_leaves_exactly(rule: OpRule) -> None:
    """In every form of the call outputs get one axis each per axis, and masked and thin networks compute the same."""
    tried = False
    for operation in rule.ops:
        if "empty" in operation:  # what it gives is whatever lay in memory
            continue
        if found := branches(operation):
            tried = True
            try:
                _check(Branches(found), seeds=range(2))
            except (LawBroken, SecateurError):
                for branch in found:
                    _check_alone(branch)
                raise
    if not tried:
        names = ", ".join(rule.ops)
        raise NotTried(f"the kit knows no way to call {names}: check it with masked_equals_thinned or check_layer")


def _check(network: Branches, seeds: Iterable[int]) -> None:
    network.double().eval()
    inputs = network.inputs()
    coupling = couple(network, inputs)
    for seed in seeds:
        plan_is_exact(network, drawn_plan(network, coupling, inputs, seed), inputs, seed=seed)


def _check_alone(branch: Branch) -> None:
    try:
        _check(Branches([branch]), seeds=range(8))
    except (LawBroken, SecateurError) as error:
        raise LawBroken(f"{branch.form}: {error}") from error
