"""The digits are the same 1438 + 359 images everywhere, standardised, and split without overlap."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from secateur.errors import DataError
from secateur_models import digits


def test_shapes_and_types() -> None:
    for split, rows in (("train", 1438), ("test", 359)):
        data = digits.load(split)
        assert data.inputs.shape == (rows, 3, 32, 32)
        assert data.inputs.dtype == torch.float32
        assert data.targets.shape == (rows,)
        assert data.targets.dtype == torch.int64
        assert len(data) == rows
    assert digits.load("test", size=8).inputs.shape == (359, 3, 8, 8)


def test_training_images_are_standardised_and_grey() -> None:
    inputs = digits.load("train", size=8).inputs
    assert abs(inputs.mean().item()) < 1e-5
    assert abs(inputs.std().item() - 1) < 1e-3
    assert torch.equal(inputs[:, 0], inputs[:, 1])
    assert torch.equal(inputs[:, 0], inputs[:, 2])


def test_images_and_targets_belong_together() -> None:
    source = load_digits()
    rows = digits.split_rows(source.target)["test"]
    data = digits.load("test", size=8)
    assert data.targets.tolist() == source.target[rows].tolist()
    mine, theirs = data.inputs[5, 0].double().numpy(), source.images[rows[5]]
    assert np.corrcoef(mine.ravel(), theirs.ravel())[0, 1] > 0.999999


def test_split_is_fixed_disjoint_complete_and_stratified() -> None:
    targets = load_digits().target
    rows = digits.split_rows(targets)
    assert sorted([*rows["train"], *rows["test"]]) == list(range(1797))
    np.testing.assert_array_equal(rows["test"], digits.split_rows(targets)["test"])
    assert rows["test"][:6].tolist() == FIRST_TEST_ROWS
    share = np.bincount(targets[rows["test"]]) / np.bincount(targets)
    assert abs(share - 0.2).max() < 0.003
    assert torch.equal(digits.load("train").inputs, digits.load("train").inputs)


FIRST_TEST_ROWS = [3, 7, 13, 19, 36, 38]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("validation",), "data set digits: there is no split 'validation'; (known: test, train)"),
        (("tset",), "data set digits: there is no split 'tset'; did you mean 'test'? (known: test, train)"),
        (("test", 4), "data set digits: size is 4; give an integer from 8 to 256"),
        (("test", "32"), "data set digits: size is '32'; give an integer from 8 to 256"),
        (("test", True), "data set digits: size is True; give an integer from 8 to 256"),
    ],
)
def test_bad_arguments_are_refused(arguments: tuple[object, ...], message: str) -> None:
    keywords = {"size": arguments[1]} if len(arguments) > 1 else {}
    with pytest.raises(DataError) as caught:
        digits.load(arguments[0], **keywords)
    assert str(caught.value) == message


def test_missing_scikit_learn_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(DataError) as caught:
        digits.load("train")
    assert str(caught.value) == (
        "data set digits: scikit-learn, which holds the images, is not installed; pip install scikit-learn"
    )
