"""The optimizer in a checkpoint: state and hyper-parameters by the names of parameters, never by position or pickle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from secateur.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

PREFIX, GROUPS = "optimizer/", "optimizer_groups/"
OWN = ("params", "param_names")
"""Entries of a parameter group that say which parameters it has; names say that in the file."""


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
    return {"class": type(optimizer).__name__, "groups": groups, "state": state}


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


def check_optimizer(optimizer: Optimizer, model: nn.Module, said: Any, where: str) -> None:
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


def load_optimizer(optimizer: Optimizer, model: nn.Module, said: Any, tensor: Callable[[str], Tensor]) -> None:
    """Give the optimizer the saved state and hyper-parameters; `tensor` reads a tensor of the file by name."""
    names = group_names(optimizer, model, "optimizer")
    position = {name: i for i, name in enumerate(name for members in names for name in members)}
    groups = []
    for mine, members, group in zip(optimizer.param_groups, names, said["groups"], strict=True):
        options = {key: _decode(value, tensor) for key, value in group["options"].items()}
        kept = {key: value for key, value in mine.items() if key != "params"}
        groups.append({**kept, **options, "params": [position[name] for name in members]})
    state = {
        position[name]: {key: _decode(value, tensor) for key, value in held.items()}
        for name, held in said["state"].items()
    }
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def tensor_names(said: Any) -> set[str]:
    """The names of all tensors that belong to the optimizer; `KeyError`, `TypeError`, … if what is said is damaged."""
    if said is None:
        return set()
    found: list[str] = []
    for held in [*(group["options"] for group in said["groups"]), *said["state"].values()]:
        for value in held.values():
            _decode(value, found.append)
    known = {name for group in said["groups"] for name in group["parameters"]}
    if strange := sorted(set(said["state"]) - known):
        raise ValueError(f"state of {strange[0]!r}, which is in no group")
    if not isinstance(said["class"], str):
        raise TypeError("the class has no name")
    return set(found)


def _encode(value: Any, name: str, tensors: dict[str, Tensor], where: str) -> Any:
    import torch

    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, torch.Tensor):
        while name in tensors:
            name += "_"
        tensors[name] = value
        return {"tensor": name}
    if isinstance(value, tuple | list):
        kind = "tuple" if isinstance(value, tuple) else "list"
        return {kind: [_encode(entry, f"{name}/{i}", tensors, where) for i, entry in enumerate(value)]}
    if isinstance(value, Mapping):
        return {"dict": [[k, _encode(entry, f"{name}/{k}", tensors, where)] for k, entry in value.items()]}
    what = f"{name} is a {type(value).__name__}, which a checkpoint cannot hold"
    raise CheckpointError(what, where=where, hint="save without optimizer=")


def _decode(value: Any, tensor: Callable[[str], Any]) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, held),) = value.items()
    if kind == "tensor":
        return tensor(held)
    if kind == "dict":
        return {key: _decode(entry, tensor) for key, entry in held}
    return {"tuple": tuple, "list": list}[kind](_decode(entry, tensor) for entry in held)
