"""Where a report was made: machine, versions, time."""

from __future__ import annotations

import platform
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from secateur.plugins import PluginManager

if TYPE_CHECKING:
    from torch import nn

BESIDE = ("torch", "numpy", "torchvision")
"""Distributions whose versions are told if they are installed."""


def versions(plugins: PluginManager) -> tuple[tuple[str, str], ...]:
    """Python, torch and what else computes, and every distribution that plugins were loaded from."""
    found = [("Python", platform.python_version())]
    found += [(name, known) for name in BESIDE if (known := _version(name))]
    loaded = {row.dist: row.version for row in plugins.rows if row.status == "loaded" and row.dist}
    return tuple(found + [(dist, number or "a file") for dist, number in sorted(loaded.items())])


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def device_of(model: nn.Module) -> str:
    """What the model computes on."""
    import torch

    parameter = next(iter(model.parameters()), None)
    if parameter is not None and parameter.is_cuda:
        return str(torch.cuda.get_device_name(parameter.device))
    return f"CPU ({platform.machine() or 'unknown'})"


def threads() -> int:
    """How many threads torch computes with."""
    import torch

    return int(torch.get_num_threads())


def machine() -> str:
    """The operating system."""
    return f"{platform.system()} {platform.release()}"


def now() -> str:
    """The time, with its zone."""
    return datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z").strip()
