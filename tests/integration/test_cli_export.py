"""`secateur export`: what it writes and prints, and one line for everything that is wrong."""

from __future__ import annotations

import runpy
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import secateur
from secateur.cli.main import main

NET = """
from pathlib import Path

import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.stem = nn.Linear(3, width)
        self.fc = nn.Linear(width, 5)

    def forward(self, x):
        return self.fc(torch.relu(self.stem(x)))

class Moody(Net):
    def __init__(self):
        super().__init__(12 if Path("made").exists() else 8)
        Path("made").touch()
"""
MODEL = ["net.py:Net", "--weights", "net.safetensors"]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for variable in ("COLUMNS", "FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(variable, raising=False)
    (tmp_path / "net.py").write_text(NET)
    monkeypatch.chdir(tmp_path)
    model = net()
    secateur.thin(model, secateur.plan(model, (torch.randn(1, 3),)))
    secateur.save("net.safetensors", model)
    return tmp_path


def net() -> torch.nn.Module:
    return runpy.run_path("net.py")["Net"]()  # type: ignore[no-any-return]


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line of an error."""
    assert main(["export", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err.removeprefix("error: ").rstrip("\n")


def test_python(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", *MODEL, "-o", "thin.py", "--input", "2,3"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "wrote thin.py and thin.weights.safetensors; they need torch and safetensors only:",
        "",
        "    from net import Net",
        "    from safetensors.torch import load_file",
        "    from thin import thin",
        "    model = thin(Net())",
        "    model.load_state_dict(load_file('thin.weights.safetensors'))",
        "",
        "outputs of the model and of what was written: equal",
    ]
    model = runpy.run_path("thin.py")["thin"](net())
    model.load_state_dict(load_file("thin.weights.safetensors"))
    x = torch.randn(4, 3)
    assert torch.equal(model(x), secateur.load("net.safetensors", net())(x))


def test_python_without_inputs_is_rebuilt_only(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", *MODEL, "-o", "thin.py"]) == 0
    assert capsys.readouterr().out.endswith(
        "\nnot compared; give --input to compare the rebuilt network with the model\n"
    )


def test_torch_with_any_batch(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", *MODEL, "-o", "thin.pt2", "--input", "2,3", "--dynamic-batch"]) == 0
    assert "model = torch.export.load('thin.pt2').module()" in capsys.readouterr().out
    x = torch.randn(6, 3)
    made = torch.export.load("thin.pt2").module()(x)
    assert torch.allclose(made, secateur.load("net.safetensors", net())(x), atol=1e-6)


def test_torch_says_that_it_takes_one_batch_only(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", *MODEL, "-o", "thin.pt2", "--input", "2,3"]) == 0
    assert "\nit takes inputs of 2 x 3 only; --dynamic-batch lets the batch be any\n" in capsys.readouterr().out


@pytest.mark.skipif(any(find_spec(name) is None for name in ("onnx", "onnxscript", "onnxruntime")), reason="needs onnx")
def test_onnx_of_a_registered_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "simplenet_mnist", "--to", "onnx", "-o", "net.onnx", "--dynamic-batch"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("wrote net.onnx\noutputs of the model and of what was written: ")
    assert Path("net.onnx").stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["net.safetensors", "-o", "thin.py"], "a checkpoint holds weights and the recipe of a network, not its code"),
        (
            [*MODEL, "-o", "thin"],
            "thin: nothing says what to write; give --to, or a file that ends in .py, .pt2, .onnx",
        ),
        ([*MODEL, "-o", "thin.py", "--dynamic-batch"], "--dynamic-batch does not go with --to python"),
        ([*MODEL, "-o", "thin.pt2"], "net.py:Net: nothing says what its input looks like; give --input"),
        ([*MODEL, "-o", "thin.txt", "--to", "python"], "thin.txt: it does not end in .py"),
        ([*MODEL, "-o", "net.py"], "net.py: a file that is no export would be overwritten"),
        (["net.py:Net", "--weights", "none.safetensors", "-o", "thin.py"], "none.safetensors: "),
        (["net.py:Moody", "-o", "thin.py"], "thin.py: the network cannot be rebuilt from it (Error(s) in loading"),
    ],
)
def test_refusals(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    assert message in refused(capsys, *arguments)
    assert Path("net.py").read_text() == NET
