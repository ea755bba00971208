"""Secateur prunes PyTorch networks, makes them physically smaller, and proves that they compute the same.

The names below are the whole public surface. Each is imported when it is first used, so that
`import secateur` and `secateur --help` load no torch.
"""

from __future__ import annotations

import difflib
import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from secateur.checkpoint import load as load
    from secateur.checkpoint import save as save
    from secateur.errors import CaptureError as CaptureError
    from secateur.errors import CheckpointError as CheckpointError
    from secateur.errors import ConfigError as ConfigError
    from secateur.errors import DataError as DataError
    from secateur.errors import PlanError as PlanError
    from secateur.errors import PluginError as PluginError
    from secateur.errors import SecateurError as SecateurError
    from secateur.errors import ThinError as ThinError
    from secateur.errors import VerificationError as VerificationError
    from secateur.export import export_onnx as export_onnx
    from secateur.export import export_python as export_python
    from secateur.export import export_torch as export_torch
    from secateur.graph.capture import trace as trace
    from secateur.graph.ir import Graph as Graph
    from secateur.hookspecs import hookimpl as hookimpl
    from secateur.schedule.scheduler import Scheduler as Scheduler
    from secateur.thinning.calibrating import calibration as calibration
    from secateur.thinning.masking import masked as masked
    from secateur.thinning.plan import Dim as Dim
    from secateur.thinning.plan import Plan as Plan
    from secateur.thinning.planner import plan as plan
    from secateur.thinning.report import Report as Report
    from secateur.thinning.transaction import thin as thin
    from secateur.zeros.planner import plan_zeros as plan_zeros

__version__ = "0.1.0"

_HOMES = {
    "secateur.checkpoint": ("load", "save"),
    "secateur.errors": (
        "CaptureError",
        "CheckpointError",
        "ConfigError",
        "DataError",
        "PlanError",
        "PluginError",
        "SecateurError",
        "ThinError",
        "VerificationError",
    ),
    "secateur.export": ("export_onnx", "export_python", "export_torch"),
    "secateur.graph.capture": ("trace",),
    "secateur.graph.ir": ("Graph",),
    "secateur.hookspecs": ("hookimpl",),
    "secateur.schedule.scheduler": ("Scheduler",),
    "secateur.thinning.calibrating": ("calibration",),
    "secateur.thinning.masking": ("masked",),
    "secateur.thinning.plan": ("Dim", "Plan"),
    "secateur.thinning.planner": ("plan",),
    "secateur.thinning.report": ("Report",),
    "secateur.thinning.transaction": ("thin",),
    "secateur.zeros.planner": ("plan_zeros",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

_PACKAGES = ("sensitivity",)
"""Packages that can be used without importing them by themselves."""

__all__ = [
    "__version__",
    *sorted(_HOME_OF),
]


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        value = getattr(importlib.import_module(_HOME_OF[name]), name)
        globals()[name] = value
        return value
    if name in _PACKAGES:
        return importlib.import_module(f"secateur.{name}")
    close = difflib.get_close_matches(name, _HOME_OF, n=1)
    guess = f"; did you mean {close[0]!r}?" if close else ""
    raise AttributeError(f"module 'secateur' has no attribute {name!r}{guess}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME_OF, *_PACKAGES})
