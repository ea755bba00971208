"""Modules in groups that fold: each part of the network with what it holds and computes, before and after."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from secateur.report.content import Module, Tally

ITSELF = "the model itself"
MOST = 40
"""Modules in one group; a larger part is shown as the groups of its own parts."""


@frozen
class Group:
    """Some modules of one part of the network, and their sums."""

    name: str
    modules: tuple[Module, ...]

    @property
    def before(self) -> Tally:
        """The sums before."""
        return total([module.before for module in self.modules])

    @property
    def after(self) -> Tally:
        """The sums after."""
        return total([module.after for module in self.modules])

    @property
    def changed(self) -> int:
        """How many of the modules became smaller."""
        return sum(module.before != module.after for module in self.modules)


def total(tallies: Sequence[Tally | None]) -> Tally:
    """The sums of several modules."""
    known = [tally for tally in tallies if tally is not None]
    return Tally(sum(tally.parameters for tally in known), sum(tally.macs for tally in known))


def groups(modules: Sequence[Module], most: int = MOST) -> list[Group]:
    """Parts of the network in the order of its modules; small neighbours without parts of their own are one group.

    >>> some = [Module(path, "Linear", None, None) for path in ("stem", "a.0", "a.1", "b.0", "head", "out")]
    >>> [(group.name, len(group.modules)) for group in groups(some, most=2)]
    [('stem', 1), ('a', 2), ('b', 1), ('head … out', 2)]
    """
    if len(modules) <= most // 2:
        return [Group(_span(modules), tuple(modules))] if modules else []
    return [Group(_span(part) if prefix is None else prefix, tuple(part)) for prefix, part in _parts(modules, 0, most)]


def _parts(modules: Sequence[Module], depth: int, most: int) -> list[tuple[str | None, list[Module]]]:
    """(path that they lie under, modules) in order; None for those that lie beside one another."""
    found: list[tuple[str | None, list[Module]]] = []
    for module in modules:
        path = module.path.split(".")
        prefix = ".".join(path[: depth + 1]) if len(path) > depth + 1 else None
        if found and found[-1][0] == prefix:
            found[-1][1].append(module)
        else:
            found.append((prefix, [module]))
    split: list[tuple[str | None, list[Module]]] = []
    for prefix, part in found:
        large = prefix is not None and len(part) > most
        split += _parts(part, depth + 1, most) if large else [(prefix, part)]
    return split


def _span(modules: Sequence[Module]) -> str:
    first, last = modules[0].path or ITSELF, modules[-1].path or ITSELF
    return first if first == last else f"{first} … {last}"
