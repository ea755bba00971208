"""How a command line names a model: every form, and one line for everything that is wrong."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from secateur.cli.models import build_model, example_inputs
from secateur.errors import ConfigError, PluginError

FILE = """
from dataclasses import dataclass
from torch import nn
from beside import WIDTH

@dataclass
class Options:
    width: int = WIDTH

def make(width=WIDTH):
    return nn.Linear(width, 2)

class Net(nn.Linear):
    def __init__(self):
        super().__init__(3, 2)

ready = make()
number = 3

def text():
    return "no module"

def broken():
    raise ValueError("two\\nlines")

def leaves():
    raise SystemExit("bye")
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "net.py").write_text(FILE)
    (tmp_path / "beside.py").write_text("WIDTH = 4\n")
    (tmp_path / "wrong.py").write_text("import torch\nx = = 1\n")
    (tmp_path / "raises.py").write_text("\n\n1 / 0\n")
    (tmp_path / "secateur_test_pack").mkdir()
    (tmp_path / "secateur_test_pack" / "__init__.py").write_text("")
    (tmp_path / "secateur_test_pack" / "nets.py").write_text(FILE.replace("beside", "beside"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    return tmp_path


def message(name: str, *arguments: str) -> str:
    path = list(sys.path)
    with pytest.raises(ConfigError) as error:
        build_model(name, arguments)
    assert sys.path == path
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_registered_model() -> None:
    built = build_model("resnet20_cifar", ["num_classes=7"])
    assert built.model.fc.out_features == 7
    assert built.input_shape == (3, 32, 32)
    assert built.code[1] == 'current().models["resnet20_cifar"].build(num_classes=7)'


def test_the_weights_are_reproducible() -> None:
    one, same, other = (build_model("resnet20_cifar", seed=seed).model.fc.weight for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("name", ["net.py:make", "secateur_test_pack.nets:make", "net.py:ready"])
def test_files_and_modules(folder: Path, name: str) -> None:
    path = list(sys.path)
    built = build_model(name)
    assert isinstance(built.model, nn.Linear)
    assert built.model.in_features == 4
    assert sys.path == path


def test_a_class_and_an_absolute_path(folder: Path) -> None:
    built = build_model(f"{folder}/net.py:Net")
    assert built.model.in_features == 3
    assert built.code == ("from net import Net", "Net()")


def test_arguments_reach_the_callable(folder: Path) -> None:
    assert build_model("net.py:make", ["width=9"]).model.in_features == 9


def test_an_unknown_name() -> None:
    text = message("resnet20_cifr")
    assert text.startswith("MODEL: no model named 'resnet20_cifr'; did you mean 'resnet20_cifar'? (known: ")
    assert text.endswith("; or give path/to/file.py:callable")


def test_a_file_without_its_callable(folder: Path) -> None:
    assert message("net.py") == "MODEL: no model named 'net.py'; say which callable, net.py:NAME"
    assert message("net.py:mak").startswith("net.py: it has no 'mak'; did you mean 'make'? (known: ")
    for name in (":make", "net.py:"):
        assert message(name) == (
            f"MODEL: {name!r} names no model; "
            "give a registered model, path/to/file.py:callable or package.module:callable"
        )


def test_nothing_to_import(folder: Path) -> None:
    assert message("none.py:make") == "none.py: there is no such file; check the path"
    assert message("nopack.nets:make") == (
        "nopack.nets: it cannot be imported (ModuleNotFoundError: No module named 'nopack'); "
        "see --debug for the traceback"
    )


def test_code_that_fails(folder: Path) -> None:
    see = "see --debug for the traceback"
    assert message("raises.py:x") == (
        f"raises.py: it cannot be imported (ZeroDivisionError: division by zero at raises.py:3); {see}"
    )
    assert message("wrong.py:x").startswith(
        "wrong.py: it cannot be imported (SyntaxError: invalid syntax (wrong.py, line 2)"
    )
    assert message("net.py:broken").startswith(
        "net.py:broken: building the model failed (ValueError: two lines at net.py:"
    )
    assert message("net.py:leaves").startswith("net.py:leaves: building the model failed (SystemExit: bye at net.py:")
    assert message("net.py:make", "size=3") == (
        "net.py:make: there is no argument 'size'; (known: width); --model-args KEY=VALUE gives arguments"
    )
    assert "there is no argument 'classes'; did you mean 'num_classes'?" in message("resnet20_cifar", "classes=3")


def test_something_that_is_no_model(folder: Path) -> None:
    assert message("net.py:text") == (
        "net.py:text: it returned something of type str, not an nn.Module; return the model itself"
    )
    assert message("net.py:number") == (
        "net.py: 'number' is of type int, not something to call; name a function or class that returns an nn.Module"
    )


@pytest.mark.parametrize("text", ["width", "=3", "a b=3"])
def test_bad_arguments(text: str) -> None:
    assert message("resnet20_cifar", text) == f"--model-args: {text!r} is not KEY=VALUE; such as num_classes=10"


# -- inputs --------------------------------------------------------------------------------------------------------


def test_inputs_of_a_registered_model() -> None:
    built = build_model("resnet20_cifar")
    assert [tuple(t.shape) for t in example_inputs(built, [])] == [(1, 3, 32, 32)]
    assert [tuple(t.shape) for t in example_inputs(built, ["2,3,16,16"])] == [(2, 3, 16, 16)]


def test_several_inputs_and_integers() -> None:
    built = build_model("resnet20_cifar")
    first, second = example_inputs(built, ["4,2", "4,7:int64"])
    assert (first.dtype, second.dtype, tuple(second.shape)) == (torch.float32, torch.int64, (4, 7))
    assert second.max() == 0


def test_nothing_says_what_the_input_is(folder: Path) -> None:
    with pytest.raises(ConfigError) as error:
        example_inputs(build_model("net.py:make"), [])
    assert str(error.value) == (
        "net.py:make: nothing says what its input looks like; give --input, such as --input 1,3,224,224"
    )


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("1,x", "'1,x' is no shape"),
        ("", "'' is no shape"),
        ("1,,3", "'1,,3' is no shape"),
        ("1,0", "'1,0' has a size below 1"),
        ("1,3:float99", "'float99' is no dtype of torch"),
        ("1,3:nn", "'nn' is no dtype of torch"),
    ],
)
def test_bad_shapes(text: str, what: str) -> None:
    with pytest.raises(ConfigError) as error:
        example_inputs(build_model("resnet20_cifar"), [text])
    hint = "give sizes with the batch in front, such as 1,3,32,32, or 1,35:int64 for integers"
    assert str(error.value) == f"--input: {what}; {hint}"


def test_an_input_larger_than_memory() -> None:
    with pytest.raises(ConfigError, match=r"--input: '99999999,99999999' cannot be made .*; use smaller sizes"):
        example_inputs(build_model("resnet20_cifar"), ["99999999,99999999"])


def test_a_registry_error_keeps_its_cause() -> None:
    with pytest.raises(ConfigError) as error:
        build_model("nosuch")
    assert isinstance(error.value.__cause__, PluginError)
