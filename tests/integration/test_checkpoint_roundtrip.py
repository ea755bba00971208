"""What was saved is what is loaded: weights, structure, optimizer, to the last bit."""

from __future__ import annotations

import copy
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import secateur
from secateur.checkpoint import inspect
from secateur.thinning.recipe import recipe_of


class Net(nn.Module):
    """Two convolutions with batch norm, a non-persistent buffer along a prunable dim, a linear head."""

    def __init__(self, width: int = 8, classes: int = 5) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, 6, 3)
        self.fc = nn.Linear(6, classes)
        self.register_buffer("gain", torch.linspace(0.5, 1.5, width).reshape(1, width, 1, 1), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.bn1(self.conv1(x)) * self.gain)
        return self.fc(torch.relu(self.conv2(x)).mean((2, 3)))


INPUT = (torch.randn(4, 3, 7, 7, generator=torch.Generator().manual_seed(1)),)
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "SGD": lambda p: torch.optim.SGD(p, lr=0.1),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "Adam": lambda p: torch.optim.Adam(p, lr=0.01, betas=(0.8, 0.99), amsgrad=True),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=0.01),
    "Rprop": lambda p: torch.optim.Rprop(p, lr=0.01),
    "ASGD": lambda p: torch.optim.ASGD(p, lr=0.01),
    "LBFGS": lambda p: torch.optim.LBFGS(p, lr=0.1, max_iter=2),
}


def fresh(seed: int = 0, **arguments: Any) -> Net:
    torch.manual_seed(seed)
    return Net(**arguments)


def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = model(*INPUT).square().mean()
        loss.backward()
        return loss

    optimizer.step(closure)


def output(model: nn.Module) -> torch.Tensor:
    model.eval()
    with torch.no_grad():
        return model(*INPUT)  # type: ignore[no-any-return]


def thinned(optimizer: torch.optim.Optimizer | None = None, model: Net | None = None) -> Net:
    model = model or fresh()
    secateur.thin(model, secateur.plan(model, INPUT), optimizer)
    return model


def test_a_fresh_dense_model_becomes_the_thin_one(tmp_path: Path) -> None:
    model = thinned()
    secateur.save(tmp_path / "thin.safetensors", model)
    twin = fresh(seed=7)
    parameters = dict(twin.named_parameters())
    assert secateur.load(tmp_path / "thin.safetensors", twin) is twin
    assert torch.equal(output(twin), output(model))
    assert twin.conv1.out_channels == 4
    assert twin.gain.shape == (1, 4, 1, 1)
    assert torch.equal(twin.gain, model.gain)
    assert all(parameter is parameters[name] for name, parameter in twin.named_parameters())
    assert recipe_of(twin).to_dict() == recipe_of(model).to_dict()


def test_two_thinnings_are_repeated_in_order(tmp_path: Path) -> None:
    model = thinned(model=thinned())
    assert model.conv1.out_channels == 2
    secateur.save(tmp_path / "x", model)
    twin = secateur.load(tmp_path / "x", fresh(seed=3))
    assert len(recipe_of(twin).steps) == 2
    assert torch.equal(output(twin), output(model))
    assert [s["attributes"]["conv1.out_channels"] for s in inspect(tmp_path / "x")["steps"]] == [[8, 4], [4, 2]]


def test_a_dense_model_is_saved_and_loaded_too(tmp_path: Path) -> None:
    model = fresh()
    secateur.save(tmp_path / "dense", model)
    assert torch.equal(output(secateur.load(tmp_path / "dense", fresh(seed=5))), output(model))


def test_a_model_that_is_thin_by_the_same_recipe_gets_the_weights(tmp_path: Path) -> None:
    model = thinned()
    twin = copy.deepcopy(model)
    with torch.no_grad():
        model.fc.weight.add_(1)
    secateur.save(tmp_path / "x", model)
    secateur.load(tmp_path / "x", twin)
    assert torch.equal(output(twin), output(model))
    assert len(recipe_of(twin).steps) == 1


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_goes_on_as_if_nothing_had_happened(name: str, tmp_path: Path) -> None:
    model = fresh()
    optimizer = OPTIMIZERS[name](model.parameters())
    if name != "LBFGS":  # its state cannot be cut
        step(model, optimizer)
        thinned(optimizer, model)
    else:
        thinned(None, model)
    step(model, optimizer)
    secateur.save(tmp_path / "x", model, optimizer)
    twin = fresh(seed=9)
    other = OPTIMIZERS[name](twin.parameters())
    secateur.load(tmp_path / "x", twin, other)
    for _ in range(3):
        step(model, optimizer)
        step(twin, other)
    for (left, a), b in zip(model.named_parameters(), twin.parameters(), strict=True):
        assert torch.equal(a, b), left


def test_hyper_parameters_are_those_of_the_file(tmp_path: Path) -> None:
    def groups(model: Net, lr: Any) -> torch.optim.Optimizer:
        rest = [*model.bn1.parameters(), *model.conv2.parameters(), *model.fc.parameters()]
        members = [{"params": list(model.conv1.parameters()), "lr": lr}, {"params": rest, "weight_decay": 0.5}]
        return torch.optim.Adam(members, lr=0.25, betas=(0.5, 0.75))

    model, twin = fresh(), fresh(seed=2)
    optimizer = groups(model, torch.tensor(0.125))
    torch.optim.lr_scheduler.StepLR(optimizer, 3)  # it adds initial_lr
    secateur.save(tmp_path / "x", model, optimizer)
    other = groups(twin, 0.75)
    secateur.load(tmp_path / "x", twin, other)
    first, second = other.param_groups
    assert torch.equal(first["lr"], torch.tensor(0.125))
    assert (second["lr"], second["betas"], second["weight_decay"]) == (0.25, (0.5, 0.75), 0.5)
    assert second["initial_lr"] == 0.25
    assert first["params"][0] is twin.conv1.weight


