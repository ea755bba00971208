"""Pictures of graphs: what is coupled has one colour, widths before and after a plan, repeated blocks folded."""

from __future__ import annotations

from secateur.pictures.picture import Picture, check_form, picture

__all__ = ["Picture", "check_form", "picture"]
