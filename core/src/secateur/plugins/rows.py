"""A plugin row says what became of one plugin: loaded, disabled or failed, where it came from, and why."""

from __future__ import annotations

from typing import Any, Literal

from attrs import asdict, frozen

from secateur.errors import SecateurError

Status = Literal["loaded", "disabled", "failed"]


@frozen
class Provider:
    """Who provides something: a plugin and the distribution it came with.

    >>> str(Provider("agp", "secateur-agp", "0.1.0"))
    'secateur-agp 0.1.0 (plugin agp)'
    >>> str(Provider("mine"))
    'plugin mine'
    """

    plugin: str
    dist: str = ""
    """Name of the distribution, or the path of a plugin file; empty if registered by a program."""
    version: str = ""

    @property
    def origin(self) -> str:
        """`"dist version"`, as far as they are known."""
        return f"{self.dist} {self.version}".strip()

    def __str__(self) -> str:
        return f"{self.origin} (plugin {self.plugin})" if self.origin else f"plugin {self.plugin}"


@frozen(kw_only=True)
class PluginRow:
    """One line of `secateur plugins`."""

    name: str
    status: Status
    dist: str = ""
    version: str = ""
    hooks: tuple[str, ...] = ()
    """Names of the hooks it implements, sorted; empty unless its import succeeded."""
    reason: str = ""
    """Why it is disabled or failed; empty if it is loaded."""

    @property
    def provider(self) -> Provider:
        """The plugin with its distribution."""
        return Provider(self.name, self.dist, self.version)

    def __str__(self) -> str:
        origin = f" ({self.provider.origin})" if self.dist else ""
        state = "is disabled" if self.status == "disabled" else self.status
        return f"plugin {self.name!r}{origin} {state}" + (f": {self.reason}" if self.reason else "")

    def to_dict(self) -> dict[str, Any]:
        """Return the row as plain values for JSON."""
        return asdict(self)


def describe(error: BaseException) -> str:
    """Say an exception in one line, with its type unless it is one of ours.

    >>> describe(ModuleNotFoundError("No module named 'x'"))
    "ModuleNotFoundError: No module named 'x'"
    """
    text = " ".join(str(error).split())
    if isinstance(error, SecateurError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
