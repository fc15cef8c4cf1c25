"""Synthetic tissue with exact truth, of any size, written in constant memory."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from malpighi.phantoms.cells import CellPhantom as CellPhantom
    from malpighi.phantoms.slide import SlidePhantom as SlidePhantom
    from malpighi.phantoms.tree import VesselTree as VesselTree
    from malpighi.phantoms.vessels import VesselPhantom as VesselPhantom

__all__ = ["CellPhantom", "SlidePhantom", "VesselPhantom", "VesselTree"]


def __getattr__(name: str) -> Any:  # numpy loads with the first phantom, not with the command line
    if name == "SlidePhantom":
        from malpighi.phantoms.slide import SlidePhantom

        return SlidePhantom
    if name == "CellPhantom":
        from malpighi.phantoms.cells import CellPhantom

        return CellPhantom
    if name == "VesselPhantom":  # and numba with the first of these
        from malpighi.phantoms.vessels import VesselPhantom

        return VesselPhantom
    if name == "VesselTree":
        from malpighi.phantoms.tree import VesselTree

        return VesselTree
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
