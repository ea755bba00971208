"""Measure a network: parameters, multiply-accumulates, bytes and seconds."""

from __future__ import annotations

from secateur.measure.costs import Cost, costs
from secateur.measure.counts import (
    Batch,
    batch_of,
    count_bytes,
    count_macs,
    count_parameters,
    macs,
    macs_by_op,
    macs_each,
)
from secateur.measure.latency import Comparison, Latency, latency, latency_pair

__all__ = [
    "Batch",
    "Comparison",
    "Cost",
    "Latency",
    "batch_of",
    "costs",
    "count_bytes",
    "count_macs",
    "count_parameters",
    "latency",
    "latency_pair",
    "macs",
    "macs_by_op",
    "macs_each",
]
