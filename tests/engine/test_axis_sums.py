"""Sums over all axes but one are the same in chunks as at once, and large tensors are never copied whole."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from secateur.pruning import members
from secateur.pruning.members import axis_sums

SHAPES = [(7,), (6, 5), (5, 6, 3, 2), (1, 9, 4), (9, 1, 4)]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("chunk", [1, 7, 40])
@pytest.mark.parametrize("shape", SHAPES)
def test_chunks_add_up(shape: tuple[int, ...], chunk: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "CHUNK", chunk)
    tensor = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    strided = tensor.transpose(0, -1).contiguous().transpose(0, -1)
    for axis in range(len(shape)):
        due = tensor.abs().double().movedim(axis, 0).flatten(1).sum(1) if len(shape) > 1 else tensor.abs().double()
        for given in (tensor, strided):
            found = axis_sums(given, axis, torch.abs)
            assert found.dtype == torch.float64
            assert torch.allclose(found, due, rtol=1e-12 if dtype == torch.float64 else 1e-6)


@pytest.mark.parametrize("axis", [0, 1])
def test_what_a_function_makes_of_a_large_tensor_is_never_there_as_a_whole(axis: int) -> None:
    seen = []

    def watched(part: Tensor) -> Tensor:
        seen.append(part.numel())
        return part.abs()

    tensor = torch.ones(3000, 1000)
    assert axis_sums(tensor, axis, watched).tolist() == [3e6 / tensor.shape[axis]] * tensor.shape[axis]
    assert sum(seen) == tensor.numel()
    assert max(seen) <= members.CHUNK
