"""The grammar of a schedule file: sections, instances and policies, read into typed records.

The shape is the one Distiller's users know: sections define named instances (`class` and its arguments), `policies`
bind an instance to epochs, either `epochs: [..]` or `starting_epoch`, `ending_epoch` (exclusive) and `frequency`.
"""

from __future__ import annotations

from typing import Any, Literal

from attrs import field, frozen

from secateur.config import Node, plain, structure
from secateur.errors import suggestion
from secateur.plugins import PluginManager
from secateur.pruning.base import Moment, Pruner
from secateur.schedule.lr import LRPolicy, check_lr_class
from secateur.schedule.thinner import Thinner

VERSION = 1
SECTIONS = ("version", "plugins", "run", "pruners", "lr_schedulers", "extensions", "policies")
LATER = {
    "regularizers": "regularizers are not supported yet",
    "quantizers": "Secateur does not quantize; remove the section",
}
KINDS = {"pruner": "pruners", "lr_scheduler": "lr_schedulers", "extension": "extensions"}

Kind = Literal["pruner", "lr_scheduler", "extension"]


@frozen(kw_only=True)
class Window:
    """The epochs of a policy: a list, or a range with a frequency."""

    epochs: tuple[int, ...] | None = None
    starting_epoch: int | None = None
    ending_epoch: int | None = None
    frequency: int = field(default=1)

    @frequency.validator
    def _check_frequency(self, attribute: Any, value: int) -> None:
        if value < 1:
            raise ValueError(f"must be at least 1, got {value}")

    def __attrs_post_init__(self) -> None:
        ranged = self.starting_epoch is not None or self.ending_epoch is not None
        if (self.epochs is not None) == ranged:
            raise ValueError("give either epochs, or starting_epoch and ending_epoch")
        if self.epochs is not None:
            if self.frequency != 1:
                raise ValueError("frequency belongs to starting_epoch and ending_epoch, not to epochs")
            if not self.epochs or min(self.epochs) < 0 or list(self.epochs) != sorted(set(self.epochs)):
                raise ValueError("epochs must be an ascending list of distinct numbers from 0 on")
            return
        if self.starting_epoch is None or self.ending_epoch is None:
            raise ValueError("starting_epoch and ending_epoch belong together")
        if not 0 <= self.starting_epoch < self.ending_epoch:
            raise ValueError(
                f"ending_epoch (exclusive) must be greater than starting_epoch, got "
                f"{self.starting_epoch} to {self.ending_epoch}"
            )

    def moment(self, epoch: int) -> Moment | None:
        """The moment of an epoch within this window, or None if nothing is due."""
        first, last = self.bounds
        due = (
            epoch in self.epochs
            if self.epochs is not None
            else first <= epoch < last and (epoch - first) % self.frequency == 0
        )
        return Moment(epoch=epoch, start=first, end=last, frequency=self.frequency) if due else None

    @property
    def bounds(self) -> tuple[int, int]:
        """The first epoch, and the one after the last."""
        if self.epochs is not None:
            return self.epochs[0], self.epochs[-1] + 1
        return self.starting_epoch or 0, self.ending_epoch or 0


@frozen(kw_only=True, eq=False)
class Policy:
    """An instance bound to its epochs."""

    kind: Kind
    name: str
    instance: Pruner | LRPolicy | Thinner
    window: Window
    where: str


@frozen(kw_only=True, eq=False)
class Schedule:
    """A schedule as read: its policies in order of declaration."""

    source: str
    policies: tuple[Policy, ...]


