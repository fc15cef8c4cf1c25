"""Synthetic tissue with exact truth, of any size, written in constant memory."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from malpighi.phantoms.slide import SlidePhantom as SlidePhantom

__all__ = ["SlidePhantom"]


def __getattr__(name: str) -> Any:  # numpy loads with the first phantom, not with the command line
    if name == "SlidePhantom":
        from malpighi.phantoms.slide import SlidePhantom

        return SlidePhantom
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
