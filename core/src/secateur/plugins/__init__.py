"""The plugin host: which plugins there are, and what they add.

A `PluginManager` is a value; functions that need one take it as an argument. The short calls of the Python
API (`secateur.plan(model, x)`) use `current()`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from secateur.plugins.manager import PluginManager as PluginManager
from secateur.plugins.registry import Registry as Registry
from secateur.plugins.rows import PluginRow as PluginRow
from secateur.plugins.rows import Provider as Provider

__all__ = ["PluginManager", "PluginRow", "Provider", "Registry", "current", "using"]

_chosen: ContextVar[PluginManager | None] = ContextVar("secateur_plugins", default=None)


@functools.cache
def _discovered() -> PluginManager:
    return PluginManager.discover()


def current() -> PluginManager:
    """Return the manager of the enclosing `using(...)`, else one of the installed plugins.

    The installed plugins are discovered at the first call and kept. A new thread starts outside of any
    `using`.
    """
    chosen = _chosen.get()
    return _discovered() if chosen is None else chosen


@contextmanager
def using(plugins: PluginManager) -> Iterator[PluginManager]:
    """Make `current()` return this manager inside the block.

    >>> with using(PluginManager.bare()) as bare:
    ...     current() is bare
    True
    """
    token = _chosen.set(plugins)
    try:
        yield plugins
    finally:
        _chosen.reset(token)
