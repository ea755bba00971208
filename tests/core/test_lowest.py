"""The exact choice of the smallest elements: counts, ties, bit patterns of all types, numbers that are none."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from secateur.errors import PlanError
from secateur.pruning import lowest as module
from secateur.pruning.lowest import lowest

TYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
WAYS = [module._by_counting, module._by_kth_value, module._by_sorting]


def by_sorting(tensor: Tensor, count: int) -> Tensor:
    keep = torch.ones(tensor.numel(), dtype=torch.bool)
    keep[tensor.abs().reshape(-1).argsort(stable=True)[:count]] = False
    return keep.reshape(tensor.shape)


def test_by_hand() -> None:
    tensor = torch.tensor([[0.5, -0.1], [0.3, -2.0]])
    assert lowest(tensor, 2).tolist() == [[True, False], [False, True]]
    assert lowest(tensor, 2).dtype == torch.bool


def test_thirty_percent_of_ten_equal_elements_are_the_first_three() -> None:
    assert lowest(torch.ones(10), int(0.3 * 10)).tolist() == [False] * 3 + [True] * 7


def test_signs_do_not_count_not_even_that_of_zero() -> None:
    assert lowest(torch.tensor([2.0, 0.0, -0.0, -1.0]), 1).tolist() == [True, False, True, True]
    assert lowest(torch.tensor([2.0, -2.0, -1.0]), 2).tolist() == [False, True, False]


@pytest.mark.parametrize("count", [0, 1])
def test_a_single_element(count: int) -> None:
    assert lowest(torch.tensor(3.0), count).tolist() is (count == 0)


def test_nothing_of_nothing() -> None:
    assert lowest(torch.empty(0, 3), 0).shape == (0, 3)


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("way", WAYS, ids=["counting", "kth value", "sorting"])
@pytest.mark.parametrize("size", [1, 7, 1000, 30_000])
def test_it_is_a_stable_sort_whatever_the_type(dtype: torch.dtype, way: object, size: int) -> None:
    values = torch.randn(size, generator=torch.Generator().manual_seed(size)) * 0.02
    coarse = (values * 100).round() / 100  # many ties
    for tensor in (values.to(dtype), coarse.to(dtype)):
        for count in sorted({1, size // 3, int(0.9 * size), size} - {0}):
            assert torch.equal(way(tensor, count, ""), by_sorting(tensor, count))  # type: ignore[operator]


def test_ties_that_lie_in_several_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 4)
    tensor = torch.tensor([1.0, 2, 1, 1, 2, 1, 1, 1, 2, 1, 0, 1])
    for count in range(13):
        assert torch.equal(lowest(tensor, count), by_sorting(tensor, count))


def test_numbers_of_every_size() -> None:
    tensor = torch.tensor([torch.inf, 1e-45, -1e30, 0.0, -torch.inf, 1e-30])
    for count in range(7):
        assert torch.equal(lowest(tensor, count), by_sorting(tensor, count))


def test_a_transposed_tensor_is_counted_in_its_own_order() -> None:
    assert lowest(torch.ones(3, 2).t(), 2).tolist() == [[False, False, True], [True, True, True]]


def test_the_tensor_stays_as_it_is_and_needs_no_history() -> None:
    tensor = torch.nn.Parameter(torch.tensor([-3.0, 1.0]))
    assert not lowest(tensor, 1).requires_grad
    assert tensor.tolist() == [-3.0, 1.0]


@pytest.mark.parametrize("way", WAYS, ids=["counting", "kth value", "sorting"])
@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_what_is_no_number_is_refused(way: object, dtype: torch.dtype) -> None:
    with pytest.raises(PlanError) as caught:
        way(torch.tensor([1.0, torch.nan, torch.inf], dtype=dtype), 1, "fc.weight")  # type: ignore[operator]
    assert str(caught.value) == "fc.weight: some weights are not numbers (NaN); has training diverged?"


@pytest.mark.parametrize("count", [-1, 4])
def test_more_than_there_are(count: int) -> None:
    with pytest.raises(ValueError, match=rf"cannot mask {count} of 3 elements"):
        lowest(torch.ones(3), count)
