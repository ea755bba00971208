"""Reports: what was done to a network, what it proves and what it cost, as one HTML file that needs nothing else."""

from __future__ import annotations

from secateur.report.content import ReportContent
from secateur.report.html import to_html, write_html

__all__ = ["ReportContent", "to_html", "write_html"]
