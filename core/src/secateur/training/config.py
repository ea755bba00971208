"""The `run` section of a schedule file: model, data, optimizer, and for how long."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from attrs import field, frozen
from attrs.validators import optional

from secateur.config import Node, plain, structure
from secateur.config.arguments import check_arguments, taken
from secateur.errors import CheckpointError, ConfigError, DataError, suggestion
from secateur.plugins import PluginManager

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer


def _positive(instance: Any, attribute: Any, value: int) -> None:
    if value < 1:
        raise ValueError(f"must be at least 1, got {value}")


def _above_zero(instance: Any, attribute: Any, value: float) -> None:
    if not value > 0:
        raise ValueError(f"must be above 0, got {value}")


def _seed(instance: Any, attribute: Any, value: int) -> None:
    if not 0 <= value < 1 << 63:
        raise ValueError(f"must be from 0 to 2**63 - 1, got {value}")


@frozen(kw_only=True)
class ModelConfig:
    """A registered model, the arguments it is built with, and the weights it begins with."""

    name: str
    args: dict[str, Any] = field(factory=dict)
    checkpoint: str | None = None
    """A file of `secateur.save`, thin or not, relative to where the command runs; None: fresh weights."""


@frozen(kw_only=True)
class DataConfig:
    """A registered data set, the arguments it is loaded with, and how it is fed."""

    name: str
    args: dict[str, Any] = field(factory=dict)
    batch_size: int = field(default=128, validator=_positive)
    augment: list[Literal["crop", "flip"]] = field(factory=list)
    """Of images: random crops, mirroring."""
    bptt: int = field(default=35, validator=_positive)
    """Of text: the words through which gradients go back (back-propagation through time)."""


@frozen(kw_only=True)
class RunConfig:
    """What `secateur run` needs to know beyond the schedule."""

    model: ModelConfig
    data: DataConfig
    epochs: int = field(validator=_positive)
    optimizer: Node | None = field(default=None, eq=False)
    seed: int = field(default=0, validator=_seed)
    clip_grad_norm: float | None = field(default=None, validator=optional(_above_zero))
    """The largest norm of all gradients together; larger ones are scaled down to it (Pascanu et al. 2013).
    Those of masked weights do not count."""
    autocast: Literal["bfloat16"] | None = None
    """The precision of multiplications in training (`torch.autocast`); None: that of the weights."""
    checkpoint_every: int | None = field(default=None, validator=optional(_positive))
    """Mini-batches between two checkpoints within an epoch; at the end of each epoch there is one anyway."""
    log: list[Literal["csv", "tensorboard"]] = field(factory=list)
    """What training is written down for while it goes on, into the output folder."""
    log_every: int = field(default=50, validator=_positive)
    """Mini-batches between two entries of the loss; epochs are written down anyway."""


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
    if config.data.augment and (task := manager.datasets[config.data.name].task) != "classification":
        place = section.require("data").require("augment")
        raise section.error(f"augment is for images, {config.data.name!r} is for the task {task}", node=place)
    if config.optimizer is not None:
        _optimizer_class(config.optimizer)
    return config


def _noun(key: str) -> str:
    return {"model": "model", "data": "data set"}[key]


def sizes_of(config: RunConfig, manager: PluginManager, node: Node) -> dict[str, int]:
    """What the data set says of the model: `num_classes`, `vocabulary`; its arguments are checked by the way."""
    entry = manager.datasets[config.data.name]
    with refused(entry.name, "data", node):
        return entry.model_sizes(config.data.args)


def build_model(config: RunConfig, manager: PluginManager, node: Node, sizes: Mapping[str, int]) -> nn.Module:
    """Build the model, with the sizes that the data set says unless its arguments say otherwise.

    Raises `ConfigError` if the model refuses its arguments, or is none for such data.
    """
    entry = manager.models[config.model.name]
    arguments = taken(entry.build, sizes) | config.model.args
    with refused(entry.name, "model", node):
        check_arguments(entry.build, arguments)
        return entry.build(**arguments)


@contextmanager
def refused(name: str, key: str, node: Node) -> Iterator[None]:
    """Blame the model or data set `name` for what its function refuses while the body runs: file, line and key."""
    try:
        yield
    except (ConfigError, DataError, CheckpointError) as error:
        raise node.require("run").require(key).error(error.args[0], hint=error.hint) from error
    except (TypeError, ValueError) as error:
        place = node.require("run").require(key)
        raise place.error(f"the {_noun(key)} {name!r} refuses its arguments: {error}") from error


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
