"""The grammar of a schedule file: sections, instances and policies, read into typed records.

The shape is the one Distiller's users know: sections define named instances (`class` and its arguments), `policies`
bind an instance to epochs, either `epochs: [..]` or `starting_epoch`, `ending_epoch` (exclusive) and `frequency`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from secateur.config import Node
from secateur.config.structure import convert
from secateur.errors import PluginError, suggestion
from secateur.plugins import PluginManager
from secateur.schedule.instances import Instance, read_extension, read_lr_scheduler, read_pruner, read_regularizer
from secateur.schedule.policies import read_policy, section
from secateur.schedule.policy import Kind, Policy, Schedule, Window

__all__ = ["Policy", "Schedule", "Window", "read_schedule"]

VERSION = 1
READERS: Mapping[Kind, Callable[[Node, PluginManager], Instance]] = {
    "pruner": read_pruner,
    "regularizer": read_regularizer,
    "lr_scheduler": read_lr_scheduler,
    "extension": read_extension,
}
SECTIONS = ("version", "plugins", "run", *map(section, READERS), "policies")
REFUSED = {"quantizers": ("Secateur does not quantize", "remove the section and its policies")}


def read_schedule(node: Node, manager: PluginManager) -> Schedule:
    """Read the schedule sections of a file; every mistake is a `ConfigError` with file, line and key."""
    node.expect("mapping")
    for key, _ in node.items():
        if key in REFUSED:
            what, instead = REFUSED[key]
            raise node.key(key).error(what, hint=instead)
        if key not in SECTIONS:
            raise node.key(key).error(f"unknown section {key!r}", hint=suggestion(key, SECTIONS))
    version = node.get("version")
    if version is not None and (version.kind != "scalar" or version.scalar is True or version.scalar != VERSION):
        raise node.error(f"expected version {VERSION}, got {version.shown}", node=version)
    _require_plugins(node, manager)
    instances = {kind: _instances(node, kind, manager) for kind in READERS}
    policies = node.get("policies")
    if policies is None or _empty(policies):
        return Schedule(source=node.source, policies=())
    policies.expect("sequence")
    return Schedule(source=node.source, policies=tuple(read_policy(entry, instances) for entry in policies.elements))


def _require_plugins(node: Node, manager: PluginManager) -> None:
    """Insist on the plugins that the section `plugins` lists."""
    found = node.get("plugins")
    if found is None or _empty(found):
        return
    found.expect("sequence")
    for name in found.elements:
        try:
            manager.require(convert(name, str))
        except PluginError as error:
            raise name.error(error.what, hint=error.hint) from error


def _instances(node: Node, kind: Kind, manager: PluginManager) -> dict[str, Instance]:
    found = node.get(section(kind))
    if found is None or _empty(found):
        return {}
    found.expect("mapping")
    return {name: READERS[kind](entry, manager) for name, entry in found.items()}


def _empty(node: Node) -> bool:
    """A section whose name stands there, and nothing else."""
    return node.kind == "scalar" and node.scalar is None
