"""The entries of a schedule's sections: a class, by our name or by another tool's, and its arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import evolve, frozen

from secateur.config import Node, structure
from secateur.config.structure import keyed
from secateur.errors import ConfigError, suggestion
from secateur.plugins import PluginManager, Registry
from secateur.schedule.lr import read_lr
from secateur.schedule.spelled import Meaning, choose, in_their_words, meanings, translate
from secateur.schedule.thinner import Thinner


@frozen(eq=False)
class Instance:
    """An entry that was read, the class it names, and how to read it again with other `levels`."""

    value: Any
    called: str
    again: Callable[[Node], Any] | None = None


def read_pruner(node: Node, manager: PluginManager) -> Instance:
    """Read an entry of `pruners`; `ConfigError` at the key that is wrong."""
    return _registered(node, manager, manager.pruners)


def read_regularizer(node: Node, manager: PluginManager) -> Instance:
    """Read an entry of `regularizers`."""
    return _registered(node, manager, manager.regularizers)


def read_lr_scheduler(node: Node, manager: PluginManager) -> Instance:
    """Read an entry of `lr_schedulers`."""
    where = _class(node)
    return Instance(read_lr(node, where), where.text)


def read_extension(node: Node, manager: PluginManager) -> Instance:
    """Read an entry of `extensions`."""
    where = _class(node)
    if where.text != Thinner.name and where.text not in Thinner.aliases:
        hint = suggestion(where.text, [Thinner.name, *Thinner.aliases])
        raise node.error(f"no extension named {where.text!r}", hint=hint, node=where)
    return Instance(structure(node.without("class"), Thinner), where.text)


def _class(node: Node) -> Node:
    node.expect("mapping")
    found = node.require("class")
    if not isinstance(found.value, str):
        raise node.error(f"expected the name of a class, got {found.shown}", node=found)
    return found


def _registered(node: Node, manager: PluginManager, registry: Registry[Any]) -> Instance:
    where = _class(node)
    if where.text not in registry:
        hint = suggestion(where.text, [*registry, *registry.aliases])
        for other in (manager.pruners, manager.regularizers):
            if where.text in other:
                hint = f"it is a {other.noun}: move the entry to section '{other.noun}s'"
        raise node.error(f"no {registry.noun} named {where.text!r}", hint=hint, node=where)
    found = meanings(where.text, registry.candidates(where.text))
    read = _reader(found, manager)
    return Instance(read(node), where.text, lambda levels: read(_with_levels(node, levels, found)))


def _reader(found: tuple[Meaning, ...], manager: PluginManager) -> Callable[[Node], Any]:
    def read(node: Node) -> Any:
        meaning = choose(node, found)
        entry = translate(node.without("class"), meaning)
        try:
            value = structure(entry, meaning.cls)
        except ConfigError as error:
            raise in_their_words(error, meaning) from None
        criterion = getattr(value, "criterion", None)
        if criterion is not None and criterion not in manager.criteria:
            hint = suggestion(criterion, manager.criteria)
            raise node.error(f"no criterion named {criterion!r}", hint=hint, node=node.get("criterion") or node)
        return value

    return read


def _with_levels(node: Node, levels: Node, found: tuple[Meaning, ...]) -> Node:
    """The entry with what `args.levels` of a policy says in place of its own levels."""
    meaning = choose(node, found)
    if "levels" not in keyed(meaning.cls) and "levels" not in meaning.keys:
        takers = f"{node.require('class').text} has no levels"
        raise levels.error(takers, hint="leave args.levels out, or name a pruner that takes levels")
    ours = meaning.keys.get("levels", "levels")
    replaced = {their for their, our in meaning.keys.items() if our == ours} | {"levels"}
    key = evolve(node.key("levels"), kind="scalar", pairs=(), elements=(), scalar="levels", text="levels")
    kept = tuple(pair for pair in node.pairs if pair[0].scalar not in replaced)
    return evolve(node, pairs=(*kept, (key, levels)))
