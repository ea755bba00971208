"""Cut the state of optimizers as their parameters are cut: compute it all first, change nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from secateur.errors import ThinError
from secateur.records import OptimizerRule, StateEntry
from secateur.thinning.optimizer.rules import rule_of
from secateur.thinning.plan import Indices

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

Cut = Callable[["Tensor", Mapping[int, Indices]], "Tensor"]
ANEW = "thin without optimizer= and make a new optimizer"
AS_IT_IS = StateEntry()


@frozen(eq=False)
class Followed:
    """What optimizers will hold: (table, key, new tensor) each, and what the user should know of it."""

    updates: list[tuple[dict[str, Any], str, Tensor]] = field(factory=list)
    notes: list[str] = field(factory=list)


def optimizers_in(given: Optimizer | Iterable[Optimizer] | None) -> tuple[Optimizer, ...]:
    """The optimizers that a user gave: one, several or none; anything else is a `ThinError`."""
    from torch.optim import Optimizer

    if given is None:
        return ()
    several = not isinstance(given, Optimizer) and isinstance(given, Iterable) and not isinstance(given, str | Mapping)
    items: tuple[Any, ...] = tuple(given) if several else (given,)  # type: ignore[arg-type]
    found: dict[int, Optimizer] = {}
    for number, each in enumerate(items):
        if not isinstance(each, Optimizer):
            where = f"optimizer[{number}]" if several else "optimizer"
            raise ThinError(f"expected a torch.optim.Optimizer, got {type(each).__name__}", where=where)
        found[id(each)] = each
    return tuple(found.values())


def follow(
    optimizers: Sequence[Optimizer],
    parameters: Mapping[str, nn.Parameter],
    cuts: Mapping[str, Mapping[int, Indices]],
    cut: Cut,
    *,
    rescale_steps: bool = False,
) -> Followed:
    """The new state of optimizers; `cut` makes the thin tensor of a dense one and {axis: indices that leave}.

    `rescale_steps`: accept that steps which depend on the shape of a parameter become those of the thin shape.

    Raises `ThinError` for state that cannot be cut, naming optimizer, parameter and entry.
    """
    found = Followed()
    leaving = {id(parameters[name]): name for name in cuts if name in parameters}
    for optimizer in optimizers:
        _check_holds(optimizer, leaving, parameters, alone=len(optimizers) == 1)
        kind, rule = type(optimizer).__name__, rule_of(optimizer)
        if rule is not None and not rule.follows:
            raise ThinError(f"{kind} {rule.reason}, which cannot be cut", where="optimizer", hint=ANEW)
        other: dict[str, tuple[float, str]] = {}
        guessed = False
        for group, parameter, name in _held(optimizer, leaving):
            state = optimizer.state.get(parameter, {})
            if rule is not None and (scale := _scale(rule, group, parameter, cuts[name])) != 1:
                other[name] = (abs(scale - 1), f"at {name} {scale:.3g} times as long")
            for key, value in state.items():
                guessed |= rule is None
                thin = _entry(kind, rule, key, value, parameter, name, cuts[name], cut)
                if thin is None:
                    continue
                found.updates.append((state, key, thin))
                if rule is not None and rule.whole and _trace(value, parameter, cuts[name]):
                    other.setdefault(name, (0, f"at {name} without the {key} of what leaves, which is not zero"))
        if other and rule is not None:
            found.notes.append(_accepted(kind, rule, list(other.values()), accepted=rescale_steps))
        if guessed:
            found.notes.append(f"nobody says how {kind} works: what has a parameter's shape was cut like it")
    return found


def _held(optimizer: Optimizer, leaving: Mapping[int, str]) -> Iterator[tuple[dict[str, Any], nn.Parameter, str]]:
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if id(parameter) in leaving:
                yield group, parameter, leaving[id(parameter)]


def _check_holds(
    optimizer: Optimizer, leaving: Mapping[int, str], parameters: Mapping[str, nn.Parameter], *, alone: bool
) -> None:
    """One optimizer of several may hold only what stays whole, but not only parameters of another model."""
    wanted = set(leaving) if alone else {id(parameter) for parameter in parameters.values()}
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    if leaving and not held & wanted:
        what = "none of the parameters that the plan cuts" if alone else "no parameter of the model"
        raise ThinError(
            f"{type(optimizer).__name__} holds {what}",
            where="optimizer",
            hint="give the optimizer that trains this model",
        )


def _scale(rule: OptimizerRule, group: Mapping[str, Any], parameter: Tensor, axes: Mapping[int, Indices]) -> float:
    """How many times as long the steps on a parameter become by its new shape."""
    if rule.step_scale is None:
        return 1.0
    shape = tuple(parameter.shape)
    thin = tuple(length - len(axes.get(axis, ())) for axis, length in enumerate(shape))
    return rule.step_scale(group, thin) / rule.step_scale(group, shape)


def _trace(value: Tensor, parameter: Tensor, axes: Mapping[int, Indices]) -> bool:
    """Whether an entry is anything but zero where slices leave, along the axes that it has."""
    import torch

    if value.dim() != parameter.dim():  # it lacks axes: too cautious is allowed
        return bool(value.count_nonzero())
    return any(
        bool(value.index_select(axis, torch.from_numpy(indices).to(value.device)).count_nonzero())
        for axis, indices in axes.items()
        if value.shape[axis] == parameter.shape[axis]
    )


def _accepted(kind: str, rule: OptimizerRule, other: Sequence[tuple[float, str]], *, accepted: bool) -> str:
    """The note on steps that become others, or `ThinError` if that was not accepted."""
    most = max(other)[1]
    if accepted:
        return f"{kind}: steps on {len(other)} parameters are now those of the thin network ({most})"
    raise ThinError(
        f"{kind} {rule.reason}, so that training on would not be the same: steps would be others on {len(other)} "
        f"parameters ({most})",
        where="optimizer",
        hint=f"give rescale_steps=True to accept the steps of the thin network, or {ANEW}",
    )


def _entry(
    kind: str,
    rule: OptimizerRule | None,
    key: str,
    value: Any,
    parameter: Tensor,
    name: str,
    axes: Mapping[int, Indices],
    cut: Cut,
) -> Tensor | None:
    """What an entry becomes; None if it stays."""
    import torch

    if not isinstance(value, torch.Tensor):
        return None
    if value.grad_fn is not None:
        what = f"{kind} keeps {key!r} as part of an autograd graph, which would not follow"
        raise ThinError(
            what, where=name, hint="detach the optimizer's state, or thin before differentiating through it"
        )
    shape = tuple(parameter.shape)
    entry = AS_IT_IS if rule is None else rule.entries.get(key, AS_IT_IS)
    if entry.cut is not None:
        return entry.cut(value, shape, axes)
    reduced = {axis % len(shape) for axis in (*entry.means, *entry.sums)}
    kept = tuple(1 if axis in reduced else length for axis, length in enumerate(shape))
    left = [axis for axis in range(len(shape)) if axis not in reduced]
    if tuple(value.shape) == kept:
        place = {axis: axis for axis in left}
    elif tuple(value.shape) == tuple(shape[axis] for axis in left):
        place = {axis: number for number, axis in enumerate(left)}
    elif value.numel() <= 1 and not reduced:
        return None
    else:
        raise ThinError(
            f"{kind} keeps {key!r} of shape {tuple(value.shape)} for a parameter of shape {shape}, which cannot be cut",
            where=name,
            hint=f"{ANEW}, or teach how by the hook secateur_optimizer_rules",
        )
    thin = cut(value, {place[axis]: indices for axis, indices in axes.items() if axis in place})
    for axis in {axis % len(shape) for axis in entry.means} & set(axes):
        thin = thin * (shape[axis] / (shape[axis] - len(axes[axis])))
    return thin
