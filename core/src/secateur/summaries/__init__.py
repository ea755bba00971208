"""What a network holds and computes, and what pruning changed of it, as tables."""

from __future__ import annotations

from secateur.summaries.comparing import compare, side_by_side
from secateur.summaries.computing import compute
from secateur.summaries.holdings import modules
from secateur.summaries.table import Column, Table
from secateur.summaries.weights import percentiles, sparsity

__all__ = ["Column", "Table", "compare", "compute", "modules", "percentiles", "side_by_side", "sparsity"]
