"""The plugin table keeps one row per plugin, and the exceptions of those that failed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from attrs import evolve

from secateur.errors import PluginError, suggestion
from secateur.plugins.rows import PluginRow, Provider, Status, describe


class PluginTable:
    """What became of every plugin so far. Filled by one `PluginManager`, read by everybody."""

    def __init__(self) -> None:
        self._rows: list[PluginRow] = []
        self._causes: dict[PluginRow, BaseException] = {}
        self._late: dict[tuple[str, str], BaseException] = {}

    def note(
        self,
        provider: Provider,
        status: Status,
        reason: str = "",
        *,
        hooks: tuple[str, ...] = (),
        cause: BaseException | None = None,
    ) -> None:
        """Add the row of one plugin."""
        row = PluginRow(
            name=provider.plugin,
            status=status,
            dist=provider.dist,
            version=provider.version,
            hooks=hooks,
            reason=reason,
        )
        self._rows = sorted([*self._rows, row], key=lambda row: (row.name, row.dist))
        if cause is not None:
            self._causes[row] = cause

    def note_late(self, plugin: str, hook: str, cause: BaseException) -> None:
        """Remember that a hook of a loaded plugin failed when it was called."""
        self._late[plugin, hook] = cause

    @property
    def rows(self) -> tuple[PluginRow, ...]:
        """All rows sorted by (name, distribution)."""
        return tuple(self._with_late_failures(row) for row in self._rows)

    @property
    def names(self) -> set[str]:
        """Names of all plugins that have a row."""
        return {row.name for row in self._rows}

    def loaded(self, name: str) -> PluginRow | None:
        """Return the row of a plugin whose import succeeded, or None."""
        return next((row for row in self._rows if row.name == name and row.status == "loaded"), None)

    def cause(self, row: PluginRow) -> BaseException | None:
        """Return the exception that made a plugin fail, with its traceback, or None if it did not fail."""
        late = (self._late[key] for key in sorted(self._late) if key[0] == row.name and key[1] in row.hooks)
        return self._causes.get(row) or next(late, None)

    def refuse_second(self, provider: Provider) -> None:
        """Raise `PluginError` if another plugin that is not disabled has this name already."""
        for row in self._rows:
            if row.name == provider.plugin and row.status != "disabled":
                both = " and ".join(each.origin or "this program" for each in (row.provider, provider))
                what = f"two plugins are named {row.name!r}: from {both}"
                raise PluginError(what, hint="uninstall or rename one")

    def require(self, name: str, where: str) -> None:
        """Raise `PluginError` unless this plugin is loaded and has not failed since."""
        rows = [row for row in self.rows if row.name == name]
        if not any(row.dist or row.status != "disabled" for row in rows):
            raise not_installed(name, self.names - {name}, where)
        for row in rows:
            if row.status == "failed":
                raise PluginError(str(row), where=where) from self.cause(row)
        if all(row.status == "disabled" for row in rows):
            raise PluginError(str(rows[0]), where=where, hint="but it is needed here")

    def excuses(self) -> Iterator[str]:
        """What to tell somebody who misses a record: the failed plugins, and the disabled ones."""
        yield from (str(row) for row in self.rows if row.status == "failed")
        disabled = [row.name for row in self._rows if row.status == "disabled" and row.dist]
        if disabled:
            more = f", … {len(disabled) - 20} more" if len(disabled) > 20 else ""
            yield f"disabled plugins: {', '.join(disabled[:20])}{more}"

    def _with_late_failures(self, row: PluginRow) -> PluginRow:
        if row.status != "loaded":
            return row
        late = [f"{key[1]}: {describe(self._late[key])}" for key in sorted(self._late) if key[0] == row.name]
        return evolve(row, status="failed", reason="; ".join(late)) if late else row


def not_installed(name: str, known: Iterable[str], where: str = "") -> PluginError:
    """The error for a plugin that somebody names and nobody installed."""
    return PluginError(f"plugin {name!r} is not installed", where=where, hint=suggestion(name, known))
