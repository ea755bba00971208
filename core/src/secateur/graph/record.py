"""Records of which a graph has thousands: frozen for the type checker, and quick to make.

An instance that attrs freezes takes three times as long to make as one that it does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from attrs import frozen as record
else:
    from attrs import define

    def record(kind: Any = None, *, eq: bool = True, kw_only: bool = False) -> Any:
        """What `attrs.frozen` is, with nobody watching at run time."""
        return define(kind, eq=eq, unsafe_hash=eq or None, kw_only=kw_only)


__all__ = ["record"]
