"""What a network holds and computes, as tables."""

from __future__ import annotations

from secateur.summaries.table import Column, Table

__all__ = ["Column", "Table"]
