"""What file formats do with colour besides red, green and blue."""

from __future__ import annotations

import numpy as np

_NAMES = {1: ("gray",), 3: ("red", "green", "blue")}


def channel_names(count: int, rgb: bool = True) -> tuple[str, ...]:
    """Names of the channels of a file that gives none; three are red, green and blue only where it is `rgb`."""
    named = _NAMES.get(count) if rgb or count == 1 else None
    return named or tuple(f"channel {i}" for i in range(count))


def on_white(array: np.ndarray, premultiplied: bool = False) -> np.ndarray:
    """(…, colours + alpha) composited on white, the colour of glass: (…, colours), same dtype (unsigned integer).

    Dropping alpha instead would show what is under it, which slide writers leave black.
    """
    colours, alpha = array[..., :-1], array[..., -1:]
    top = np.iinfo(array.dtype).max
    if alpha.min() == top:
        return colours
    wide = colours.astype(np.uint64)
    part = alpha.astype(np.uint64)
    under = (top - part) * top
    total = (wide * top if premultiplied else wide * part) + under
    return np.minimum((total + top // 2) // top, top).astype(array.dtype)


def from_palette(array: np.ndarray, colormap: np.ndarray) -> np.ndarray:
    """Indices (…, 1) to colours (…, 3) uint8; TIFF's colormap is (3, entries) uint16."""
    table = (colormap >> 8 if int(colormap.max()) > 255 else colormap).astype(np.uint8).T
    return np.ascontiguousarray(table[np.minimum(array[..., 0], len(table) - 1)])
