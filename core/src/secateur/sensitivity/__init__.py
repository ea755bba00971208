"""How sensitive a network is to what leaves: dim by dim or tensor by tensor, at several levels."""

from __future__ import annotations

from secateur.sensitivity.analysis import analyse
from secateur.sensitivity.results import Sensitivity
from secateur.sensitivity.suggesting import Suggestion

__all__ = ["Sensitivity", "Suggestion", "analyse"]
