"""The kinds of records that plugins add: one hook, one record type and one way of naming each."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from attrs import frozen

from secateur.errors import PluginError
from secateur.plugins.registry import no_aliases, own_name
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

if TYPE_CHECKING:
    from secateur.pruning.base import Pruner
    from secateur.pruning.regularizer import Regularizer

T = TypeVar("T")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


@frozen(kw_only=True)
class Kind(Generic[T]):
    """What a registration hook must return, and how its records are found."""

    hook: str
    noun: str
    """What one is called in messages."""
    wanted: str
    """The record type in messages."""
    accepts: Callable[[object], bool]
    keys: Callable[[T], Iterable[str]] = own_name
    aliases: Callable[[T], Iterable[str]] = no_aliases
    share_aliases: bool = False
    """Whether several records may have one alias."""

    def check(self, returned: object) -> tuple[T, ...]:
        """Return what the hook returned as a tuple of records; `PluginError` if it is something else."""
        if not isinstance(returned, Iterable) or isinstance(returned, str | bytes | type):
            raise PluginError(f"{self.hook} returned {_shown(returned)}", hint=f"return a list of {self.wanted}")
        records = tuple(returned)
        seen: set[str] = set()
        shared: set[str] = set()
        for index, record in enumerate(records):
            place = f"item {index} of {self.hook}"
            if not self.accepts(record):
                raise PluginError(f"{place} is {_shown(record)}", hint=f"every item must be a {self.wanted}")
            own, further = _names(self.keys(record), place), _names(self.aliases(record), place)
            if self.share_aliases:
                shared.update(further)
                further = ()
            for key in [*own, *further]:
                if key in seen:
                    raise PluginError(f"{self.hook} provides the {self.noun} {key!r} twice")
                seen.add(key)
        for key in sorted(seen & shared):
            raise PluginError(f"{self.hook} provides the {self.noun} {key!r} twice")
        return records


def _names(names: object, place: str) -> tuple[str, ...]:
    """Check the names of a record: a lone string would silently be taken letter by letter."""
    if not isinstance(names, tuple | list) or not all(isinstance(name, str) and name for name in names):
        raise PluginError(
            f"{place} is named {_shown(names)}", hint="names must be non-empty strings, in a tuple if several"
        )
    return tuple(names)


def _is(record_type: type) -> Callable[[object], bool]:
    return lambda record: isinstance(record, record_type)


def _is_named_class(record: object) -> bool:
    return isinstance(record, type) and hasattr(record, "name") and not inspect.isabstract(record)


def _spellings(record: Any) -> Iterable[str]:
    return tuple(dict.fromkeys(spelling.name for spelling in getattr(record, "spellings", ())))


PRUNERS: Final[Kind[type[Pruner]]] = Kind(
    hook="secateur_pruners",
    noun="pruner",
    wanted="concrete class with a `name`",
    accepts=_is_named_class,
    aliases=_spellings,
    share_aliases=True,
)
REGULARIZERS: Final[Kind[type[Regularizer]]] = Kind(
    hook="secateur_regularizers",
    noun="regularizer",
    wanted="concrete class with a `name`",
    accepts=_is_named_class,
    aliases=_spellings,
    share_aliases=True,
)
CRITERIA: Final[Kind[Criterion]] = Kind(
    hook="secateur_criteria", noun="criterion", wanted="Criterion", accepts=_is(Criterion)
)
BUILDERS: Final[Kind[GraphBuilder]] = Kind(
    hook="secateur_graph_builders", noun="graph builder", wanted="GraphBuilder", accepts=_is(GraphBuilder)
)
OP_RULES: Final[Kind[OpRule]] = Kind(
    hook="secateur_op_rules",
    noun="op rule",
    wanted="OpRule",
    accepts=_is(OpRule),
    keys=lambda rule: rule.ops,
)
ADAPTERS: Final[Kind[LayerAdapter]] = Kind(
    hook="secateur_layer_adapters",
    noun="layer adapter",
    wanted="LayerAdapter",
    accepts=_is(LayerAdapter),
    keys=lambda adapter: adapter.types,
)
OPTIMIZER_RULES: Final[Kind[OptimizerRule]] = Kind(
    hook="secateur_optimizer_rules",
    noun="optimizer rule",
    wanted="OptimizerRule",
    accepts=_is(OptimizerRule),
    keys=lambda rule: rule.types,
)
MODELS: Final[Kind[ModelEntry]] = Kind(
    hook="secateur_models", noun="model", wanted="ModelEntry", accepts=_is(ModelEntry)
)
DATASETS: Final[Kind[DatasetEntry]] = Kind(
    hook="secateur_datasets", noun="data set", wanted="DatasetEntry", accepts=_is(DatasetEntry)
)
COMMANDS: Final[Kind[Command]] = Kind(hook="secateur_commands", noun="command", wanted="Command", accepts=_is(Command))

KINDS: Final[tuple[Kind[Any], ...]] = (
    PRUNERS,
    REGULARIZERS,
    CRITERIA,
    BUILDERS,
    OP_RULES,
    ADAPTERS,
    OPTIMIZER_RULES,
    MODELS,
    DATASETS,
    COMMANDS,
)
