"""Loggers of a run: what training came to, written down while it goes on."""

from __future__ import annotations

from secateur.training.loggers.base import Logger, Logs
from secateur.training.loggers.making import check_loggers, make_logs

__all__ = ["Logger", "Logs", "check_loggers", "make_logs"]
