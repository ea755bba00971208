"""Digests by which a file of results is known to belong to a model and its data."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from secateur.sensitivity.tape import tensors_of
from secateur.thinning.state import named_tensors

if TYPE_CHECKING:
    from torch import Tensor, nn

    from secateur.sensitivity.evaluating import Batches


def model_digest(model: nn.Module) -> str:
    """A digest of all parameters and buffers, with their names."""
    made = hashlib.blake2b(digest_size=8)
    for name, tensor in named_tensors(model).items():
        made.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        made.update(_bytes(tensor).numpy())
    return made.hexdigest()


def data_digest(batches: Batches) -> str:
    """A number of examples, and sums over all bytes that do not depend on the order of the batches."""
    import torch

    examples, sums = 0, [0, 0]
    for batch in batches:
        examples += batch.examples
        for i, part in enumerate(((batch.args, batch.kwargs), batch.targets)):
            for tensor in tensors_of(part):
                data = _bytes(tensor)
                whole = data[: len(data) // 4 * 4].view(torch.int32)
                sums[i] += int(whole.sum(dtype=torch.int64)) + int(data[len(data) // 4 * 4 :].sum(dtype=torch.int64))
    return f"{examples} examples {sums[0] % 2**64:x} {sums[1] % 2**64:x}"


def _bytes(tensor: Tensor) -> Any:
    import torch

    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
