"""Masks of `torch.nn.utils.prune` that were removed after thinning: the file loads into a fresh model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import secateur
from secateur_models.cifar_resnet import CifarNet

X = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
INPUT = torch.randn(4, 6, generator=torch.Generator().manual_seed(2))


def mask(model: nn.Module, names: list[str], amount: float = 0.5) -> None:
    for name in names:
        prune.ln_structured(model.get_submodule(name), "weight", amount, 2, 0)


def remove(model: nn.Module, names: list[str]) -> None:
    for name in names:
        prune.remove(model.get_submodule(name), "weight")


def fresh() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 8, bias=False), nn.ReLU(), nn.Linear(8, 3))


def test_a_resnet_pruned_by_torch_is_thinned_saved_and_loaded(tmp_path: Path) -> None:
    model = CifarNet(20)
    names = [f"layer{stage}.{block}.conv1" for stage in (1, 2, 3) for block in range(3)]
    mask(model, names)
    secateur.thin(model, secateur.plan_zeros(model, (X,)))
    remove(model, names)
    secateur.save(tmp_path / "thin.safetensors", model)
    twin = secateur.load(tmp_path / "thin.safetensors", CifarNet(20))
    assert twin.layer1[0].conv1.out_channels == 8
    torch.testing.assert_close(twin.eval()(X), model.eval()(X), rtol=0, atol=0)


def test_masks_may_go_between_two_thinnings(tmp_path: Path) -> None:
    model = fresh()
    mask(model, ["0"])
    secateur.thin(model, secateur.plan_zeros(model, (INPUT,)))
    remove(model, ["0"])
    secateur.thin(model, secateur.plan(model, (INPUT,)))
    file = tmp_path / "thin.safetensors"
    secateur.save(file, model)
    twin = secateur.load(file, fresh())
    assert twin[0].weight.shape == (2, 6)
    torch.testing.assert_close(twin(INPUT), model(INPUT), rtol=0, atol=0)
    with torch.no_grad():
        model[0].weight.zero_()
    secateur.load(file, model)  # the model itself is thin by the same recipe
    torch.testing.assert_close(twin(INPUT), model(INPUT), rtol=0, atol=0)


def test_masks_that_are_still_there_keep_their_names(tmp_path: Path) -> None:
    model, twin = fresh(), fresh()
    for each in (model, twin):
        mask(each, ["0"])
    secateur.thin(model, secateur.plan_zeros(model, (INPUT,)))
    secateur.save(tmp_path / "thin.safetensors", model)
    secateur.load(tmp_path / "thin.safetensors", twin)
    torch.testing.assert_close(twin(INPUT), model(INPUT), rtol=0, atol=0)


def test_names_that_are_gone_are_an_error_that_says_which(tmp_path: Path) -> None:
    file = tmp_path / "thin.safetensors"
    model = fresh()
    secateur.thin(model, secateur.plan(model, (INPUT,)))
    mask(model, ["0"])
    message = "thinned along '0.weight', which it no longer has under that name; call torch.nn.utils.prune.remove"
    with pytest.raises(secateur.CheckpointError, match=message):
        secateur.save(file, model)
    remove(model, ["0"])
    nn.init.normal_(model[0].weight)
    nn.utils.parametrizations.weight_norm(model[0])
    message = "'0.weight', which it no longer has under that name; undo what renamed or removed it since"
    with pytest.raises(secateur.CheckpointError, match=message):
        secateur.save(file, model)
    assert not file.exists()
    nn.utils.parametrize.remove_parametrizations(model[0], "weight")
    secateur.save(file, model)
    torch.testing.assert_close(secateur.load(file, fresh())(INPUT), model(INPUT), rtol=0, atol=0)


def test_a_name_of_another_shape_is_not_taken_for_the_masked_one(tmp_path: Path) -> None:
    model = fresh()
    mask(model, ["0"])
    secateur.thin(model, secateur.plan_zeros(model, (INPUT,)))
    remove(model, ["0"])
    model[0].weight = nn.Parameter(torch.randn(8, 6))
    with pytest.raises(secateur.CheckpointError, match=r"thinned along '0\.weight_(orig|mask)'"):
        secateur.save(tmp_path / "thin.safetensors", model)
