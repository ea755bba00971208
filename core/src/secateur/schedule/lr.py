"""Learning-rate schedulers by their class names in `torch.optim.lr_scheduler`, and the two that Distiller adds.

`PolynomialLR` takes torch's `total_iters` or Distiller's `T_max`, which say the same. `MultiStepMultiGammaLR` is in
`secateur.schedule.multigamma`.
"""

from __future__ import annotations

import collections.abc
import copy
import inspect
import typing
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from attrs import frozen

from secateur.config import Node, plain
from secateur.config.describe import LISTS, MAPPINGS, members
from secateur.config.scalars import READERS
from secateur.config.structure import convert
from secateur.errors import suggestion

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

GIVEN = ("optimizer", "last_epoch")
"""Arguments that the scheduler gives."""
RENAMED = {"PolynomialLR": {"T_max": "total_iters"}}
_FUNCTION = "takes a Python function, which a schedule cannot say"
_OTHERS = "takes other schedulers; give each an entry of its own under lr_schedulers"
REFUSED = {
    "LambdaLR": (_FUNCTION, "write MultiStepMultiGammaLR or PolynomialLR, or step it in the training loop"),
    "MultiplicativeLR": (_FUNCTION, "write ExponentialLR or MultiStepMultiGammaLR, or step it in the training loop"),
    "SequentialLR": (_OTHERS, "bind each to its epochs by a policy"),
    "ChainedScheduler": (_OTHERS, "bind all of them to the same epochs, by a policy each: their factors multiply"),
}
"""Classes of torch that YAML cannot say, why, and what to write instead."""


@frozen
class LRPolicy:
    """A learning-rate scheduler to be made when the optimizer is known."""

    class_name: str
    arguments: Mapping[str, Any]

    def check(self, optimizer: Optimizer) -> None:
        """Raise `ValueError` if the class refuses its arguments for such an optimizer, which is not touched."""
        twin = copy.copy(optimizer)
        twin.param_groups = [dict(group) for group in optimizer.param_groups]
        self.make(twin)

    def make(self, optimizer: Optimizer) -> LRScheduler:
        """Make the scheduler; a `ValueError` says what its class refuses."""
        try:
            made: LRScheduler = lr_classes()[self.class_name](optimizer, **self.arguments)
        except (TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"{self.class_name} refuses its arguments: {error}") from error
        return made


@frozen
class Argument:
    """An argument of a scheduler's class: what it is annotated with, and whether it must be given."""

    hint: Any
    required: bool


def lr_classes() -> dict[str, type[LRScheduler]]:
    """The classes that a schedule may name."""
    import torch.optim.lr_scheduler as module

    from secateur.schedule.multigamma import MultiStepMultiGammaLR

    found = {
        name: cls
        for name, cls in vars(module).items()
        if inspect.isclass(cls) and issubclass(cls, module.LRScheduler) and not name.startswith("_")
    }
    return {
        name: cls
        for name, cls in sorted((found | {"MultiStepMultiGammaLR": MultiStepMultiGammaLR}).items())
        if name not in REFUSED and cls is not module.LRScheduler
    }


def lr_arguments(cls: type) -> dict[str, Argument]:
    """What the class of a scheduler takes, by the key a schedule writes; arguments only Python can say are left out."""
    abstract = {name: getattr(collections.abc, name) for name in collections.abc.__all__}
    try:
        hints = typing.get_type_hints(cls.__init__, localns=abstract)  # type: ignore[misc]
    except NameError:  # an annotation names what torch imports for type checkers only
        hints = {}
    given = {
        name: Argument(hint=hints.get(name, Any), required=parameter.default is parameter.empty)
        for name, parameter in list(inspect.signature(cls).parameters.items())
        if name not in GIVEN
    }
    return {name: argument for name, argument in given.items() if not _calls(argument.hint)}


def _calls(hint: Any) -> bool:
    return any(typing.get_origin(member) is collections.abc.Callable for member in members(hint))


def read_lr(node: Node, place: Node) -> LRPolicy:
    """Read an entry of `lr_schedulers`; `place` is its `class`. Raises `ConfigError` at the key that is wrong."""
    classes, name = lr_classes(), place.text
    if name in REFUSED:
        why, instead = REFUSED[name]
        raise node.error(f"{name} {why}", hint=instead, node=place)
    if name not in classes:
        raise node.error(f"no learning-rate scheduler named {name!r}", hint=suggestion(name, classes), node=place)
    known, renamed = lr_arguments(classes[name]), RENAMED.get(name, {})
    found: dict[str, Node] = {}
    for key, value in node.without("class").items():
        ours = renamed.get(key, key)
        if key in GIVEN:
            raise node.key(key).error(f"{key!r} is given by Secateur", hint="leave it out")
        if ours not in known:
            raise node.key(key).error(f"unknown key {key!r}", hint=suggestion(key, [*known, *renamed]))
        if ours in found:
            others = " and ".join([*(their for their in renamed if renamed[their] == ours), ours])
            raise node.key(key).error(f"{others} say the same", hint="keep one")
        found[ours] = value
    missing = [repr(key) for key, argument in known.items() if argument.required and key not in found]
    if missing:
        raise node.error(f"required {'key' if len(missing) == 1 else 'keys'} missing: {', '.join(missing)}")
    arguments = {key: _value(value, known[key].hint) for key, value in found.items()}
    check: Callable[..., None] | None = getattr(classes[name], "check_arguments", None)
    if check is not None:
        try:
            check(**arguments)
        except ValueError as error:
            raise node.error(str(error)) from None
    return LRPolicy(name, arguments)


def _value(node: Node, hint: Any) -> Any:
    known = all(
        member in READERS or (typing.get_origin(member) or member) in (*LISTS, *MAPPINGS, typing.Literal)
        for member in members(hint)
    )
    return convert(node, hint) if known else plain(node)
