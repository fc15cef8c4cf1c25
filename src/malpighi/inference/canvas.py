"""Canvas: the part of the result that is begun and not yet finished."""

from __future__ import annotations

import numpy as np

from malpighi.geometry import Box


class Canvas:
    """Open output boxes, each an array of its own that is made when the first tile falls on it and given away whole.

    There is no buffer of the image's size, no ring and no copy: tiles come row by row, so that only one or two rows of
    boxes are open, and of the lower one only the memory pages that were touched.
    """

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self._open: dict[Box, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self._open)

    def add(self, box: Box, reach: Box, origin: tuple[int, ...], tile: np.ndarray, weighted: bool) -> None:
        """Add to output box `box` what a tile says of it.

        Args:
            reach: the part of the image to which the tile contributes.
            origin: where the tile's first voxel lies in the image.
            tile: (class, *tile) float32, already weighted.
            weighted: whether tiles overlap and are summed; else `reach` is this tile's alone and is set.
        """
        part = reach.intersect(box)
        if box not in self._open:
            self._open[box] = np.zeros((self.classes, *box.size), np.float32)
        there = self._open[box][(slice(None), *part.relative_to(box.start).slices)]
        values = tile[(slice(None), *part.relative_to(origin).slices)]
        if weighted:
            there += values
        else:
            there[...] = values

    def take(self, box: Box) -> np.ndarray:
        """(class, *box.size) float32: the finished values of `box`, now the caller's; zeros where no tile fell."""
        done = self._open.pop(box, None)
        return np.zeros((self.classes, *box.size), np.float32) if done is None else done
