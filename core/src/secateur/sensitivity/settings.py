"""Digests by which a file of results is known to belong to a model and its data."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from secateur.sensitivity.tape import tensors_of
from secateur.thinning.state import named_tensors

if TYPE_CHECKING:
    from torch import Tensor, nn

    from secateur.sensitivity.evaluating import Batch


def model_digest(model: nn.Module) -> str:
    """A digest of all parameters and buffers, with their names."""
    made = hashlib.blake2b(digest_size=8)
    for name, tensor in named_tensors(model).items():
        made.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        made.update(_bytes(tensor).numpy())
    return made.hexdigest()


def data_digest(batches: Iterable[Batch]) -> str:
    """A number of examples, and sums over all bytes, of inputs, of targets and of both example by example.

    They do not depend on how the examples are ordered and put into batches.
    """
    examples, sums = 0, [0, 0, 0]
    for batch in batches:
        examples += batch.examples
        parts = [tensors_of(part) for part in ((batch.args, batch.kwargs), batch.targets)]
        rows = [[_sums(tensor, batch.examples) for tensor in tensors] for tensors in parts]
        for i, found in enumerate(rows):
            sums[i] += sum(int(row.sum()) for row in found)
        if all(len(row) == batch.examples for row in (*rows[0], *rows[1])):
            sums[2] += sum(int((inputs * (2 * targets + 1)).sum()) for inputs in rows[0] for targets in rows[1])
    return " ".join([f"{examples} examples", *(f"{value % 2**64:x}" for value in sums)])


def _sums(tensor: Tensor, examples: int) -> Tensor:
    """The sum over each example, (examples,), else over all, (1,), of its bytes: four at a time where they fit."""
    import torch

    data = _bytes(tensor)
    data = (
        data.view(examples, -1) if tensor.dim() and len(tensor) == examples and len(data) else data.view(1, len(data))
    )
    fitting = data.shape[1] // 4 * 4
    whole = data[:, :fitting].contiguous().view(torch.int32) if fitting else data[:, :0]
    found: Tensor = whole.sum(1, dtype=torch.int64) + data[:, fitting:].sum(1, dtype=torch.int64)
    return found


def _bytes(tensor: Tensor) -> Any:
    import torch

    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