def test_the_order_of_a_group_does_not_matter(tmp_path: Path) -> None:
    model, twin = fresh(), fresh(seed=2)
    optimizer = OPTIMIZERS["momentum"](model.parameters())
    step(model, optimizer)
    secateur.save(tmp_path / "x", model, optimizer)
    other = OPTIMIZERS["momentum"](list(twin.parameters())[::-1])
    secateur.load(tmp_path / "x", twin, other)
    buffers = [o.state[m.fc.weight]["momentum_buffer"] for o, m in ((optimizer, model), (other, twin))]
    assert torch.equal(*buffers)


class Tied(nn.Module):
    def __init__(self, tie: bool = True) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
        if tie:
            self.b.weight = self.a.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(self.a(x))  # type: ignore[no-any-return]


def test_tied_tensors_are_saved_once_and_stay_tied(tmp_path: Path) -> None:
    model = Tied()
    secateur.save(tmp_path / "x", model)
    said = inspect(tmp_path / "x")
    assert list(said["tensors"]) == ["a.weight"]
    assert said["tied"] == {"b.weight": "a.weight"}
    twin = secateur.load(tmp_path / "x", Tied())
    assert twin.b.weight is twin.a.weight
    assert torch.equal(twin.a.weight, model.a.weight)


def test_tensors_that_share_memory_without_being_tied(tmp_path: Path) -> None:
    class Views(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            whole = torch.arange(6.0)
            self.register_buffer("left", whole[:3])
            self.register_buffer("all", whole)
            self.register_buffer("across", torch.arange(6.0).reshape(2, 3).t())

    model = Views()
    secateur.save(tmp_path / "x", model)
    twin = Views()
    for buffer in twin.buffers():
        buffer.zero_()
    secateur.load(tmp_path / "x", twin)
    assert all(torch.equal(a, b) for a, b in zip(model.buffers(), twin.buffers(), strict=True))


def test_a_tensor_as_extra_state_is_kept(tmp_path: Path) -> None:
    class Counter(nn.Module):
        def __init__(self, count: int) -> None:
            super().__init__()
            self.count = count

        def get_extra_state(self) -> torch.Tensor:
            return torch.tensor(self.count)

        def set_extra_state(self, state: torch.Tensor) -> None:
            self.count = int(state)

    secateur.save(tmp_path / "x", nn.Sequential(Counter(5)))
    twin = secateur.load(tmp_path / "x", nn.Sequential(Counter(0)))
    assert twin[0].count == 5


def test_dtypes_of_one_kind_are_converted(tmp_path: Path) -> None:
    model = thinned()
    secateur.save(tmp_path / "x", copy.deepcopy(model).to(torch.bfloat16))
    twin = secateur.load(tmp_path / "x", fresh(seed=2))
    assert twin.fc.weight.dtype == torch.float32
    assert torch.equal(twin.fc.weight, model.fc.weight.to(torch.bfloat16).float())


def test_inspect_needs_no_model(tmp_path: Path) -> None:
    model = thinned()
    optimizer = OPTIMIZERS["Adam"](model.parameters())
    step(model, optimizer)
    file = tmp_path / "thin.safetensors"
    secateur.save(file, model, optimizer, extra={"epoch": 3, "best": [0.5, None]})
    said = inspect(file)
    assert said["extra"] == {"epoch": 3, "best": [0.5, None]}
    assert said["version"] == secateur.__version__
    assert said["bytes"] == file.stat().st_size
    assert said["optimizer"] == {"class": "Adam", "parameters": 8}
    assert said["tensors"]["conv1.weight"] == {"shape": [4, 3, 3, 3], "dtype": "F32"}
    assert "gain" not in said["tensors"]
    (first,) = said["steps"]
    assert first["cuts"]["conv1.weight"] == {"before": [8, 3, 3, 3], "after": [4, 3, 3, 3]}
    assert first["cuts"]["gain"] == {"before": [1, 8, 1, 1], "after": [1, 4, 1, 1]}
    json.dumps(said)


def test_the_new_file_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    file, link = tmp_path / "x.safetensors", tmp_path / "latest.safetensors"
    secateur.save(file, fresh())
    assert stat.S_IMODE(file.stat().st_mode) == 0o666 & ~_umask()
    file.chmod(0o640)
    link.symlink_to(file)
    model = fresh(seed=4)
    secateur.save(link, model)
    assert link.is_symlink()
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert torch.equal(output(secateur.load(file, fresh())), output(model))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["latest.safetensors", "x.safetensors"]


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_any_library_can_read_the_weights(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    model = thinned()
    secateur.save(tmp_path / "x", model)
    tensors = load_file(tmp_path / "x")
    assert set(tensors) == {f"model/{name}" for name in model.state_dict()}
    assert torch.equal(tensors["model/fc.weight"], model.fc.weight)


@pytest.mark.parametrize("extra", range(0, 64, 8))
def test_a_header_of_any_length_is_no_pickle(tmp_path: Path, extra: int) -> None:
    """Safetensors files begin with the length of their header, whose first byte may be that of a pickle."""
    lengths = set()
    for more in range(extra, extra + 8):
        model, fresh = nn.Sequential(), nn.Sequential()
        for net in (model, fresh):
            net.add_module("layer" + "x" * 8 * more, nn.Linear(3, 3))
        secateur.save(tmp_path / "net.safetensors", model)
        lengths.add((tmp_path / "net.safetensors").read_bytes()[0])
        secateur.load(tmp_path / "net.safetensors", fresh)
        assert torch.equal(next(model.parameters()), next(fresh.parameters()))
    assert len(lengths) > 4
