"""The exported Python file rebuilds thin networks where Secateur cannot be imported, equal to the last bit."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn.utils import prune

import secateur
from secateur.errors import CheckpointError
from secateur_models.torchvision_import import import_torchvision

NETS = '''
import torch
from torch import nn
from torch.nn import functional as F


class Net(nn.Module):
    """Batch norm, and a buffer along a prunable dim that the state dict does not hold."""

    def __init__(self, width=8):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, 6, 3)
        self.fc = nn.Linear(6, 5)
        self.register_buffer("gain", torch.linspace(0.5, 1.5, width).reshape(1, width, 1, 1), persistent=False)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)) * self.gain)
        return self.fc(torch.relu(self.conv2(x)).mean((2, 3)))


class Words(nn.Module):
    """A language model whose embedding is its decoder, too; a size is kept in a list."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.up = nn.Linear(8, 12)
        self.down = nn.Linear(12, 8)
        self.decode = nn.Linear(8, 11)
        self.decode.weight = self.embed.weight
        self.sizes = [2, 6]

    def forward(self, ids):
        x = self.embed(ids)
        y = torch.relu(self.up(x)).view(*ids.shape, *self.sizes).flatten(-2)
        return self.decode(x + self.down(y))
'''

RUN = """
import sys
sys.modules["secateur"] = None  # importing it raises ImportError
import runpy, torch
from safetensors.torch import load_file
library = torch.library.Library("torchvision", "FRAGMENT")
for name in ("nms", "qnms"):  # its compiled operators may not load beside a CPU-only torch
    library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
make, program, weights, inputs, target = sys.argv[1:]
exec(make)
thin = runpy.run_path(program)["thin"]
model = thin(dense)
model.load_state_dict(load_file(weights), strict=True)
torch.save(model.eval()(torch.load(inputs)), target)
"""

TORCHVISION = "import torchvision; torch.manual_seed(9); dense = torchvision.models.{}"
OWN = "import nets; dense = nets.{}"


def made(code: str) -> nn.Module:
    space: dict[str, Any] = {"torch": torch}
    exec(code, space)
    model: nn.Module = space["dense"]
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.is_floating_point() and tensor.dim() == 1:
                tensor.add_(torch.rand(tensor.shape, generator=generator))
    return model


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    import_torchvision()
    (tmp_path / "nets.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("nets", None)
    return tmp_path


def image(size: int) -> torch.Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))


IDS = torch.arange(10).reshape(2, 5)
CASES: dict[str, tuple[str, torch.Tensor, dict[str, Any]]] = {
    "resnet18": (TORCHVISION.format("resnet18()"), image(64), {}),
    "densenet": (
        TORCHVISION.format("DenseNet(growth_rate=8, block_config=(2, 3), num_init_features=16, bn_size=2)"),
        image(64),
        {},
    ),
    "vit with heads": (
        TORCHVISION.format("VisionTransformer(32, 8, 2, 4, 32, 64, num_classes=7)"),
        image(32),
        {"renormalise": True},
    ),
    "tied embedding": (OWN.format("Words()"), IDS, {}),
    "buffers": (OWN.format("Net()"), image(9), {}),
}


def output(model: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(inputs)  # type: ignore[no-any-return]


def elsewhere(code: str, program: str, weights: Path, inputs: torch.Tensor) -> torch.Tensor:
    """What the rebuilt network computes in a process that cannot import Secateur."""
    torch.save(inputs, "inputs.pt")
    arguments = [sys.executable, "-c", RUN, code, program, str(weights), "inputs.pt", "output.pt"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return torch.load("output.pt")  # type: ignore[no-any-return]


@pytest.mark.parametrize(("case", "steps"), [*((case, 1) for case in CASES), ("resnet18", 3), ("buffers", 2)])
def test_rebuilt_without_secateur(case: str, steps: int) -> None:
    code, inputs, options = CASES[case]
    model = made(code)
    for _ in range(steps):
        secateur.thin(model, secateur.plan(model, (inputs,), prune=0.4, **options))
    if "heads" in case:
        assert model.encoder.layers[0].self_attention.num_heads == 3
    weights = secateur.export_python("thin.py", model)
    found = elsewhere(code, "thin.py", weights, inputs)
    assert torch.equal(found, output(model, inputs))


@pytest.fixture
def thinned() -> nn.Module:
    model = made(OWN.format("Net()"))
    secateur.thin(model, secateur.plan(model, (image(9),)))
    return model


def function(path: str = "thin.py") -> Any:
    return runpy.run_path(path)["thin"]


def test_the_structure_of_a_fresh_model(thinned: nn.Module) -> None:
    secateur.export_python("thin.py", thinned)
    dense = made(OWN.format("Net()")).double()
    parameters = dict(dense.named_parameters())
    assert function()(dense) is dense
    assert dense.conv1.out_channels == dense.bn1.num_features == dense.conv2.in_channels == 4
    assert "Conv2d(3, 4, kernel_size" in repr(dense)
    assert all(parameter is parameters[name] for name, parameter in dense.named_parameters())
    assert {tensor.dtype for tensor in dense.parameters()} == {torch.float64}
    assert torch.equal(dense.gain, thinned.gain.double())


def test_memory_format_device_and_lists_are_kept() -> None:
    model = made(OWN.format("Words()"))
    secateur.thin(model, secateur.plan(model, (IDS,)))
    weights = secateur.export_python("words.py", model)
    with torch.device("meta"):
        dense = made(OWN.format("Words()"))
    function("words.py")(dense)
    assert {tensor.device.type for tensor in dense.parameters()} == {"meta"}
    assert dense.sizes == model.sizes
    assert isinstance(dense.sizes, list)
    assert dense.decode.weight is dense.embed.weight
    held = load_file(weights)
    assert torch.equal(held["decode.weight"], held["embed.weight"])
    net = made(OWN.format("Net()"))
    secateur.thin(net, secateur.plan(net, (image(9),)))
    secateur.export_python("net.py", net)
    last = function("net.py")(made(OWN.format("Net()")).to(memory_format=torch.channels_last))
    assert last.conv2.weight.is_contiguous(memory_format=torch.channels_last)
    assert not last.conv2.weight.is_contiguous()


def test_the_text(thinned: nn.Module) -> None:
    secateur.export_python("thin.py", thinned)
    text = Path("thin.py").read_text()
    assert '# conv1, Conv2d: out_channels 8 -> 4\n    "conv1.weight": ((8, 3, 3, 3), (4, 3, 3, 3)),' in text
    assert '"bn1.num_features": (8, 4),' in text
    assert '"gain": ((1, 8, 1, 1), {1: [(' in text
    assert {line.split()[1] for line in text.splitlines() if line.startswith(("import", "from"))} == {
        "__future__",
        "typing",
        "torch",
    }
    secateur.export_python("again.py", thinned)
    assert Path("again.py").read_text() == text.replace("thin.weights.safetensors", "again.weights.safetensors")
    assert Path("again.weights.safetensors").read_bytes() == Path("thin.weights.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            "Net(12)",
            "Net is not the dense model: conv1.weight has shape (12, 3, 3, 3) where (8, 3, 3, 3) is expected; ",
        ),
        ("Words()", "Words is not the dense model: it has no tensor conv1.weight; "),
    ],
)
def test_a_model_that_does_not_fit_is_left_as_it_is(thinned: nn.Module, model: str, message: str) -> None:
    secateur.export_python("thin.py", thinned)
    other = made(OWN.format(model))
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        function()(other)
    assert str(caught.value).startswith(message)
    assert " more" in str(caught.value)
    assert all(torch.equal(tensor, before[name]) for name, tensor in other.state_dict().items())


def test_an_attribute_that_does_not_fit(thinned: nn.Module) -> None:
    secateur.export_python("thin.py", thinned)
    other = made(OWN.format("Net()"))
    other.bn1.num_features = 7
    del other.conv1.out_channels
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        function()(other)
    assert str(caught.value) == (
        "Net is not the dense model: it has no attribute conv1.out_channels; bn1.num_features is 7 where 8 is expected"
    )


def test_a_dense_model_needs_nothing() -> None:
    model = made(OWN.format("Net()"))
    weights = secateur.export_python("dense.py", model)
    twin = function("dense.py")(made(OWN.format("Net(8)")))
    twin.load_state_dict(load_file(weights))
    assert torch.equal(output(twin, image(9)), output(model, image(9)))


def test_masks_of_torch_and_scales_that_are_kept() -> None:
    def fresh() -> nn.Sequential:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 8), nn.RMSNorm(8), nn.Linear(8, 2))
        prune.random_unstructured(model[0], "weight", amount=0.3)  # its first product is a graph that lives on
        return model

    model, x = fresh(), torch.randn(4, 6)
    secateur.thin(model, secateur.plan(model, (x,), renormalise=True))
    weights = secateur.export_python("thin.py", model)
    assert f'"1.eps": (None, {model[1].eps!r}),' in Path("thin.py").read_text()
    twin = function()(fresh())
    twin.load_state_dict(load_file(weights))
    assert torch.equal(output(twin, x), output(model, x))
    twin(x).sum().backward()
    assert twin[0].weight_orig.grad.shape == twin[0].weight_mask.shape == (4, 6)


def test_odd_names_stay_text(place: Path) -> None:
    model = nn.Sequential()
    name = 'a\nimport os"""\\'
    model.add_module(name, nn.Linear(3, 8))
    model.add_module("b", nn.Linear(8, 2))
    secateur.thin(model, secateur.plan(model, (torch.randn(2, 3),)))
    weights = secateur.export_python(place / 'o"""d d.py', model)
    fresh = nn.Sequential()
    fresh.add_module(name, nn.Linear(3, 8))
    fresh.add_module("b", nn.Linear(8, 2))
    function(str(place / 'o"""d d.py'))(fresh).load_state_dict(load_file(weights))
    assert torch.equal(output(fresh, torch.ones(1, 3)), output(model, torch.ones(1, 3)))


def test_other_files_are_not_overwritten(thinned: nn.Module) -> None:
    Path("mine.py").write_text("print(1)\n")
    with pytest.raises(CheckpointError) as caught:
        secateur.export_python("mine.py", thinned)
    assert str(caught.value) == (
        "mine.py: a file that is no export would be overwritten; remove it first, or write elsewhere"
    )
    assert Path("mine.py").read_text() == "print(1)\n"
    Path("thin.weights.safetensors").write_text("something else")
    with pytest.raises(CheckpointError, match="a file that is no checkpoint would be overwritten"):
        secateur.export_python("thin.py", thinned)
    with pytest.raises(
        CheckpointError, match=r"^thin.txt: it does not end in .py; name a Python file, such as thin.py$"
    ):
        secateur.export_python("thin.txt", thinned)
    secateur.save("thin.weights.safetensors.new", thinned)
    Path("thin.weights.safetensors.new").replace("thin.weights.safetensors")
    with pytest.raises(CheckpointError) as caught:
        secateur.export_python("thin.py", thinned)
    assert str(caught.value) == (
        "thin.weights.safetensors: a checkpoint would be overwritten by mere weights; "
        "name another Python file, or move the checkpoint"
    )
    with pytest.raises(CheckpointError, match="there is no folder"):
        secateur.export_python("nowhere/thin.py", thinned)
    assert not Path("thin.py").exists()


def test_a_failed_export_leaves_the_old_one(thinned: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    secateur.export_python("thin.py", thinned)
    before = {path: Path(path).read_bytes() for path in ("thin.py", "thin.weights.safetensors")}
    secateur.thin(thinned, secateur.plan(thinned, (image(9),)))

    def fails(*_: Any) -> None:
        raise RuntimeError("no space")

    monkeypatch.setattr("safetensors.torch.save_file", fails)
    with pytest.raises(CheckpointError, match=r"the tensors cannot be written \(RuntimeError: no space\)"):
        secateur.export_python("thin.py", thinned)
    assert {path: Path(path).read_bytes() for path in before} == before
    assert sorted(path.name for path in Path().glob("*thin*")) == ["thin.py", "thin.weights.safetensors"]


def test_models_that_others_changed(thinned: nn.Module) -> None:
    thinned.bn1.num_features = 5
    with pytest.raises(CheckpointError) as caught:
        secateur.export_python("thin.py", thinned)
    assert str(caught.value) == (
        "thin.py: 'bn1.num_features' was changed since the model was thinned: thinning left the value 4, it is 5; "
        "export the model as thinning left it"
    )
    thinned.bn1.num_features = 4
    thinned.bn1.weight = nn.Parameter(torch.ones(3))
    with pytest.raises(CheckpointError, match=r"thinning left the shape \(4,\), it is \(3,\)"):
        secateur.export_python("thin.py", thinned)
    with pytest.raises(CheckpointError, match=r"only its part '0' was thinned; export '0' by itself"):
        secateur.export_python("thin.py", nn.Sequential(thinned))
    assert not Path("thin.py").exists()