def read_schedule(node: Node, manager: PluginManager) -> Schedule:
    """Read the schedule sections of a file; every mistake is a `ConfigError` with file, line and key."""
    node.expect("mapping")
    for key, _ in node.items():
        if key in LATER:
            raise node.key(key).error(LATER[key])
        if key not in SECTIONS:
            raise node.key(key).error(f"unknown section {key!r}", hint=suggestion(key, SECTIONS))
    version = node.get("version")
    if version is not None and version.value != VERSION:
        raise node.error(f"expected version {VERSION}, got {version.shown}", node=version)
    instances = {
        "pruner": _instances(node, "pruners", lambda entry: _pruner(entry, manager)),
        "lr_scheduler": _instances(node, "lr_schedulers", _lr_scheduler),
        "extension": _instances(node, "extensions", _extension),
    }
    policies = node.get("policies")
    if policies is None:
        return Schedule(source=node.source, policies=())
    policies.expect("sequence")
    return Schedule(source=node.source, policies=tuple(_policy(entry, instances) for entry in policies.elements))


def _instances(node: Node, section: str, read: Any) -> dict[str, Any]:
    found = node.get(section)
    if found is None or found.value is None:
        return {}
    found.expect("mapping")
    return {name: read(entry) for name, entry in found.items()}


def _pruner(node: Node, manager: PluginManager) -> Pruner:
    where = _class(node)
    if where.text not in manager.pruners:
        known = [*manager.pruners, *manager.pruners.aliases]
        raise node.error(f"no pruner named {where.text!r}", hint=suggestion(where.text, known), node=where)
    pruner = structure(node.without("class"), manager.pruners[where.text])
    criterion = getattr(pruner, "criterion", None)
    if criterion is not None and criterion not in manager.criteria:
        hint = suggestion(criterion, manager.criteria)
        raise node.error(f"no criterion named {criterion!r}", hint=hint, node=node.get("criterion") or node)
    return pruner


def _lr_scheduler(node: Node) -> LRPolicy:
    where = _class(node)
    arguments = {key: plain(value) for key, value in node.without("class").items()}
    try:
        check_lr_class(where.text, arguments)
    except ValueError as error:
        raise node.error(str(error), node=where) from None
    return LRPolicy(where.text, arguments)


def _extension(node: Node) -> Thinner:
    where = _class(node)
    if where.text != Thinner.name and where.text not in Thinner.aliases:
        hint = suggestion(where.text, [Thinner.name, *Thinner.aliases])
        raise node.error(f"no extension named {where.text!r}", hint=hint, node=where)
    return structure(node.without("class"), Thinner)


def _class(node: Node) -> Node:
    node.expect("mapping")
    found = node.require("class")
    if not isinstance(found.value, str):
        raise node.error(f"expected the name of a class, got {found.shown}", node=found)
    return found


def _policy(node: Node, instances: dict[str, dict[str, Any]]) -> Policy:
    node.expect("mapping")
    kinds = [kind for kind in KINDS if node.get(kind) is not None]
    if len(kinds) != 1:
        raise node.error(
            f"a policy names exactly one of {', '.join(KINDS)}; found {', '.join(kinds) or 'none'}",
            hint=suggestion(next(iter(key for key, _ in node.items()), ""), KINDS),
        )
    kind: Any = kinds[0]
    binding = node.require(kind)
    binding.expect("mapping")
    for key, _ in binding.items():
        if key == "args":
            raise binding.key(key).error("policy args are not supported yet")
        if key != "instance_name":
            raise binding.key(key).error(f"unknown key {key!r}", hint=suggestion(key, ["instance_name"]))
    reference = binding.require("instance_name")
    name = str(reference.value)
    if name not in instances[kind]:
        hint = suggestion(name, instances[kind])
        raise node.error(f"no {kind} named {name!r} in section {KINDS[kind]!r}", hint=hint, node=reference)
    window = structure(node.without(kind), Window)
    instance = instances[kind][name]
    if isinstance(instance, Pruner):
        try:
            first, last = window.bounds
            instance.check(Moment(epoch=first, start=first, end=last, frequency=window.frequency))
        except ValueError as error:
            raise node.error(str(error)) from None
    return Policy(kind=kind, name=name, instance=instance, window=window, where=node.where)
