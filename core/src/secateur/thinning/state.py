"""The tensors of a model by name, tied ones once, under the first name they have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn


def named_parameters(model: nn.Module) -> dict[str, Tensor]:
    """All parameters; a tied parameter appears once."""
    return dict(model.named_parameters())


def named_tensors(model: nn.Module) -> dict[str, Tensor]:
    """All parameters and buffers (persistent or not); a tied tensor appears once."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def get_attribute(model: nn.Module, module: str, name: str) -> Any:
    """The value of an attribute of a submodule."""
    return getattr(model.get_submodule(module), name)


def set_attribute(model: nn.Module, module: str, name: str, value: Any) -> None:
    """Set an attribute of a submodule."""
    setattr(model.get_submodule(module), name, value)
