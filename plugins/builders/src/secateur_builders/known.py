"""What is known of a torch function, whatever its arguments: looked up once for each in a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import frozen

from secateur_builders.calls import operation_name, own_name
from secateur_builders.kernels import kernel_of
from secateur_builders.kernels.common import Kernel
from secateur_builders.shapes import SIZE_CALLS

VALUE_READS = frozenset({"numpy", "tolist", "array", "dlpack", "data_ptr", "storage", "untyped_storage"})
"""Calls that take the numbers out of torch's sight; they are recorded without outputs, and no rule knows them."""

DECISIONS = frozenset({"bool", "int", "float", "index", "item", "is_nonzero", "equal", "allclose", "contains"})
"""Calls that turn a tensor into a plain value, by which the forward may take one path or another."""

CHANGES_MEMORY = frozenset({"property_set", "set", "resize", "resize_as"})
"""Calls after which a tensor may lie in other memory."""


@frozen(eq=False)
class Call:
    """What is known of a torch function, whatever its arguments."""

    name: str
    in_place: bool
    reflected: bool
    own: bool
    """Whether it is no function of torch; see `own_name`."""
    size: Callable[..., Any] | None
    """How a question about sizes is answered."""
    kernel: Kernel | None
    """What works out the shape of the outcome for tensors without data, for some operations."""

    @classmethod
    def of(cls, func: Any) -> Call:
        """Look a function up."""
        name, in_place, reflected = operation_name(func)
        own = bool(own_name(func))
        kernel = None if own else kernel_of(name, in_place)
        return cls(name, in_place, reflected, own, SIZE_CALLS.get(name), kernel)
