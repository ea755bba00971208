"""The plugin manager loads plugins, one by one and isolated, and collects what they add.

It is a value that is passed around; nothing here is global. `secateur.plugins.current` returns the one that
the short Python calls use.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pluggy

from secateur.errors import PluginError, SecateurError
from secateur.plugins import kinds, loading
from secateur.plugins.kinds import Kind
from secateur.plugins.loading import Candidate
from secateur.plugins.registry import Registry
from secateur.plugins.rows import PluginRow, Provider, describe
from secateur.plugins.table import PluginTable, not_installed

if TYPE_CHECKING:
    from secateur.pruning.base import Pruner
    from secateur.pruning.regularizer import Regularizer
    from secateur.records import (
        Command,
        Criterion,
        DatasetEntry,
        GraphBuilder,
        LayerAdapter,
        ModelEntry,
        OpRule,
        OptimizerRule,
    )
    from secateur.thinning.plan import Plan
    from secateur.thinning.report import Report

T = TypeVar("T")

CORE = "core"
"""The name under which the core registers its own features; no installed plugin may use it."""


def _listed_in(variable: str) -> tuple[str, ...] | None:
    """Read a comma-separated environment variable; None if it is not set."""
    value = os.environ.get(variable)
    return None if value is None else tuple(filter(None, (name.strip() for name in value.split(","))))


class PluginManager:
    """Knows every plugin, what became of it, and every record the loaded ones provide.

    >>> plugins = PluginManager.bare()
    >>> plugins.rows, len(plugins.models)
    ((), 0)
    """

    def __init__(self, *, prefer: Mapping[str, str] | None = None, strict: bool = False) -> None:
        self._host = loading.new_host()
        self._prefer = dict(prefer or {})
        self._strict = strict
        self._required: set[str] = set()
        self._table = PluginTable()
        self._records: dict[tuple[str, str], tuple[Any, ...]] = {}
        self._registries: dict[str, Registry[Any]] = {}

    @classmethod
    def bare(cls) -> PluginManager:
        """Return a manager that knows the hooks and has nothing loaded."""
        return cls()

    @classmethod
    def discover(
        cls,
        *,
        disable: Iterable[str] = (),
        files: Iterable[str | Path] = (),
        require: Iterable[str] = (),
        strict: bool = False,
        prefer: Mapping[str, str] | None = None,
    ) -> PluginManager:
        """Load the installed plugins (entry points of group `secateur`), sorted by name.

        `disable` names plugins that are not even imported; the environment variable `SECATEUR_DISABLE=a,b`
        adds to them, and `SECATEUR_PLUGINS=a,b` keeps only those (empty: none). `files` are Python files
        loaded as one-off plugins. `prefer` maps a record's name to the plugin that wins where two provide it.

        A plugin that fails is a row with its reason, and the others live. It is a `PluginError` if the plugin
        is named by the caller (`require`, `prefer`, `files`), or if `strict`.
        """
        manager = cls(prefer=prefer, strict=strict)
        only = _listed_in("SECATEUR_PLUGINS")
        off = dict.fromkeys(_listed_in("SECATEUR_DISABLE") or (), "listed in SECATEUR_DISABLE")
        off |= dict.fromkeys(disable, "disabled on request")
        candidates = loading.installed()
        for candidate in candidates:
            name = candidate.provider.plugin
            if name in off:
                manager._table.note(candidate.provider, "disabled", off[name])
            elif only is not None and name not in only:
                manager._table.note(candidate.provider, "disabled", "not listed in SECATEUR_PLUGINS")
            else:
                manager._load(candidate)
        for file in files:
            candidate = loading.from_file(file)
            if candidate.provider.plugin in off:
                manager._table.note(candidate.provider, "disabled", off[candidate.provider.plugin])
            else:
                manager._load(candidate)
                manager.require(candidate.provider.plugin)
        known = manager._table.names
        for name in sorted(set(off) - known):
            manager._table.note(Provider(name), "disabled", f"{off[name]}, but not installed")
        for name in only or ():
            if name not in known:
                raise not_installed(name, known, where="SECATEUR_PLUGINS")
        manager.require(*require, *manager._prefer.values())
        return manager

    # -- adding plugins --------------------------------------------------------------------------------------

    def register(self, plugin: object, name: str, *, dist: str = "", version: str = "") -> None:
        """Add a module or an object with hooks. A bad one is a `PluginError`, and nothing is changed."""
        provider = Provider(name, dist, version)
        try:
            hooks = self._admit(plugin, provider)
        except Exception as error:
            raise PluginError(f"plugin {name!r} cannot be registered: {describe(error)}") from error
        self._table.note(provider, "loaded", hooks=hooks)

    def _load(self, candidate: Candidate) -> None:
        provider = candidate.provider
        try:
            if provider.plugin == CORE:
                raise PluginError(f"the plugin name {CORE!r} is reserved")
            self._table.refuse_second(provider)
            hooks = self._admit(candidate.load(), provider)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - one broken plugin must not stop the others
            self._table.note(provider, "failed", describe(error), cause=error)
            if self._strict:
                self.require(provider.plugin)
        else:
            self._table.note(provider, "loaded", hooks=hooks)

    def _admit(self, plugin: object, provider: Provider) -> tuple[str, ...]:
        """Check a plugin and hand it to pluggy; return its hooks. Raises before anything is changed."""
        self._table.refuse_second(provider)
        hooks = loading.hooks_of(plugin, provider.plugin)
        self._host.register(plugin, name=provider.plugin)
        self._registries.clear()
        return hooks

    # -- what became of them ---------------------------------------------------------------------------------

    @property
    def rows(self) -> tuple[PluginRow, ...]:
        """One row per plugin, sorted by name. A hook that fails when it is called turns its row to failed."""
        return self._table.rows

    def cause(self, row: PluginRow) -> BaseException | None:
        """Return the exception that made a plugin fail, with its traceback, or None if it did not fail."""
        return self._table.cause(row)

    def require(self, *names: str, where: str = "") -> None:
        """Insist on plugins that a configuration names: a missing, disabled or failed one is a `PluginError`.

        `where` says who names them. If one fails later, when its hooks are called, that is an error too.
        """
        for name in names:
            self._required.add(name)
            self._table.require(name, where)

    # -- what they add ---------------------------------------------------------------------------------------

    @property
    def pruners(self) -> Registry[type[Pruner]]:
        """Pruner classes by name; their spellings find them too."""
        return self._registry(kinds.PRUNERS)

    @property
    def regularizers(self) -> Registry[type[Regularizer]]:
        """Regularizer classes by name; their spellings find them too."""
        return self._registry(kinds.REGULARIZERS)

    @property
    def criteria(self) -> Registry[Criterion]:
        """Criteria by name."""
        return self._registry(kinds.CRITERIA)

    @property
    def builders(self) -> Registry[GraphBuilder]:
        """Graph builders by name."""
        return self._registry(kinds.BUILDERS)

    @property
    def op_rules(self) -> Registry[OpRule]:
        """Op rules by the name of each operation they handle."""
        return self._registry(kinds.OP_RULES)

    @property
    def adapters(self) -> Registry[LayerAdapter]:
        """Layer adapters by the qualified name of each module type they handle."""
        return self._registry(kinds.ADAPTERS)

    @property
    def optimizer_rules(self) -> Registry[OptimizerRule]:
        """Optimizer rules by the qualified name of each optimizer class they are for."""
        return self._registry(kinds.OPTIMIZER_RULES)

    @property
    def models(self) -> Registry[ModelEntry]:
        """Models by name."""
        return self._registry(kinds.MODELS)

    @property
    def datasets(self) -> Registry[DatasetEntry]:
        """Data sets by name."""
        return self._registry(kinds.DATASETS)

    @property
    def commands(self) -> Registry[Command]:
        """Sub-commands of the `secateur` program by name."""
        return self._registry(kinds.COMMANDS)

    def check(self) -> tuple[str, ...]:
        """Call every registration hook, so that `rows` is final; return the clashes of names as messages."""
        clashes = []
        for kind in kinds.KINDS:
            try:
                self._registry(kind)
            except PluginError as error:
                clashes.append(str(error))
        return tuple(clashes)

    def _registry(self, kind: Kind[T]) -> Registry[T]:
        if kind.hook not in self._registries:
            entries = [
                (self._provider(implementation.plugin_name), record)
                for implementation in self._implementations(kind.hook)
                for record in self._call(kind, implementation)
            ]
            self._registries[kind.hook] = Registry(
                kind.noun,
                entries,
                keys=kind.keys,
                aliases=kind.aliases,
                share_aliases=kind.share_aliases,
                prefer=self._prefer,
                notes=self._table.excuses,
            )
        return self._registries[kind.hook]

    def _call(self, kind: Kind[T], implementation: pluggy.HookImpl) -> tuple[T, ...]:
        """Call one registration hook of one plugin, once; a failure is remembered and yields nothing."""
        plugin, key = implementation.plugin_name, (implementation.plugin_name, kind.hook)
        if key not in self._records:
            self._records[key] = ()
            try:
                self._records[key] = kind.check(implementation.function())
            except (Exception, SystemExit) as error:  # noqa: BLE001 - one broken plugin must not stop the others
                self._table.note_late(plugin, kind.hook, error)
        if self._strict or plugin in self._required:
            self.require(plugin)
        return self._records[key]

    def _implementations(self, hook: str) -> list[pluggy.HookImpl]:
        """The implementations of a hook by plugin name, `tryfirst` ones first and `trylast` ones last."""
        caller: pluggy.HookCaller = getattr(self._host.hook, hook)
        return sorted(caller.get_hookimpls(), key=lambda found: (found.trylast - found.tryfirst, found.plugin_name))

    def _provider(self, plugin: str) -> Provider:
        row = self._table.loaded(plugin)
        return Provider(plugin) if row is None else row.provider

    # -- events ----------------------------------------------------------------------------------------------

    def plan_ready(self, plan: Plan) -> None:
        """Tell plugins of a plan before it is used; one may veto it by raising a `SecateurError`."""
        self._tell("secateur_plan_ready", plan=plan)

    def model_thinned(self, report: Report) -> None:
        """Tell plugins that a model was thinned."""
        self._tell("secateur_model_thinned", report=report)

    def _tell(self, hook: str, **event: object) -> None:
        for implementation in self._implementations(hook):
            function: Callable[..., object] = implementation.function
            try:
                function(*(event[argument] for argument in implementation.argnames))
            except SecateurError:
                raise
            except Exception as error:
                who = self._provider(implementation.plugin_name)
                raise PluginError(f"{hook} of {who} failed: {describe(error)}") from error

    def __repr__(self) -> str:
        plugins = ", ".join(f"{row.name} {row.status}" for row in self.rows)
        return f"<PluginManager: {plugins or 'no plugins'}>"
