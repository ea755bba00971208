"""Find plugins (entry points, files), import one, and check that its hooks are ones we know."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pluggy
from attrs import frozen

from secateur import hookspecs
from secateur.errors import PluginError, suggestion
from secateur.plugins.rows import Provider

GROUP = hookspecs.PROJECT


@frozen
class Candidate:
    """A plugin that is installed but not imported yet."""

    provider: Provider
    load: Callable[[], object]


def installed() -> list[Candidate]:
    """List the entry points of group `secateur`, sorted by (name, distribution); nothing is imported."""
    found = {}
    for point in importlib.metadata.entry_points(group=GROUP):
        provider = _provider(point)
        found[provider.plugin, provider.dist, point.value] = Candidate(provider, point.load)
    return [found[key] for key in sorted(found)]


def _provider(point: importlib.metadata.EntryPoint) -> Provider:
    try:
        metadata: Any = point.dist.metadata if point.dist is not None else {}
    except Exception:  # noqa: BLE001 - a half-removed distribution without METADATA must not stop the others
        metadata = {}
    return Provider(point.name, str(metadata.get("Name") or "unknown"), str(metadata.get("Version") or ""))


def from_file(path: str | Path) -> Candidate:
    """Return a one-off plugin: a Python file outside any package, named for its stem.

    Raises `PluginError` if there is no such file.
    """
    file = Path(path)
    if file.suffix != ".py":
        raise PluginError("a plugin file must end in .py", where=str(path))
    if not file.is_file():
        raise PluginError("there is no such plugin file", where=str(path), hint="check the path")
    return Candidate(Provider(file.stem, str(path)), lambda: _import_file(file.resolve()))


def _import_file(file: Path) -> object:
    digest = hashlib.sha256(str(file).encode()).hexdigest()[:12]
    name = f"_secateur_file_{digest}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise PluginError("Python cannot import this file", where=str(file))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look their module up there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def new_host() -> pluggy.PluginManager:
    """Return a pluggy manager that knows our hook specifications and no plugin."""
    host = pluggy.PluginManager(hookspecs.PROJECT)
    host.add_hookspecs(hookspecs)
    return host


def hooks_of(plugin: object, name: str) -> tuple[str, ...]:
    """Return the names of the hooks a plugin implements, sorted.

    Raises `PluginError` for an unknown hook, a hook without its mark, a wrapper, or a class in place of an
    instance, and `pluggy.PluginValidationError` for a wrong signature. Nothing is registered anywhere.
    """
    if inspect.isclass(plugin):
        raise PluginError(f"{plugin.__name__} is a class", hint="register a module or an instance")
    probe = new_host()
    known = [hook for hook in vars(probe.hook) if hook.startswith(f"{GROUP}_")]
    for hook in known:
        function = getattr(plugin, hook, None)
        marked = hasattr(function, f"{GROUP}_impl") or hasattr(function, f"{GROUP}_spec")
        if inspect.isroutine(function) and not marked:
            raise PluginError(f"{hook} is not marked as a hook", hint="decorate it with @secateur.hookimpl")
    probe.register(plugin, name=name)
    callers = probe.get_hookcallers(plugin) or []
    for caller in callers:
        for implementation in caller.get_hookimpls():
            if not caller.has_spec() and not implementation.optionalhook:
                raise PluginError(f"unknown hook {caller.name!r}", hint=suggestion(caller.name, known))
            if implementation.hookwrapper or implementation.wrapper:
                raise PluginError(f"{caller.name} is a hook wrapper", hint="only plain hooks are supported")
    return tuple(sorted(caller.name for caller in callers if caller.has_spec()))
