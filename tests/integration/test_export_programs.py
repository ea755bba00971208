"""Thin networks as programs of torch.export and as ONNX: what they compute is what the model computes."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import secateur
from secateur.errors import CheckpointError, VerificationError
from secateur.export import programs
from secateur_models.torchvision_import import import_torchvision

needs_onnx = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("onnx", "onnxscript", "onnxruntime")),
    reason="needs onnx, onnxscript and onnxruntime",
)


class Net(nn.Module):
    """Batch norm and dropout, left in training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 6, 3)
        self.fc = nn.Linear(6, 5)

    def forward(self, x: torch.Tensor, scale: torch.Tensor) -> dict[str, torch.Tensor]:
        x = torch.relu(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        x = nn.functional.dropout(x, 0.5, self.training)
        return {"logits": self.fc(x.mean((2, 3))) * scale}


INPUTS = {"x": torch.randn(3, 3, 9, 9, generator=torch.Generator().manual_seed(1)), "scale": torch.full((3, 1), 2.0)}


@pytest.fixture
def thinned() -> nn.Module:
    torch.manual_seed(0)
    model = Net()
    secateur.thin(model, secateur.plan(model, INPUTS))
    return model


def wanted(model: nn.Module, inputs: dict[str, Any]) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(**inputs)["logits"]  # type: ignore[no-any-return]


def test_torch_exports_what_was_thinned(thinned: nn.Module, tmp_path: Path) -> None:
    assert secateur.export_torch(tmp_path / "thin.pt2", thinned, INPUTS).passed
    assert thinned.training
    loaded = torch.export.load(tmp_path / "thin.pt2")
    assert torch.equal(loaded.module()(**INPUTS)["logits"], wanted(thinned, INPUTS))
    assert loaded.state_dict["conv1.weight"].shape == (4, 3, 3, 3)
    assert [path.name for path in tmp_path.iterdir()] == ["thin.pt2"]


def test_torch_export_of_resnet18() -> None:
    torch.manual_seed(0)
    model = import_torchvision().models.resnet18().eval()
    inputs = (torch.randn(2, 3, 64, 64),)
    secateur.thin(model, secateur.plan(model, inputs))
    program = torch.export.export(model, inputs)
    assert torch.equal(program.module()(*inputs), model(*inputs))


def test_torch_export_with_any_batch(thinned: nn.Module, tmp_path: Path) -> None:
    secateur.export_torch(tmp_path / "thin.pt2", thinned, INPUTS, dynamic_batch=True)
    larger = {"x": torch.randn(7, 3, 9, 9), "scale": torch.ones(7, 1)}
    made = torch.export.load(tmp_path / "thin.pt2").module()(**larger)["logits"]
    assert torch.allclose(made, wanted(thinned, larger), atol=1e-6)


@needs_onnx
@pytest.mark.parametrize("dynamic", [False, True])
def test_onnx_computes_what_was_thinned(thinned: nn.Module, tmp_path: Path, dynamic: bool) -> None:
    import onnx
    import onnxruntime

    found = secateur.export_onnx(tmp_path / "thin.onnx", thinned, INPUTS, dynamic_batch=dynamic)
    assert found is not None
    assert found.passed
    assert found.relative < 1e-5
    assert [path.name for path in tmp_path.iterdir()] == ["thin.onnx"]
    sizes = {entry.name: tuple(entry.dims) for entry in onnx.load(tmp_path / "thin.onnx").graph.initializer}
    assert sizes["fc.weight"] == (5, 3)
    count = 7 if dynamic else 3
    given = {"x": torch.randn(count, 3, 9, 9), "scale": torch.rand(count, 1)}
    session = onnxruntime.InferenceSession(str(tmp_path / "thin.onnx"), providers=["CPUExecutionProvider"])
    (made,) = session.run(None, {name: tensor.numpy() for name, tensor in given.items()})
    assert torch.allclose(torch.from_numpy(made), wanted(thinned, given), atol=1e-5)


def test_onnx_without_its_packages(thinned: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "find_spec", lambda name: None)
    with pytest.raises(CheckpointError) as caught:
        secateur.export_onnx(tmp_path / "thin.onnx", thinned, INPUTS)
    assert str(caught.value) == (
        f"{tmp_path}/thin.onnx: torch writes ONNX with the package 'onnx', which is not installed; "
        "pip install 'secateur[onnx]'"
    )


def test_outputs_that_differ_write_nothing(thinned: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "thin.pt2").write_bytes(b"old")
    honest = programs.outputs
    monkeypatch.setattr(programs, "outputs", lambda *arguments: [2 * tensor for tensor in honest(*arguments)])
    with pytest.raises(
        VerificationError, match=r"thin.pt2: model and file give outputs that differ by 5.00e-01 relative"
    ):
        secateur.export_torch(tmp_path / "thin.pt2", thinned, INPUTS)
    assert (tmp_path / "thin.pt2").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["thin.pt2"]


class Branch(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum() > 0 else -x


def test_what_cannot_be_exported(thinned: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"thin.txt: it does not end in .pt2; name such a file, thin.pt2$"):
        secateur.export_torch(tmp_path / "thin.txt", thinned, INPUTS)
    with pytest.raises(CheckpointError, match=r"thin\.pt2: torch\.export failed \(\w+: "):
        secateur.export_torch(tmp_path / "thin.pt2", Branch(), (torch.ones(2),))
    with pytest.raises(CheckpointError, match="export: the model does not run on the example inputs: RuntimeError"):
        secateur.export_torch(tmp_path / "thin.pt2", thinned, {**INPUTS, "x": torch.ones(3, 4, 9, 9)})
    one = {name: tensor[:1] for name, tensor in INPUTS.items()}
    with pytest.raises(CheckpointError, match=r"torch takes a batch of one for a constant; give a batch of 2 or more"):
        secateur.export_torch(tmp_path / "thin.pt2", thinned, one, dynamic_batch=True)
    assert not list(tmp_path.iterdir())
