"""Blank tiles: which training boxes show next to nothing, asked often and so answered from tables.

One pass over an image adds up, cell by cell, what tells glass and paper from tissue; every box is then a few additions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from malpighi.errors import DataError
from malpighi.geometry import Box, Spacing
from malpighi.sampling.labelled import blocks_of

if TYPE_CHECKING:
    from malpighi.images.base import Source

CELLS = 8
"""Cells of the tables to a tile's side."""
VIVID = 0.01
"""Part of a tile's pixels that must be as saturated as asked for: the 99th percentile of kidney-3rd."""


@dataclass(frozen=True, eq=False)
class TileSums:
    """Sums over the cells of one image at one spacing, and what makes a box blank.

    A box is answered by the whole cells next to its borders, so to half a cell, a sixteenth of the tile, on each side.

    Attributes:
        sums: (4, rows + 1, columns + 1) int64 summed-area tables: pixels, grey values, their squares, pixels that are saturated enough.
        cell: sides of a cell, in pixels of the spacing.
        shape: of the image.
        least_std: boxes whose grey values, 0 … 255, deviate less are blank; 0: none.
        vivid: whether boxes of whose pixels fewer than `VIVID` are saturated enough are blank.
    """

    sums: np.ndarray
    cell: tuple[int, int]
    shape: tuple[int, int]
    least_std: float
    vivid: bool

    def blank(self, box: Box) -> bool:
        """Whether the part of `box` inside the image is blank."""
        pixels, grey, squares, vivid = self.of(box)
        deviation = np.sqrt(max(0.0, squares / pixels - (grey / pixels) ** 2))
        return bool(deviation < self.least_std or (self.vivid and vivid < VIVID * pixels))

    def of(self, box: Box) -> np.ndarray:
        """(4,) sums over the cells that `box` is nearest to; at least one."""
        inside = box.clip(self.shape)
        (y0, y1), (x0, x1) = (
            _cells(a, b, side, n) for a, b, side, n in zip(inside.start, inside.stop, self.cell, self.shape, strict=True)
        )
        s = self.sums
        return s[:, y1, x1] - s[:, y0, x1] - s[:, y1, x0] + s[:, y0, x0]


def _cells(start: int, stop: int, side: int, size: int) -> tuple[int, int]:
    """First and one past the last cell of an axis of `size` pixels; its last cell may be cut by the image's border."""
    last = -(-size // side)
    first = min(round(start / side), last - 1)
    return first, last if stop == size else min(last, max(first + 1, round(stop / side)))


def measure_tiles(
    source: Source,
    spacing: Spacing,
    tile: tuple[int, ...],
    least_std: float,
    least_saturation: float,
    advance: Callable[[float], object] = lambda part: None,
) -> TileSums:
    """Read an image once at `spacing`, block by block.

    Grey is OpenCV's (0.299 R + 0.587 G + 0.114 B), saturation that of HSV, 0 … 255.

    Args:
        tile: size of training tiles in pixels of `spacing`.
        advance: called with the part of the image that is done, block by block; they add up to 1.

    Raises:
        DataError: the image is not 8-bit RGB of two axes.
    """
    import cv2

    if source.space.rank != 2 or source.dtype != np.uint8 or len(source.channels) != 3:
        raise DataError(
            f"{source.name} holds {len(source.channels)} channels of {source.dtype.name} on {source.space.rank} axes; "
            "sampling.least_std and sampling.least_saturation need 8-bit RGB images: set both to 0"
        )
    shape = source.space.shape_at(spacing)
    cell = tuple(max(1, side // CELLS) for side in tile)
    cells = np.zeros((4, *(-(-n // c) for n, c in zip(shape, cell, strict=True))), np.int64)
    for box in blocks_of(shape, cell):
        pixels = np.ascontiguousarray(source.read_at(box, spacing).transpose(1, 2, 0))
        grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.int64)
        saturation = cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV)[..., 1]
        layers = (np.ones_like(grey), grey, grey * grey, saturation >= least_saturation)
        at = tuple(slice(a // c, -(-b // c)) for a, b, c in zip(box.start, box.stop, cell, strict=True))
        for total, layer in zip(cells, layers, strict=True):
            total[at] = _added(layer, cell)
        advance(box.volume / (shape[0] * shape[1]))
    sums = np.pad(cells.cumsum(1).cumsum(2), ((0, 0), (1, 0), (1, 0)))
    return TileSums(sums, (cell[0], cell[1]), (shape[0], shape[1]), least_std, least_saturation > 0)


def _added(layer: np.ndarray, cell: Sequence[int]) -> np.ndarray:
    """Sums over the cells of a block that starts on one."""
    for axis, side in enumerate(cell):
        layer = np.add.reduceat(layer, np.arange(0, layer.shape[axis], side), axis=axis, dtype=np.int64)
    return layer
