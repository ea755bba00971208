"""Take a thin network elsewhere, where Secateur is not installed: as plain Python, as a torch program, as ONNX."""

from __future__ import annotations

from secateur.export.programs import export_onnx, export_torch
from secateur.export.python import export_python

__all__ = ["export_onnx", "export_python", "export_torch"]
