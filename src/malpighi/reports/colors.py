"""Colours: one for each class everywhere (pages, plots, overlays, GeoJSON), chosen to survive colour-blindness."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

RGB = tuple[int, int, int]

# Okabe & Ito (2008), ordered so that the first stand out on pink and violet stains; yellow late: it fades on white paper
_PALETTE: tuple[RGB, ...] = (
    (0, 158, 115),
    (230, 159, 0),
    (0, 114, 178),
    (213, 94, 0),
    (86, 180, 233),
    (204, 121, 167),
    (150, 140, 30),
)

TRUE_POSITIVE: RGB = (150, 190, 182)
FALSE_POSITIVE: RGB = (230, 120, 0)
FALSE_NEGATIVE: RGB = (0, 90, 200)
UNLABELLED: RGB = (128, 128, 136)

INK = "#17191e"
"""Text and lines of a plot; in a page it becomes the page's own text colour, so that plots follow light and dark."""
MUTED = "#82868f"
"""Grey that reads on white and on near-black alike: ticks, grids, and all text beside pictures."""


def class_colors(names: Sequence[str]) -> dict[str, RGB]:
    """One (red, green, blue) in 0 … 255 for each class name, by its place in the run's list of classes."""
    return {name: _PALETTE[i] if i < len(_PALETTE) else _generated(i - len(_PALETTE)) for i, name in enumerate(names)}


def _generated(index: int) -> RGB:
    """Past the palette's end: hues a golden angle apart never come close to repeating."""
    r, g, b = colorsys.hls_to_rgb((0.8 + index * 0.618034) % 1, 0.38, 0.5)
    return round(r * 255), round(g * 255), round(b * 255)


def hex_color(color: RGB) -> str:
    """#rrggbb."""
    return "#{:02x}{:02x}{:02x}".format(*color)
