"""Names of parameters as a schedule writes them.

A plain text is a name or a glob over names, never a part of a name. The wrappers `nn.DataParallel` and
`DistributedDataParallel` put `module.` into the names below them, so schedules written for wrapped models say
`module.layer1.0.weight` or `features.module.0.weight`: where a name is unknown, such steps do not count.
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from secateur.errors import PlanError, suggestion

GLOB = frozenset("*?[")


class Names:
    """Names of parameters, to be found by name, which takes no longer where there are many, or by glob."""

    def __init__(self, names: Iterable[str]) -> None:
        self._known = dict.fromkeys(names)
        self._unwrapped: dict[str, list[str]] = {}
        for name in self._known:
            self._unwrapped.setdefault(unwrapped(name), []).append(name)

    def resolve(self, pattern: str, where: str = "weights") -> list[str]:
        """The names that a name or glob means, in their order; none at all is a `PlanError` with a suggestion."""
        if pattern in self._known:
            return [pattern]
        bare = unwrapped(pattern)
        if found := [name for name in self._known if fnmatchcase(name, pattern)] if GLOB & set(pattern) else []:
            return found
        if bare in self._unwrapped:
            return list(self._unwrapped[bare])
        if GLOB & set(bare):
            found = [name for text, names in self._unwrapped.items() if fnmatchcase(text, bare) for name in names]
        if not found:
            hint = suggestion(bare, self._known)
            raise PlanError(f"{pattern!r} matches no parameter", where=where, hint=hint)
        return found


def resolve(pattern: str, names: Iterable[str], where: str = "weights") -> list[str]:
    """The same among names that are looked up once.

    >>> resolve("module.features.module.0.weight", ["features.0.weight", "features.10.weight"])
    ['features.0.weight']
    >>> resolve("features.*.weight", ["features.0.weight", "features.10.weight"])
    ['features.0.weight', 'features.10.weight']
    >>> resolve("features.0.weight", ["module.features.0.weight"])
    ['module.features.0.weight']
    """
    return Names(names).resolve(pattern, where)


def unwrapped(name: str) -> str:
    """A name without the steps that wrappers put into it.

    >>> unwrapped("module.features.module.0.weight")
    'features.0.weight'
    """
    return ".".join(step for step in name.split(".") if step != "module")
