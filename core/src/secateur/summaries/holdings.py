"""What each module holds: its parameters and buffers, in numbers and bytes, each tensor once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define

from secateur.errors import SecateurError
from secateur.graph.modules import modules_of
from secateur.summaries.table import Cell, Column, Table

if TYPE_CHECKING:
    from torch import Tensor, nn

KB = 1000
ITSELF = "(model)"
"""What the model itself is called among its modules."""


@define
class Holding:
    """What lies in one row: numbers of parameters, how many of them train, bytes of parameters and of buffers."""

    type: str
    parameters: int = 0
    trained: int = 0
    weight_bytes: int = 0
    buffer_bytes: int = 0

    def add(self, tensor: Tensor, is_buffer: bool) -> None:
        """Count one tensor."""
        size = tensor.numel() * tensor.element_size()
        if is_buffer:
            self.buffer_bytes += size
            return
        self.parameters += tensor.numel()
        self.weight_bytes += size
        self.trained += tensor.numel() if tensor.requires_grad else 0

    def include(self, other: Holding) -> None:
        """Add what lies in another row."""
        self.parameters += other.parameters
        self.trained += other.trained
        self.weight_bytes += other.weight_bytes
        self.buffer_bytes += other.buffer_bytes


def row_of(path: str, depth: int | None) -> str:
    """The module in whose row something of a module counts, if rows go `depth` names deep.

    >>> row_of("layer1.0.conv1", 2), row_of("layer1.0.conv1", None), row_of("layer1", 0)
    ('layer1.0', 'layer1.0.conv1', '')
    """
    return path if depth is None else ".".join(path.split(".")[:depth])


def holdings(model: nn.Module, depth: int | None = None) -> dict[str, Holding]:
    """{module path: what is held there}, in the model's order, for all modules down to that depth; a tied tensor counts
    where it is met first. Modules that are not made yet (lazy ones) hold nothing.

    Raises `SecateurError` for a depth below 0.
    """
    from torch.nn.parameter import is_lazy

    if depth is not None and depth < 0:
        raise SecateurError(f"depth {depth}", where="summary", hint="give a number from 0 on, or none for all modules")
    found: dict[str, Holding] = {}
    seen: set[int] = set()
    for path, module in modules_of(model):
        row = row_of(path, depth)
        if row not in found:
            found[row] = Holding(type(module).__name__)
        for is_buffer, tensors in ((False, module._parameters), (True, module._buffers)):
            for tensor in tensors.values():
                if tensor is not None and id(tensor) not in seen and not is_lazy(tensor):
                    seen.add(id(tensor))
                    found[row].add(tensor, is_buffer)
    return found


def modules(model: nn.Module, *, depth: int | None = None, name: str | None = None) -> Table:
    """What the modules of a model hold; nothing is run.

    One row per module that holds anything, without what modules in rows of their own hold: `module` (its path),
    `type`, `parameters`, `share` of all of them, how many of them are `trained` (require gradients), `memory` of
    parameters and of `buffers` in KB (1000 bytes). With `depth`, a row holds all that is below a module of so many
    names: `layer1.0` has two. A tied tensor counts where it is met first, a buffer also if no checkpoint holds it.

    Raises `SecateurError` for a depth below 0.
    """
    found = holdings(model, depth)
    every = Holding("")
    for entry in found.values():
        every.include(entry)

    def cells(entry: Holding) -> tuple[Cell, ...]:
        share = entry.parameters / every.parameters if every.parameters else None
        memory, buffers = entry.weight_bytes / KB, entry.buffer_bytes / KB
        return entry.parameters, share, entry.trained, memory, buffers

    return Table(
        title=f"modules of {name or type(model).__name__}",
        columns=(
            Column("module"),
            Column("type", rank=4),
            Column("parameters", form=",d", zero="-", compared=True),
            Column("share", form=".1%", zero="-", rank=1),
            Column("trained", form=",d", zero="-", rank=3, compared=True),
            Column("memory", "KB", ",.1f", "-", rank=1, compared=True),
            Column("buffers", "KB", ",.1f", "-", rank=2, compared=True),
        ),
        rows=[
            (path or ITSELF, entry.type, *cells(entry))
            for path, entry in found.items()
            if entry.parameters or entry.buffer_bytes
        ],
        total=("total", None, *cells(every)),
    )
