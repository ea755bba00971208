"""The optimizer in a checkpoint: state and hyper-parameters by the names of parameters, never by position or pickle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import TYPE_CHECKING, Any

from secateur.checkpoint.header import Header
from secateur.checkpoint.tree import decode, encode
from secateur.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

PREFIX, GROUPS = "optimizer/", "optimizer_groups/"
OWN = ("params", "param_names")
"""Entries of a parameter group that say which parameters it has; names say that in the file."""
STEPPED = "_opt_called"
"""Where torch notes that an optimizer made a step, without which learning-rate schedulers warn."""
OTHER_SHAPES = ("Adafactor", "LBFGS", "Muon")
"""Optimizers of torch that keep state of other shapes than the parameters'."""


def save_optimizer(optimizer: Optimizer, model: nn.Module, tensors: dict[str, Tensor], where: str) -> dict[str, Any]:
    """Add the optimizer's tensors to `tensors` and return the rest of what it holds, fit for JSON.

    Raises `CheckpointError` for parameters that are not the model's and for state that is no tensor, number or string.
    """
    names = group_names(optimizer, model, where)
    groups = []
    for number, (group, members) in enumerate(zip(optimizer.param_groups, names, strict=True)):
        options = {
            str(key): _encode(value, f"{GROUPS}{number}/{key}", tensors, where)
            for key, value in group.items()
            if key not in OWN
        }
        groups.append({"parameters": members, "options": options})
    state: dict[str, Any] = {}
    for group, members in zip(optimizer.param_groups, names, strict=True):
        for parameter, name in zip(group["params"], members, strict=True):
            if parameter in optimizer.state:
                held = optimizer.state[parameter]
                state[name] = {
                    str(key): _encode(value, f"{PREFIX}{name}/{key}", tensors, where) for key, value in held.items()
                }
    stepped = bool(optimizer.state) or bool(getattr(optimizer, STEPPED, False))
    return {"class": type(optimizer).__name__, "groups": groups, "state": state, "stepped": stepped}


def group_names(optimizer: Optimizer, model: nn.Module, where: str) -> list[list[str]]:
    """The names of the parameters of each group, in its order."""
    known = {id(parameter): name for name, parameter in model.named_parameters()}
    found = []
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if id(parameter) not in known:
                what = f"the optimizer holds a parameter of shape {tuple(parameter.shape)} that is not the model's"
                hint = "make the optimizer of the parameters of this very model"
                raise CheckpointError(what, where=where, hint=hint)
        found.append([known[id(parameter)] for parameter in group["params"]])
    return found


def check_optimizer(optimizer: Optimizer, model: nn.Module, said: Any, header: Header, where: str) -> None:
    """Raise `CheckpointError` unless what the file says of an optimizer fits this one."""
    if said is None:
        hint = "load it without optimizer=, or save with optimizer="
        raise CheckpointError("it holds no optimizer", where=where, hint=hint)
    mine = type(optimizer).__name__
    if said["class"] != mine:
        what = f"it holds the state of {said['class']}, the optimizer given is {mine}"
        raise CheckpointError(what, where=where, hint=f"give a new {said['class']} of the model's parameters")
    names = group_names(optimizer, model, where)
    if len(names) != len(said["groups"]):
        what = f"its optimizer has {len(said['groups'])} parameter groups, the one given has {len(names)}"
        raise CheckpointError(what, where=where, hint="make the groups as they were when it was saved")
    for number, (members, group) in enumerate(zip(names, said["groups"], strict=True)):
        stray = sorted(set(members) ^ set(group["parameters"]))
        if stray:
            there = "given, not in the file" if stray[0] in members else "in the file, not given"
            what = f"group {number} of the optimizer differs: {stray[0]!r} is {there}"
            raise CheckpointError(what, where=where, hint="make the groups as they were when it was saved")
        _check_options(number, optimizer.param_groups[number], group["options"], where)
    if type(optimizer).__module__.startswith("torch.optim.") and mine not in OTHER_SHAPES:
        for name, held in said["state"].items():
            for key, value in held.items():
                _check_shape(name, key, value, header, where)


