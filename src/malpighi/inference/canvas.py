"""Canvas: the part of the result that is begun and not yet finished."""

from __future__ import annotations

import numpy as np

from malpighi.geometry import Box

_STRIP = 32_768  # voxels multiplied at a time: 128 kB


class Canvas:
    """Open output boxes, each an array of its own that is made when the first tile falls on it and given away whole.

    There is no buffer of the image's size, no ring and no copy: tiles come row by row, so that only one or two rows of
    boxes are open, and of the lower one only the memory pages that were touched.
    """

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self._open: dict[Box, np.ndarray] = {}
        self._scratch = np.empty(_STRIP, np.float32)

    def __len__(self) -> int:
        return len(self._open)

    def add(self, box: Box, reach: Box, origin: tuple[int, ...], tile: np.ndarray, weights: np.ndarray | None) -> None:
        """Put on output box `box` what a tile says of it.

        Args:
            reach: the part of the image to which the tile contributes.
            origin: where the tile's first voxel lies in the image.
            tile: (class, *tile) float32.
            weights: (*tile) float32, with which tiles are summed; None where `reach` is this tile's alone.
        """
        part = reach.intersect(box)
        if box not in self._open:
            self._open[box] = np.zeros((self.classes, *box.size), np.float32)
        there = self._open[box][(slice(None), *part.relative_to(box.start).slices)]
        inside = part.relative_to(origin).slices
        values = tile[(slice(None), *inside)]
        if weights is None:
            there[...] = values
        else:
            self._add_weighted(there, values, weights[inside])

    def _add_weighted(self, there: np.ndarray, values: np.ndarray, weights: np.ndarray) -> None:
        """`there += values * weights` in strips whose product stays in the cache: measured 2.3 times as fast at 512²."""
        rows = max(1, _STRIP // max(1, values[:, 0].size))
        for row in range(0, values.shape[1], rows):
            strip = values[:, row : row + rows]
            if strip.size > self._scratch.size:
                self._scratch = np.empty(strip.size, np.float32)
            product = self._scratch[: strip.size].reshape(strip.shape)
            np.multiply(strip, weights[row : row + rows], out=product)
            there[:, row : row + rows] += product

    def take(self, box: Box) -> np.ndarray:
        """(class, *box.size) float32: the finished values of `box`, now the caller's; zeros where no tile fell."""
        done = self._open.pop(box, None)
        return np.zeros((self.classes, *box.size), np.float32) if done is None else done
