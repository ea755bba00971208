"""Checkpoints: one safetensors file of weights, recipe and what trains the model; written whole, never unpickled."""

from __future__ import annotations

from secateur.checkpoint.diffing import diff
from secateur.checkpoint.inspection import inspect
from secateur.checkpoint.loading import load
from secateur.checkpoint.reading import Checkpoint, read
from secateur.checkpoint.saving import save

__all__ = ["Checkpoint", "diff", "inspect", "load", "read", "save"]