def _check_shape(name: str, key: str, value: Any, header: Header, where: str) -> None:
    """The state of most optimizers is of the parameter's shape, or a single number."""
    if not isinstance(value, Mapping) or "tensor" not in value:
        return
    found, wanted = header.tensors[value["tensor"]].shape, header.tensors[f"model/{name}"].shape
    if found != wanted and prod(found) != 1:
        what = f"its optimizer keeps {key!r} of shape {found} for {name!r} of shape {wanted}"
        raise CheckpointError(what, where=where, hint="save it again")


def _check_options(number: int, mine: Mapping[str, Any], said: Mapping[str, Any], where: str) -> None:
    """The options of a group are those that the optimizer has, and those that learning-rate schedulers add."""
    for key, value in said.items():
        if key in OWN:
            raise CheckpointError(f"group {number} of its optimizer is damaged: {key!r}", where=where)
        here, there = _sort(mine.get(key)), _sort(decode(value, lambda _: 0.0))
        if here is not None and there is not None and here != there:
            what = f"{key!r} of group {number} of its optimizer is {str(value)[:80]}, here it is {mine[key]!r}"
            raise CheckpointError(what, where=where, hint="give an optimizer made as the one that was saved")


def _sort(option: Any) -> str | None:
    """What an option must be in both: numbers, texts, or so many values; None goes with all."""
    if option is None:
        return None
    if isinstance(option, tuple | list):
        return f"{len(option)} values"
    return "text" if isinstance(option, str) else "number"


def load_optimizer(optimizer: Optimizer, model: nn.Module, said: Any, tensor: Callable[[str], Tensor]) -> None:
    """Give the optimizer the saved state and hyper-parameters; `tensor` reads a tensor of the file by name."""
    names = group_names(optimizer, model, "optimizer")
    position = {name: i for i, name in enumerate(name for members in names for name in members)}
    groups = []
    for mine, members, group in zip(optimizer.param_groups, names, said["groups"], strict=True):
        options = {key: decode(value, tensor) for key, value in group["options"].items()}
        kept = {key: value for key, value in mine.items() if key != "params"}
        groups.append({**kept, **options, "params": [position[name] for name in members]})
    state = {
        position[name]: {key: decode(value, tensor) for key, value in held.items()}
        for name, held in said["state"].items()
    }
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    _keep_dtypes(optimizer, names, said["state"], tensor)
    if said.get("stepped"):
        setattr(optimizer, STEPPED, True)


def _keep_dtypes(
    optimizer: Optimizer, names: list[list[str]], state: Mapping[str, Any], tensor: Callable[[str], Tensor]
) -> None:
    """Undo that torch rounds all state to the dtype of the parameters, where those are in the dtype of the file."""
    import torch

    for group, members in zip(optimizer.param_groups, names, strict=True):
        for parameter, name in zip(group["params"], members, strict=True):
            if name not in state or tensor(f"model/{name}").dtype != parameter.dtype:
                continue
            held = optimizer.state[parameter]
            for key, value in state[name].items():
                saved = decode(value, tensor)
                if isinstance(saved, torch.Tensor) and saved.dtype != held[key].dtype:
                    held[key] = saved.to(held[key].device)


def optimizer_tensors(said: Any) -> list[str]:
    """The names of all tensors that belong to the optimizer; `KeyError`, `TypeError`, … if what is said is damaged."""
    if said is None:
        return []
    found: list[str] = []
    for held in [*(group["options"] for group in said["groups"]), *said["state"].values()]:
        for value in held.values():
            decode(value, found.append)
    known = {name for group in said["groups"] for name in group["parameters"]}
    if strange := sorted(set(said["state"]) - known):
        raise ValueError(f"state of {strange[0]!r}, which is in no group")
    if not isinstance(said["class"], str):
        raise TypeError("the class has no name")
    return found


def _encode(value: Any, name: str, tensors: dict[str, Tensor], where: str) -> Any:
    try:
        return encode(value, name, tensors)
    except (TypeError, ValueError) as error:
        what = f"{error}, which a checkpoint cannot hold"
        raise CheckpointError(what, where=where, hint="save without optimizer=") from error
