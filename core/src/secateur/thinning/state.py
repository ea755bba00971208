"""The tensors of a model by name, tied ones once, under the first name they have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from secateur.graph.modules import modules_of

if TYPE_CHECKING:
    from torch import Tensor, nn


def named_parameters(model: nn.Module) -> dict[str, Tensor]:
    """All parameters; a tied parameter appears once."""
    return _once((path, module._parameters) for path, module in modules_of(model))


def named_tensors(model: nn.Module) -> dict[str, Tensor]:
    """All parameters and buffers (persistent or not); a tied tensor appears once."""
    modules = modules_of(model)
    return {
        **_once((path, module._parameters) for path, module in modules),
        **_once((path, module._buffers) for path, module in modules),
    }


def _once(tables: Iterable[tuple[str, Mapping[str, Tensor | None]]]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    seen: set[int] = set()
    for path, table in tables:
        for name, tensor in table.items():
            if tensor is not None and id(tensor) not in seen:
                seen.add(id(tensor))
                found[f"{path}.{name}" if path else name] = tensor
    return found


def get_attribute(model: nn.Module, module: str, name: str) -> Any:
    """The value of an attribute of a submodule."""
    return getattr(model.get_submodule(module), name)


def set_attribute(model: nn.Module, module: str, name: str, value: Any) -> None:
    """Set an attribute of a submodule."""
    setattr(model.get_submodule(module), name, value)
