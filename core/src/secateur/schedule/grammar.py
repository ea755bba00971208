"""The grammar of a schedule file: sections, instances and policies, read into typed records.

The shape is the one Distiller's users know: sections define named instances (`class` and its arguments), `policies`
bind an instance to epochs, either `epochs: [..]` or `starting_epoch`, `ending_epoch` (exclusive) and `frequency`.
"""

from __future__ import annotations

from typing import Any

from secateur.config import Node, plain, structure
from secateur.errors import suggestion
from secateur.plugins import PluginManager
from secateur.pruning.base import Moment, Pruner
from secateur.schedule.lr import LRPolicy, check_lr_class
from secateur.schedule.policy import Policy, Schedule, Window
from secateur.schedule.thinner import Thinner

VERSION = 1
SECTIONS = ("version", "plugins", "run", "pruners", "lr_schedulers", "extensions", "policies")
LATER = {
    "regularizers": "regularizers are not supported yet",
    "quantizers": "Secateur does not quantize; remove the section",
}
KINDS = {"pruner": "pruners", "lr_scheduler": "lr_schedulers", "extension": "extensions"}

__all__ = ["Policy", "Schedule", "Window", "read_schedule"]


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
