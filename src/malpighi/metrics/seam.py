"""The seam score: do the borders of tiles show in a prediction?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from malpighi.errors import DataError
from malpighi.geometry import Box
from malpighi.metrics.overlap import UNLABELLED


class SeamScore:
    """Error rate near the borders of tiles over that in their interiors, gathered block by block.

    1: borders do not show. 2: twice as many wrong voxels near them as elsewhere. Borders are the multiples of `step`
    (the distance of neighbouring tiles) inside the image; its own border is none.

    Args:
        shape: of the image, voxels.
        step: distance of neighbouring tiles by axis, voxels.
        width: voxels on either side of a border that count as near.
    """

    def __init__(self, shape: Sequence[int], step: Sequence[int], width: int = 8) -> None:
        if not len(shape) == len(step) or min(step) < 1 or width < 1:
            raise DataError(f"shape {tuple(shape)}, step {tuple(step)}, width {width}: give one positive step an axis")
        self.shape, self.step, self.width = tuple(shape), tuple(step), width
        self.near = np.zeros(2, np.int64)  # wrong, all
        self.inside = np.zeros(2, np.int64)

    def add(self, prediction: np.ndarray, truth: np.ndarray, box: Box) -> None:
        """Count one block.

        Args:
            prediction, truth: class layers or labels of `box`, (*spatial) or (class, *spatial); 255 of truth is skipped.
        """
        if prediction.shape != truth.shape or truth.shape[-box.rank :] != box.size:
            raise DataError(f"prediction {prediction.shape} and truth {truth.shape} must both show {box}")
        known = truth != UNLABELLED
        wrong = (prediction != truth) & known
        near = np.zeros(box.size, bool)
        for axis in range(box.rank):
            shape = [1] * box.rank
            shape[axis] = box.size[axis]
            near |= self._near(box, axis).reshape(shape)
        self.near += (np.count_nonzero(wrong & near), np.count_nonzero(known & near))
        self.inside += (np.count_nonzero(wrong & ~near), np.count_nonzero(known & ~near))

    def _near(self, box: Box, axis: int) -> np.ndarray:
        """Which indices along an axis are within `width` of a border that lies inside the image."""
        index, step = np.arange(box.start[axis], box.stop[axis]), self.step[axis]
        border = np.rint((index + 0.5) / step).astype(np.int64) * step
        return (np.abs(index + 0.5 - border) < self.width) & (border > 0) & (border < self.shape[axis])

    @property
    def score(self) -> float:
        """Ratio of the error rates; 1 without any error, NaN where there is no border or no interior."""
        if not self.near[1] or not self.inside[1]:
            return float("nan")
        near, inside = self.near[0] / self.near[1], self.inside[0] / self.inside[1]
        if not inside:
            return float("inf") if near else 1.0
        return float(near / inside)
