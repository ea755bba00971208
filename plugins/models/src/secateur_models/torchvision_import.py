"""Import torchvision even where its compiled operators do not load.

The wheels of torchvision are compiled against torch with CUDA. Beside a CPU-only torch their shared library
cannot be loaded; torchvision tolerates that, except that it registers shape functions for two of the
operators in the library, `nms` and `qnms`, and dies because they do not exist. No classification model uses
them. Declaring their signatures, without any implementation, is enough: the import succeeds, and calling one
of them (detection models do) says that it is not implemented.
"""

from __future__ import annotations

import importlib
import sys
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING

from secateur.errors import PluginError

if TYPE_CHECKING:
    from torch.library import Library

__all__ = ["import_torchvision"]

OPERATORS = ("nms", "qnms")
SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def import_torchvision() -> ModuleType:
    """Return the module `torchvision`, declaring its missing operators only if that is what it needs.

    Raises `PluginError` if torchvision is not installed, or does not work with the installed torch.
    """
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if not _lacks_operator(error):
            raise _broken(error) from error
    except (ImportError, OSError) as error:
        raise _broken(error) from error
    _forget_half_import()
    _declared_operators()
    try:
        return importlib.import_module("torchvision")
    except (ImportError, OSError, RuntimeError) as error:
        _forget_half_import()
        raise _broken(error) from error


def _lacks_operator(error: RuntimeError) -> bool:
    return any(f"torchvision::{name} does not exist" in str(error) for name in OPERATORS)


def _forget_half_import() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]


@cache  # a Library withdraws its declarations when it is collected: the cache keeps it, and makes it once
def _declared_operators() -> Library:
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for name in OPERATORS:
        if not hasattr(torch.ops.torchvision, name):
            library.define(name + SIGNATURE)  # type: ignore[no-untyped-call]
    return library


def _broken(error: Exception) -> PluginError:
    if isinstance(error, ModuleNotFoundError) and error.name == "torchvision":
        return PluginError(
            "torchvision is not installed",
            where="models of torchvision",
            hint="install it in the version that fits your torch: pip install torchvision",
        )
    reason = " ".join(str(error).split())
    return PluginError(
        f"torchvision is installed but cannot be imported ({type(error).__name__}: {reason})",
        where="models of torchvision",
        hint="install releases that belong together: pip install --upgrade torch torchvision",
    )
