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


def resolve(pattern: str, names: Iterable[str], where: str = "weights") -> list[str]:
    """The names that a name or glob means, in their order; none at all is a `PlanError` with a suggestion.

    >>> resolve("module.features.module.0.weight", ["features.0.weight", "features.10.weight"])
    ['features.0.weight']
    >>> resolve("features.*.weight", ["features.0.weight", "features.10.weight"])
    ['features.0.weight', 'features.10.weight']
    """
    known = list(names)
    if pattern in known:
        return [pattern]
    for spelled in dict.fromkeys((pattern, unwrapped(pattern))):
        shown = {name: unwrapped(name) if spelled != pattern else name for name in known}
        found = [name for name, text in shown.items() if text == spelled]
        if not found and GLOB & set(spelled):
            found = [name for name, text in shown.items() if fnmatchcase(text, spelled)]
        if found:
            return found
    raise PlanError(f"{pattern!r} matches no parameter", where=where, hint=suggestion(unwrapped(pattern), known))


def unwrapped(name: str) -> str:
    """A name without the steps that wrappers put into it.

    >>> unwrapped("module.features.module.0.weight")
    'features.0.weight'
    """
    return ".".join(step for step in name.split(".") if step != "module")
