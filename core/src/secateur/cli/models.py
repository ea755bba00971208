"""Build the model that a command line names: a registered one, or what a callable of a file or module returns."""

from __future__ import annotations

import argparse
import ast
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from secateur.config.arguments import check_arguments
from secateur.errors import ConfigError, PluginError, SecateurError, suggestion
from secateur.plugins import current

if TYPE_CHECKING:
    from torch import nn

FORMS: Final = "a registered model, path/to/file.py:callable or package.module:callable"
MODULE: Final = "_secateur_user_model"


@frozen
class NamedModel:
    """A model that was built by name, and what is known of it."""

    name: str
    model: nn.Module
    input_shape: tuple[int, ...] | None
    """Shape of one example without the batch axis; None if nobody said."""
    code: tuple[str, str]
    """Python that builds it again: the import line and the expression."""
    inputs: Callable[[nn.Module], tuple[Any, ...]] | None = None
    """What makes its example inputs, if a shape says too little."""


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that `build_model` reads."""
    parser.add_argument("model", metavar="MODEL", help=FORMS)
    parser.add_argument(
        "--model-args",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="an argument for building the model, such as num_classes=10 (repeatable)",
    )
    parser.add_argument(
        "--seed", type=_seed, default=0, metavar="N", help="seed of the initial weights and the inputs (default: 0)"
    )


def add_input(parser: argparse.ArgumentParser) -> None:
    """Add the argument that `example_inputs` reads."""
    parser.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="SHAPE",
        help="sizes of an input, batch in front: 1,3,32,32, or 1,35:int64 for integers; 2,1,8+2,1,8 is a tuple of two, "
        "such as the states of an LSTM (repeatable; a registered model knows its own)",
    )


def build_model(name: str, model_args: Sequence[str] = (), seed: int = 0) -> NamedModel:
    """Build the model of that name, with reproducible initial weights.

    `model_args`: `key=value` strings. Raises `ConfigError`, in one line that says which: an unknown name, a file or
    module without that callable, a callable that raises or returns no module.
    """
    import torch

    arguments = dict(key_value(text, "--model-args") for text in model_args)
    torch.manual_seed(seed)
    if ":" not in name:
        return _registered(name, arguments)
    source, _, attribute = name.rpartition(":")
    if not source or not attribute:
        raise ConfigError(f"{name!r} names no model", where="MODEL", hint=f"give {FORMS}")
    with _importing(source):
        make = _attribute(_load(source), source, attribute)
        model = make if isinstance(make, torch.nn.Module) else _call(make, arguments, name)
    return NamedModel(name, _module(model, name), None, _code(source, attribute, arguments))


def example_inputs(built: NamedModel, texts: Sequence[str]) -> tuple[Any, ...]:
    """Random inputs for a model: of the shapes given, else one example of the registered shape.

    `texts`: `"1,3,32,32"` each, `"1,35:int64"` for integers (zeros), joined by + for a tuple of tensors. Raises
    `ConfigError` for anything else.
    """
    import torch

    if not texts:
        if built.inputs is not None:
            make = built.inputs
            return tuple(_guarded(lambda: make(built.model), built.name, "making its inputs failed"))
        if built.input_shape is None:
            hint = "give --input, such as --input 1,3,224,224"
            raise ConfigError("nothing says what its input looks like", where=built.name, hint=hint)
        return (torch.randn(1, *built.input_shape),)
    made = [tuple(_input(part) for part in text.split("+")) for text in texts]
    return tuple(parts[0] if len(parts) == 1 else parts for parts in made)


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**63:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0 to 2^63 - 1")
    return int(text)


def _input(text: str) -> Any:
    import torch

    numbers, _, dtype_name = text.partition(":")
    dtype = getattr(torch, dtype_name or "float32", None)
    hint = "give sizes with the batch in front, such as 1,3,32,32, or 1,35:int64 for integers"
    try:
        shape = [int(number) for number in numbers.split(",")]
    except ValueError:
        raise ConfigError(f"{text!r} is no shape", where="--input", hint=hint) from None
    if min(shape) < 1:
        raise ConfigError(f"{text!r} has a size below 1", where="--input", hint=hint)
    if not isinstance(dtype, torch.dtype):
        raise ConfigError(f"{dtype_name!r} is no dtype of torch", where="--input", hint=hint)
    try:
        return torch.randn(shape, dtype=dtype) if dtype.is_floating_point else torch.zeros(shape, dtype=dtype)
    except (RuntimeError, MemoryError) as error:
        what = f"{text!r} cannot be made ({_line(error)})"
        raise ConfigError(what, where="--input", hint="use smaller sizes") from error


def key_value(text: str, where: str) -> tuple[str, Any]:
    """Read `KEY=VALUE`; a value that is no Python literal is taken as text. `where`: the option, for messages."""
    key, equals, value = text.partition("=")
    if not equals or not key.isidentifier():
        hint = "such as num_classes=10" if where == "--model-args" else "such as limit=1000"
        raise ConfigError(f"{text!r} is not KEY=VALUE", where=where, hint=hint)
    try:
        return key, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return key, value


def _registered(name: str, arguments: dict[str, Any]) -> NamedModel:
    try:
        entry = current().models[name]
    except PluginError as error:
        more = f"say which callable, {name}:NAME" if name.endswith(".py") else "or give path/to/file.py:callable"
        hint = more if name.endswith(".py") else f"{error.hint}; {more}"
        raise ConfigError(error.what, where="MODEL", hint=hint) from error
    model = _module(_call(entry.build, arguments, name), name)
    given = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
    code = ("from secateur.plugins import current", f'current().models["{name}"].build({given})')
    return NamedModel(name, model, entry.input_shape and tuple(entry.input_shape), code, entry.inputs)


@contextmanager
def _importing(source: str) -> Iterator[None]:
    """Let imports find what lies beside the file, or in the current folder, as `python file.py` would."""
    folder = str(Path(source).resolve().parent) if source.endswith(".py") else str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        if folder in sys.path:
            sys.path.remove(folder)


def _load(source: str) -> Any:
    if not source.endswith(".py"):
        return _guarded(lambda: importlib.import_module(source), source, "it cannot be imported")
    path = Path(source)
    if not path.is_file():
        raise ConfigError("there is no such file", where=source, hint="check the path")
    spec = importlib.util.spec_from_file_location(MODULE, path)
    if spec is None or spec.loader is None:
        raise ConfigError("it cannot be imported", where=source, hint="give a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[MODULE] = module  # dataclasses and pickling look their module up
    loader = spec.loader
    _guarded(lambda: loader.exec_module(module), source, "it cannot be imported")
    return module


def _attribute(module: Any, source: str, attribute: str) -> Any:
    if not hasattr(module, attribute):
        known = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        raise ConfigError(f"it has no {attribute!r}", where=source, hint=suggestion(attribute, known))
    found = getattr(module, attribute)
    if not callable(found):
        what = f"{attribute!r} is of type {type(found).__name__}, not something to call"
        raise ConfigError(what, where=source, hint="name a function or class that returns an nn.Module")
    return found


def _call(make: Callable[..., Any], arguments: dict[str, Any], name: str) -> Any:
    try:
        check_arguments(make, arguments)
    except TypeError as error:
        raise ConfigError(str(error), where=name, hint="--model-args KEY=VALUE gives arguments") from error
    return _guarded(lambda: make(**arguments), name, "building the model failed")


def _guarded(action: Callable[[], Any], where: str, what: str) -> Any:
    """Run code of the user's; what it raises is one line that names type, message and place."""
    try:
        return action()
    except SecateurError:
        raise
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{what} ({_line(error)})", where=where, hint="see --debug for the traceback") from error


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    file = frame.tb_frame.f_code.co_filename if frame is not None else ""
    theirs = frame is not None and file != __file__ and not file.startswith("<")
    line = f" at {Path(file).name}:{frame.tb_lineno}" if frame is not None and theirs else ""
    return f"{type(error).__name__}: {text}{line}" if text else f"{type(error).__name__}{line}"


def _module(model: Any, name: str) -> nn.Module:
    import torch

    if not isinstance(model, torch.nn.Module):
        what = f"it returned something of type {type(model).__name__}, not an nn.Module"
        raise ConfigError(what, where=name, hint="return the model itself")
    return model


def _code(source: str, attribute: str, arguments: dict[str, Any]) -> tuple[str, str]:
    module = Path(source).stem if source.endswith(".py") else source
    given = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
    return f"from {module} import {attribute}", f"{attribute}({given})"
