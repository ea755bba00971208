"""Checkpoints: one safetensors file of weights, recipe and optimizer state; written whole, never unpickled."""

from __future__ import annotations

from secateur.checkpoint.inspection import inspect
from secateur.checkpoint.loading import load
from secateur.checkpoint.saving import save

__all__ = ["inspect", "load", "save"]
