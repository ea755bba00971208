"""The policies of a schedule: which instance, with which arguments, at which epochs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, get_args

from secateur.config import Node, structure
from secateur.config.structure import keyed
from secateur.errors import ConfigError, suggestion
from secateur.pruning.base import Pruner
from secateur.pruning.regularizer import Regularizer
from secateur.schedule.instances import Instance
from secateur.schedule.policy import Kind, Policy, PolicyArgs
from secateur.schedule.window import Window

KINDS: tuple[Kind, ...] = get_args(Kind)
ARGS: Mapping[Kind, tuple[str, ...]] = {
    "pruner": tuple(key for key in keyed(PolicyArgs) if key != "count_from"),
    "regularizer": ("keep_mask",),
    "lr_scheduler": ("count_from",),
    "extension": (),
}
"""The keys of `args` that each kind of policy takes."""


def section(kind: str) -> str:
    """The section in which the instances of a kind stand."""
    return f"{kind}s"


def read_policy(node: Node, instances: Mapping[Kind, Mapping[str, Instance]]) -> Policy:
    """Read an entry of `policies`; `ConfigError` at the key that is wrong."""
    node.expect("mapping")
    if node.get("quantizer") is not None:
        raise node.key("quantizer").error("Secateur does not quantize", hint="remove the policy")
    kinds = [kind for kind in KINDS if node.get(kind) is not None]
    if len(kinds) != 1:
        raise node.error(
            f"a policy names exactly one of {', '.join(KINDS)}; found {', '.join(kinds) or 'none'}",
            hint=suggestion(next(iter(key for key, _ in node.items()), ""), KINDS) if not kinds else "split it in two",
        )
    kind = kinds[0]
    binding = node.require(kind)
    binding.expect("mapping")
    for key, _ in binding.items():
        if key not in ("instance_name", "args"):
            hint = suggestion(key, ["instance_name", "args"])
            raise binding.key(key).error(f"unknown key {key!r}", hint=hint)
    reference = binding.require("instance_name")
    reference.expect("scalar")
    name = str(reference.value)
    if name not in instances[kind]:
        elsewhere = [section(other) for other in KINDS if name in instances[other]]
        hint = f"it stands in section {elsewhere[0]!r}" if elsewhere else suggestion(name, instances[kind])
        raise node.error(f"no {kind} named {name!r} in section {section(kind)!r}", hint=hint, node=reference)
    for key in ("args", "instance_name"):
        if node.get(key) is not None:
            raise node.key(key).error(f"{key!r} belongs below {kind!r}", hint="indent it")
    window = structure(node.without(kind), Window)
    instance = instances[kind][name]
    args, value = _args(kind, binding), instance.value
    if args.levels is not None and instance.again is not None:
        value = _with_levels(binding.require("args").require("levels"), name, instance.again)
    if isinstance(value, Pruner) and value.drops and not (args.mask_on_forward_only and args.use_double_copies):
        raise binding.error(
            f"{instance.called} scales what it keeps, which must not be done again at every step",
            hint="add args: {mask_on_forward_only: true, use_double_copies: true}",
        )
    if isinstance(value, Pruner | Regularizer):
        try:
            value.check(window.whole)
        except ValueError as error:
            said = str(error)
            if said.startswith(f"{value.name} "):
                said = instance.called + said.removeprefix(value.name)
            raise node.error(said) from None
    return Policy(kind=kind, name=name, instance=value, window=window, where=node.where, args=args)


def _with_levels(levels: Node, name: str, again: Callable[[Node], Any]) -> Any:
    """The pruner with these levels; what it refuses is a mistake at the levels."""
    try:
        return again(levels)
    except ConfigError as error:
        if levels.path in error.where:
            raise
        raise levels.error(f"{name!r} refuses levels here: {error.what}", hint=error.hint) from None


def _args(kind: Kind, binding: Node) -> PolicyArgs:
    node = binding.get("args")
    if node is None or (node.kind == "scalar" and node.scalar is None):
        return PolicyArgs()
    node.expect("mapping")
    for key, _ in node.items():
        if key not in ARGS[kind]:
            if not ARGS[kind]:
                raise node.key(key).error(f"a policy of kind {kind} takes no args", hint="remove them")
            known = any(key in keys for keys in ARGS.values())
            what = f"a policy of kind {kind} does not take" if known else "unknown key"
            raise node.key(key).error(f"{what} {key!r}", hint=suggestion(key, ARGS[kind]))
    return structure(node, PolicyArgs)
