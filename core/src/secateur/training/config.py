"""The `run` section of a schedule file: model, data, optimizer, and for how long."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from attrs import field, frozen
from attrs.validators import optional

from secateur.config import Node, plain, structure
from secateur.errors import suggestion
from secateur.plugins import PluginManager

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer


def _positive(instance: Any, attribute: Any, value: int) -> None:
    if value < 1:
        raise ValueError(f"must be at least 1, got {value}")


@frozen(kw_only=True)
class ModelConfig:
    """A registered model and the arguments it is built with."""

    name: str
    args: dict[str, Any] = field(factory=dict)


@frozen(kw_only=True)
class DataConfig:
    """A registered data set, the arguments it is loaded with, and how it is fed."""

    name: str
    args: dict[str, Any] = field(factory=dict)
    batch_size: int = field(default=128, validator=_positive)
    augment: list[Literal["crop", "flip"]] = field(factory=list)


@frozen(kw_only=True)
class RunConfig:
    """What `secateur run` needs to know beyond the schedule."""

    model: ModelConfig
    data: DataConfig
    epochs: int = field(validator=_positive)
    optimizer: Node | None = field(default=None, eq=False)
    seed: int = 0
    checkpoint_every: int | None = field(default=None, validator=optional(_positive))
    """Mini-batches between two checkpoints within an epoch; at the end of each epoch there is one anyway."""


def read_run(node: Node, manager: PluginManager, replace: Mapping[str, Any] | None = None) -> RunConfig:
    """Read the `run` section; `replace` holds what the command line says instead (name of model or data, epochs, seed).

    Raises `ConfigError` for anything unknown, naming file, line and key.
    """
    section = node.get("run")
    if section is None:
        raise node.error(
            "there is no section 'run'",
            hint="it names model, data, optimizer and epochs; a schedule without it is for Scheduler.from_yaml",
        )
    config = structure(section, RunConfig)
    for key, registry in (("model", manager.models), ("data", manager.datasets)):
        name = getattr(config, key).name
        if name not in registry:
            place = section.require(key).require("name")
            hint = f"{suggestion(name, registry)}; your own is added by a plugin, --plugin-file FILE takes one"
            raise section.error(f"no {_noun(key)} named {name!r}", hint=hint, node=place)
    if config.optimizer is not None:
        _optimizer_class(config.optimizer)
    return config


def _noun(key: str) -> str:
    return {"model": "model", "data": "data set"}[key]


def build_model(config: RunConfig, manager: PluginManager, node: Node) -> nn.Module:
    """Build the model, with as many classes as the data set has unless its arguments say otherwise."""
    entry, arguments = manager.models[config.model.name], dict(config.model.args)
    known = inspect.signature(entry.build).parameters.values()
    takes = any(p.name == "num_classes" or p.kind is p.VAR_KEYWORD for p in known)
    if takes and "num_classes" not in arguments:
        arguments["num_classes"] = manager.datasets[config.data.name].classes
    try:
        return entry.build(**arguments)
    except (TypeError, ValueError) as error:
        place = node.require("run").require("model")
        raise place.error(f"the model {entry.name!r} refuses its arguments: {error}") from error


def build_optimizer(config: RunConfig, model: nn.Module) -> Optimizer:
    """Build the optimizer; SGD with learning rate 0.1 and momentum 0.9 if none is named."""
    import torch

    if config.optimizer is None:
        return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    made, arguments = _optimizer_class(config.optimizer)
    try:
        optimizer: Optimizer = made(model.parameters(), **arguments)
    except (TypeError, ValueError) as error:
        raise config.optimizer.error(f"{made.__name__} refuses its arguments: {error}") from error
    return optimizer


def _optimizer_class(node: Node) -> tuple[Any, dict[str, Any]]:
    import torch

    node.expect("mapping")
    place = node.require("class")
    classes = {
        name: found
        for name, found in vars(torch.optim).items()
        if inspect.isclass(found) and issubclass(found, torch.optim.Optimizer) and found is not torch.optim.Optimizer
    }
    name = str(place.value)
    if name not in classes:
        raise node.error(f"no optimizer named {name!r}", hint=suggestion(name, classes), node=place)
    return classes[name], {key: plain(value) for key, value in node.without("class").items()}
