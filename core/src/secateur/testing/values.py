"""Weights, statistics and inputs that no wrong coupling can hide behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from secateur.testing.broken import LawBroken

if TYPE_CHECKING:
    from torch import nn

M = TypeVar("M", bound="nn.Module")


def randomised(model: M, seed: int = 0) -> M:
    """Give every parameter and buffer of a model random float64 values, set eval mode, and return the model.

    Weights are scaled by their fan-in, so that a signal passes through many layers; none is close to zero. Gains,
    biases and the statistics of norms are disturbed too; variances (buffers named `...var`) stay positive.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    model.to(torch.float64)
    with torch.no_grad():
        for parameter in model.parameters():
            fan = max(parameter[0].numel(), 1) if parameter.dim() > 1 else 1
            values = torch.randn(parameter.shape, generator=generator, dtype=torch.float64) / fan**0.5
            parameter.copy_(values + 0.3 / fan**0.5 * values.sign())
        for name, buffer in model.named_buffers():
            if buffer.is_floating_point():
                values = torch.rand(buffer.shape, generator=generator, dtype=torch.float64)
                buffer.copy_(values + 0.5 if name.endswith("var") else values - 0.5)
    return model.eval()


def redrawn(inputs: Any, seed: int = 0) -> Any:
    """Inputs of the same structure with new values: normal float64 numbers; integers are shuffled, booleans stay."""
    import torch
    from torch.utils import _pytree as pytree

    generator = torch.Generator().manual_seed(seed)

    def draw(leaf: Any) -> Any:
        if not isinstance(leaf, torch.Tensor) or leaf.dtype == torch.bool:
            return leaf
        if leaf.is_floating_point():
            return torch.randn(leaf.shape, generator=generator, dtype=torch.float64)
        return leaf.reshape(-1)[torch.randperm(leaf.numel(), generator=generator)].reshape(leaf.shape)

    return pytree.tree_map(draw, inputs)


@contextmanager
def unchanged(model: nn.Module, what: str) -> Iterator[None]:
    """Raise `LawBroken` if the body changes a model: its numbers, identities, flags, attributes, hooks or the RNG."""
    import torch

    before = _seen(model)
    values = {name: tensor.detach().clone() for name, tensor in _tensors(model).items()}
    random = torch.get_rng_state()
    yield
    if (after := _seen(model)) != before:
        different = [
            f"{key[0] or 'model'}.{key[1]}" for key in {**before, **after} if before.get(key) != after.get(key)
        ]
        raise LawBroken(f"{what} changed the model: {', '.join(sorted(different))}")
    for name, tensor in _tensors(model).items():
        if not torch.equal(tensor, values[name]):
            raise LawBroken(f"{what} changed the model: the numbers in {name}")
    if not torch.equal(torch.get_rng_state(), random):
        raise LawBroken(f"{what} changed the random state of torch")


def _tensors(model: nn.Module) -> dict[str, Any]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def _seen(model: nn.Module) -> dict[tuple[str, str], Any]:
    """All that modules hold besides numbers, in a form that can be compared: values if plain, else identities."""
    found: dict[tuple[str, str], Any] = {}
    for path, module in model.named_modules():
        for name, held in module.__dict__.items():
            if isinstance(held, dict):
                found[path, name] = [(key, id(value)) for key, value in held.items()]
            elif isinstance(held, list | tuple | bool | int | float | str):
                found[path, name] = (type(held), repr(held))
            else:
                found[path, name] = id(held)
    return found
