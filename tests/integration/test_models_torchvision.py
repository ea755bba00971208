"""torchvision's classifiers are listed without importing it, and it is imported on a CPU-only torch too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from secateur.errors import ConfigError, PluginError
from secateur_models import torchvision_import, torchvision_models
from secateur_models.torchvision_import import import_torchvision

ENTRIES = {entry.name: entry for entry in torchvision_models.secateur_models()}


def test_names_are_torchvisions_own() -> None:
    models = import_torchvision().models
    assert list(torchvision_models.NAMES) == sorted(models.list_models(module=models))
    assert tuple(ENTRIES) == torchvision_models.NAMES


@pytest.mark.parametrize("name", torchvision_models.NAMES)
def test_input_size_is_one_that_torchvision_has_weights_for(name: str) -> None:
    sizes = {weights.transforms().crop_size[0] for weights in import_torchvision().models.get_model_weights(name)}
    channels, height, width = ENTRIES[name].input_shape
    assert channels == 3
    assert height == width
    assert height in sizes


@pytest.mark.parametrize("name", ["squeezenet1_1", "inception_v3", "googlenet"])
def test_models_are_built_without_weights_and_run(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_download(*args: object, **kwargs: object) -> None:
        raise AssertionError("a download was tried")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", no_download)
    with torch.device("meta"):
        model = ENTRIES[name].build(num_classes=7).eval()
        assert model(torch.empty(1, *ENTRIES[name].input_shape)).shape == (1, 7)


def test_refused_arguments_are_named() -> None:
    with pytest.raises(ConfigError) as caught:
        ENTRIES["alexnet"].build(classes=7)
    message = str(caught.value)
    assert message.startswith(
        "model alexnet: torchvision refuses to build it with classes=7, weights=None (TypeError: "
    )
    assert message.endswith("; see the arguments of torchvision.models.alexnet")


def test_entry_modules_import_neither_torch_nor_torchvision() -> None:
    code = (
        "import sys\n"
        "from secateur_models import cifar, torchvision_models, digits, cifar10\n"
        "for module in (cifar, torchvision_models): list(module.secateur_models())\n"
        "for module in (digits, cifar10): list(module.secateur_datasets())\n"
        "heavy = {'torch', 'torchvision', 'sklearn', 'PIL'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    paths = [str(Path(p)) for p in sys.path if p]
    subprocess.run([sys.executable, "-c", f"import sys; sys.path[:] = {paths!r}\n{code}"], check=True)


# -- importing torchvision: stand-ins for the package, so that every way it can fail is seen ---------------


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Put a package `torchvision` with the given source first on the path, and count declarations."""
    declared: list[str] = []
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(torchvision_import, "_declared_operators", lambda: declared.append("nms, qnms"))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(tmp_path)
    package = tmp_path / "torchvision"
    package.mkdir()

    def write(source: str) -> list[str]:
        (package / "part.py").write_text("")
        (package / "__init__.py").write_text(f"from torchvision import part\ntimes = {declared!r}\n{source}")
        return declared

    yield write
    torchvision_import._forget_half_import()


def test_a_working_torchvision_is_left_alone(stand_in) -> None:
    declared = stand_in("fine = True")
    assert import_torchvision().fine
    assert declared == []


def test_missing_operators_are_declared_and_the_half_import_forgotten(stand_in, tmp_path: Path) -> None:
    declared = stand_in(
        "import pathlib\n"
        f"marker = pathlib.Path({str(tmp_path / 'marker')!r})\n"
        "if not marker.exists():\n"
        "    marker.touch()\n"
        "    part.stale = True\n"
        "    raise RuntimeError('operator torchvision::nms does not exist')\n"
    )
    module = import_torchvision()
    assert declared == ["nms, qnms"]
    assert not hasattr(module.part, "stale")
    assert import_torchvision() is module
    assert declared == ["nms, qnms"]


@pytest.mark.parametrize(
    ("source", "reason", "declarations"),
    [
        ("raise RuntimeError('no\\n  good')", "RuntimeError: no good", 0),
        ("raise ImportError('libtorch.so: not found')", "ImportError: libtorch.so: not found", 0),
        (
            "raise RuntimeError('operator torchvision::nms does not exist')",
            "RuntimeError: operator torchvision::nms does not exist",
            1,
        ),
    ],
)
def test_a_broken_torchvision_is_reported(stand_in, source: str, reason: str, declarations: int) -> None:
    declared = stand_in(source)
    with pytest.raises(PluginError) as caught:
        import_torchvision()
    assert str(caught.value) == (
        f"models of torchvision: torchvision is installed but cannot be imported ({reason}); "
        "install releases that belong together: pip install --upgrade torch torchvision"
    )
    assert len(declared) == declarations


def test_a_missing_torchvision_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(torchvision_import.importlib, "import_module", nothing)
    with pytest.raises(PluginError) as caught:
        import_torchvision()
    assert str(caught.value) == (
        "models of torchvision: torchvision is not installed; "
        "install it in the version that fits your torch: pip install torchvision"
    )
