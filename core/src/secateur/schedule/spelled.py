"""Spellings applied: an entry written for another tool becomes one that our class reads.

Keys and values are renamed node by node, so that every message still cites file, line and key as the user wrote them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, get_args, get_origin

from attrs import evolve, frozen

from secateur.config import Node, plain
from secateur.config.describe import literal, members
from secateur.config.node import Scalar
from secateur.config.structure import annotation, keyed
from secateur.errors import ConfigError, suggestion
from secateur.pruning.spelling import Spelling


@frozen
class Meaning:
    """What the name of a class in a schedule means: a class of ours, and how the name spells it, if it is not ours."""

    cls: type[Any]
    spelling: Spelling | None = None

    @property
    def keys(self) -> dict[str, str]:
        """Our key for every key that may be written; a dotted one stands for a mapping within a mapping."""
        ours = {key: key for key in keyed(self.cls)}
        if self.spelling is None:
            return ours
        renamed = set(self.spelling.keys.values()) - set(self.spelling.keys)
        kept = {key: key for key in ours if key not in renamed and key not in self.spelling.presets}
        return {**self.spelling.keys, **kept}


def meanings(name: str, classes: Sequence[type[Any]]) -> tuple[Meaning, ...]:
    """What a name may mean: the class it belongs to, or all spellings of that name, in order."""
    own = [Meaning(cls) for cls in classes if cls.name == name]
    spelled = (Meaning(cls, each) for cls in classes for each in cls.spellings if each.name == name)
    return tuple(own or spelled)


def choose(node: Node, found: Sequence[Meaning]) -> Meaning:
    """The first meaning that serves what the entry says; `ConfigError` at a key whose value none of them serves."""
    for each in found:
        if all(_says(node, key) in values for key, values in _when(each).items()):
            return each
    for key in dict.fromkeys(key for each in found for key in _when(each)):
        served = {value for each in found for value in _when(each).get(key, ())}
        if _says(node, key) in served:
            continue
        if (value := _at(node, key)) is None:
            _refuse_unknown(node.without("class"), {name for each in found for name in _written(each)})
            hint = f"give one of {', '.join(sorted(map(_word, served)))}"
            raise node.error(f"required key missing: {key!r}", hint=hint)
        raise value.error(f"unknown value {value.shown}", hint=suggestion(str(_says(node, key)), map(_word, served)))
    raise node.error("these values do not go together", hint=f"known: {'; or '.join(map(_served, found))}")


def _when(meaning: Meaning) -> Mapping[str, frozenset[Any]]:
    return meaning.spelling.when if meaning.spelling is not None else {}


def _written(meaning: Meaning) -> set[str]:
    """The keys that may be written, those that mean nothing too."""
    return {*meaning.keys, *(meaning.spelling.ignored if meaning.spelling is not None else ())}


def _refuse_unknown(node: Node, written: set[str]) -> None:
    for their, key, _ in _flat(node, "", written):
        if their not in written:
            raise key.error(f"unknown key {their!r}", hint=suggestion(their, written))


def _served(meaning: Meaning) -> str:
    return ", ".join(f"{key} {' or '.join(sorted(map(_word, values)))}" for key, values in _when(meaning).items())


def _word(value: Any) -> str:
    return value if isinstance(value, str) else literal(value)


def _at(node: Node, key: str) -> Node | None:
    """The value under a dotted key."""
    head, _, rest = key.partition(".")
    found = node.get(head)
    return _at(found, rest) if rest and found is not None and found.kind == "mapping" else found


def _says(node: Node, key: str) -> Any:
    found = _at(node, key)
    return found.natural if found is not None and found.kind == "scalar" else None


def translate(node: Node, meaning: Meaning) -> Node:
    """The entry, without its `class`, as our class reads it."""
    spelling = meaning.spelling
    if spelling is None:
        return node
    known = meaning.keys
    written = _written(meaning)
    found: dict[str, tuple[Node, Node]] = {}
    spoken: dict[str, str] = {}
    for their, key, value in _flat(node, "", written):
        if their in spelling.ignored:
            continue
        ours = known.get(their, their)
        if ours in spelling.presets and their not in spelling.keys:
            if plain(value) != spelling.presets[ours]:
                said = literal(spelling.presets[ours])
                raise key.error(f"{spelling.name} says that {their!r} is {said}", hint="leave the key out")
            continue
        if their not in known and ours not in keyed(meaning.cls):
            raise key.error(f"unknown key {their!r}", hint=suggestion(their, written))
        if ours in found:
            raise key.error(f"{spoken[ours]!r} and {their!r} say the same", hint="keep one")
        found[ours] = evolve(key, scalar=ours, text=ours), _valued(value, ours, meaning)
        spoken[ours] = their
    missing = [repr(their) for their in spelling.required if their not in spoken.values()]
    if missing:
        raise node.error(f"required {'key' if len(missing) == 1 else 'keys'} missing: {', '.join(missing)}")
    for ours, preset in spelling.presets.items():
        found[ours] = _made(node, ours), _made(node, preset)
    return evolve(node, pairs=tuple(found.values()))


def _flat(node: Node, prefix: str, written: set[str]) -> Iterator[tuple[str, Node, Node]]:
    """The pairs of a mapping by their keys, those within a mapping by dotted keys."""
    keys = [key for key, _ in node.items()]
    for name, (key, value) in zip(keys, node.pairs, strict=True):
        full = f"{prefix}{name}"
        if full not in written and any(each.startswith(f"{full}.") for each in written):
            value.expect("mapping")
            yield from _flat(value, f"{full}.", written)
        else:
            yield full, key, value


def _valued(node: Node, ours: str, meaning: Meaning) -> Node:
    """A value as ours says it; one that neither tool knows is refused with theirs suggested."""
    table = meaning.spelling.values.get(ours, {}) if meaning.spelling is not None else {}
    if not table or node.kind != "scalar":
        return node
    for their, our in table.items():
        if type(their) is type(node.natural) and their == node.natural:
            return _made(node, our)
    choices = choices_of(meaning.cls, ours)
    if choices and node.natural not in choices:
        raise node.error(
            f"unknown value {node.shown}", hint=suggestion(str(node.natural), map(_word, [*table, *choices]))
        )
    return node


def choices_of(cls: type[Any], key: str) -> tuple[Scalar, ...]:
    """The values that a key of a class has, if they are a few literals; else nothing."""
    hints = [hint for hint in members(annotation(cls, keyed(cls)[key])) if hint is not type(None)]
    if not all(get_origin(hint) is Literal for hint in hints):
        return ()
    return tuple(value for hint in hints for value in get_args(hint))


def _made(place: Node, value: Any) -> Node:
    """A node that stands where another one does, and says something else."""
    bare = evolve(place, kind="scalar", pairs=(), elements=(), scalar=None, text="", quoted=False)
    if isinstance(value, Mapping):
        pairs = tuple((_made(place, key), _made(place, each)) for key, each in value.items())
        return evolve(bare, kind="mapping", pairs=pairs)
    if isinstance(value, list | tuple):
        return evolve(bare, kind="sequence", elements=tuple(_made(place, each) for each in value))
    return evolve(bare, scalar=value, text=_word(value), quoted=isinstance(value, str))


def in_their_words(error: ConfigError, meaning: Meaning) -> ConfigError:
    """The same error with our keys named as the spelling names them."""
    if meaning.spelling is None:
        return error
    theirs = {ours: their for their, ours in meaning.spelling.keys.items() if ours != their}
    if not theirs:
        return error
    words = re.compile(rf"\b({'|'.join(map(re.escape, theirs))})\b")

    def said(text: str) -> str:
        return words.sub(lambda match: theirs[match[1]], text)

    return ConfigError(said(error.what), where=error.where, hint=said(error.hint))
