"""A registry is a read-only mapping from names to the records of one kind that plugins provided."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, TypeVar, overload

from attrs import frozen

from secateur.errors import PluginError, suggestion
from secateur.plugins.rows import Provider

T = TypeVar("T")
D = TypeVar("D")
_MISSING: Final[Any] = object()


def own_name(record: Any) -> tuple[str, ...]:
    """The usual key of a record: its `name`."""
    return (record.name,)


def no_aliases(record: Any) -> tuple[str, ...]:
    """Most records have no second name."""
    return ()


@frozen(eq=False)
class _Claim:
    """One plugin says: this key is my record."""

    provider: Provider
    record: Any


class Registry(Mapping[str, T]):
    """Records of one kind by key, in the order of their keys; built once, never changed.

    `keys` says under which keys a record is listed (default: its name), `aliases` under which further names
    it is found without being listed. Two plugins that claim one key are a `PluginError` naming both, unless
    `prefer` maps the key to the plugin that wins; a record that lost all its keys loses its aliases too. With
    `share_aliases` several records may have one alias: `candidates` gives them all, a look-up the first.

    `notes` is asked, when a name is not found, for what else the user should know: which plugins failed.

    >>> from secateur.records import ModelEntry
    >>> entry = ModelEntry(name="mlp", build=dict, input_shape=(8,))
    >>> models = Registry("model", [(Provider("zoo", "secateur-zoo", "1.0"), entry)])
    >>> models["mlp"] is entry, models.source("mlp")
    (True, 'secateur-zoo 1.0 (plugin zoo)')
    >>> models["mpl"]
    Traceback (most recent call last):
      ...
    secateur.errors.PluginError: no model named 'mpl'; did you mean 'mlp'? (known: mlp)
    """

    def __init__(
        self,
        noun: str,
        entries: Iterable[tuple[Provider, T]],
        *,
        keys: Callable[[T], Iterable[str]] = own_name,
        aliases: Callable[[T], Iterable[str]] = no_aliases,
        share_aliases: bool = False,
        prefer: Mapping[str, str] | None = None,
        notes: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        self.noun = noun
        self._notes = notes
        claims = [_Claim(provider, record) for provider, record in entries]
        listed = ((key, claim) for claim in claims for key in keys(claim.record))
        self._listed = self._resolve(listed, prefer or {}, {})
        winners = {id(claim) for claim in self._listed.values()}
        hidden = [(key, claim) for claim in claims if id(claim) in winners for key in aliases(claim.record)]
        self._shared: dict[str, tuple[_Claim, ...]] = {}
        if share_aliases:
            self._shared = _shared(hidden, prefer or {}, self._listed)
            hidden = [(key, claim) for key, claim in hidden if key not in self._shared]
        first = {key: rivals[0] for key, rivals in self._shared.items()}
        self._all = self._listed | dict(sorted((first | self._resolve(hidden, prefer or {}, self._listed)).items()))

    def _resolve(
        self, wanted: Iterable[tuple[str, _Claim]], prefer: Mapping[str, str], taken: Mapping[str, _Claim]
    ) -> dict[str, _Claim]:
        """Give every key to its only or its preferred claim; `taken` keys belong to somebody already."""
        claims: dict[str, list[_Claim]] = {}
        for key, claim in wanted:
            rivals = claims.setdefault(key, [taken[key]] if key in taken else [])
            if not any(rival.record is claim.record for rival in rivals):
                rivals.append(claim)
        resolved = {}
        for key in sorted(claims):
            rivals = claims[key]
            if len(rivals) > 1:
                rivals = [claim for claim in rivals if claim.provider.plugin == prefer.get(key)]
            if len(rivals) != 1:
                raise self._clash(key, claims[key])
            resolved[key] = rivals[0]
        return resolved

    def _clash(self, key: str, rivals: list[_Claim]) -> PluginError:
        providers = " and by ".join(str(claim.provider) for claim in rivals)
        return PluginError(
            f"the {self.noun} {key!r} is provided by {providers}",
            hint=f"disable one plugin, or choose with prefer={{{key!r}: {rivals[0].provider.plugin!r}}}",
        )

    # -- Mapping ---------------------------------------------------------------------------------------------

    def __getitem__(self, name: str) -> T:
        if not isinstance(name, str):
            raise PluginError(f"no {self.noun} named {name!r}", hint="a name is a string")
        return self._find(name).record  # type: ignore[no-any-return]

    def __iter__(self) -> Iterator[str]:
        return iter(self._listed)

    def __len__(self) -> int:
        return len(self._listed)

    def __contains__(self, name: object) -> bool:
        return name in self._all

    @overload
    def get(self, name: str, /) -> T: ...
    @overload
    def get(self, name: str, /, default: T | D) -> T | D: ...
    def get(self, name: str, /, default: Any = _MISSING) -> Any:
        """Return the record of a key or an alias, else `default`; without a default, raise `PluginError`."""
        if default is _MISSING or name in self._all:
            return self[name]
        return default

    def __repr__(self) -> str:
        return f"<Registry of {len(self.records)} {self.noun} records: {', '.join(self)}>"

    # -- more than a mapping ---------------------------------------------------------------------------------

    @property
    def records(self) -> tuple[T, ...]:
        """Every record that holds a key, once, in the order of first keys."""
        return tuple({id(claim.record): claim.record for claim in self._listed.values()}.values())

    def candidates(self, name: str) -> tuple[T, ...]:
        """Every record that a key or an alias may mean, in the order they were provided; none is a `PluginError`."""
        claims = self._shared.get(name) or (self._find(name),)
        return tuple(claim.record for claim in claims)

    @property
    def aliases(self) -> tuple[str, ...]:
        """The further names under which records are found, sorted."""
        return tuple(key for key in self._all if key not in self._listed)

    def provider(self, name: str) -> Provider:
        """Return the plugin and distribution that a record came from; an unknown name is a `PluginError`."""
        return self._find(name).provider

    def source(self, name: str) -> str:
        """Say where a record came from: `"dist version (plugin x)"`; an unknown name is a `PluginError`."""
        return str(self.provider(name))

    def _find(self, name: str) -> _Claim:
        if name in self._all:
            return self._all[name]
        close = difflib.get_close_matches(str(name), self._all, n=1, cutoff=0.5)
        guess = f"did you mean {close[0]!r}? " if close else ""
        hint = guess + suggestion("", self._listed)
        raise PluginError(f"no {self.noun} named {name!r}", hint="; ".join([hint, *self._notes()]))


def _shared(
    wanted: Iterable[tuple[str, _Claim]], prefer: Mapping[str, str], taken: Mapping[str, _Claim]
) -> dict[str, tuple[_Claim, ...]]:
    """The claims of each key that is nobody's own; only those of the preferred plugin, if it has any."""
    found: dict[str, list[_Claim]] = {}
    for key, claim in wanted:
        if key not in taken:
            found.setdefault(key, []).append(claim)
    for key, claims in found.items():
        found[key] = [claim for claim in claims if claim.provider.plugin == prefer.get(key)] or claims
    return {key: tuple({id(claim.record): claim for claim in claims}.values()) for key, claims in found.items()}
