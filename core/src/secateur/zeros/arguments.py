"""Find and replace the arguments of a call by the names of its rule's signature."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from secateur.coupling.binding import BindingError, bind, parameters
from secateur.graph.ir import Op

if TYPE_CHECKING:
    from torch import Tensor

Call = tuple[tuple[Any, ...], Mapping[str, Any]]


def bound(signature: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any] | None:
    """{name: argument} of a call; None if it does not fit the signature."""
    try:
        return bind(Op(name="", kind="", module="", inputs=(), outputs=(), args=args, kwargs=kwargs), signature)
    except BindingError:
        return None


def replaced(signature: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], new: Mapping[str, Any]) -> Call:
    """The arguments with some that were given put in place of others."""
    positional, keywords = list(args), dict(kwargs)
    for place, parameter in enumerate(parameters(signature)):
        if parameter.names[0] not in new:
            continue
        if place < len(positional):
            positional[place] = new[parameter.names[0]]
        else:
            keywords |= {alias: new[parameter.names[0]] for alias in parameter.names if alias in keywords}
    return tuple(positional), keywords


def tensors_within(nested: Any) -> Iterator[Tensor]:
    """The tensors in nested tuples, lists, dicts and slices, in order."""
    import torch

    if isinstance(nested, torch.Tensor):
        yield nested
    elif isinstance(nested, Mapping):
        for entry in nested.values():
            yield from tensors_within(entry)
    elif isinstance(nested, tuple | list):
        for entry in nested:
            yield from tensors_within(entry)
    elif isinstance(nested, slice):
        yield from tensors_within((nested.start, nested.stop, nested.step))
