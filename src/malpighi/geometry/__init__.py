"""Where things are: boxes, spacings, pyramids, grids and outlines. Values only; no pixels, no files."""

from malpighi.geometry.box import Box
from malpighi.geometry.grid import Grid
from malpighi.geometry.shape import Shape
from malpighi.geometry.space import Space, Spacing

__all__ = ["Box", "Grid", "Shape", "Space", "Spacing"]
