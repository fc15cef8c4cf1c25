"""What a block sees of the objects around it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from malpighi.geometry import Box


@dataclass(frozen=True, eq=False)
class Views:
    """The objects of one window.

    Attributes:
        labels: (*window) the row of each voxel's object plus 1; 0 in the background.
        count: (object,) voxels.
        core: (object,) voxels within the block itself.
        centroid: (object, axis) the voxel nearest to the centroid, in the image.
        start, stop: (object, axis) bounds in the image.
    """

    labels: np.ndarray
    count: np.ndarray
    core: np.ndarray
    centroid: np.ndarray
    start: np.ndarray
    stop: np.ndarray


def look(labels: np.ndarray, core: Box, window: Box) -> Views:
    """Measure the objects of a window, in order of their labels."""
    from scipy.ndimage import find_objects

    labels = _consecutive(labels)
    where = np.nonzero(labels)
    row = labels[where] - 1
    bounds = find_objects(labels)
    count = np.bincount(row, minlength=len(bounds))
    sums = [np.bincount(row, at, len(bounds)).astype(np.int64) + count * a for at, a in zip(where, window.start, strict=True)]
    start = np.array([[s.start for s in slices] for slices in bounds], np.int64).reshape(-1, window.rank) + window.start
    stop = np.array([[s.stop for s in slices] for slices in bounds], np.int64).reshape(-1, window.rank) + window.start
    inner = labels[core.relative_to(window.start).slices]
    return Views(
        labels,
        count,
        np.bincount(inner[inner > 0] - 1, minlength=len(bounds)),
        np.stack([(2 * total + count) // np.maximum(2 * count, 1) for total in sums], 1),
        start,
        stop,
    )


def _consecutive(labels: np.ndarray) -> np.ndarray:
    """Labels as 1 … n without gaps, in the same order, int32."""
    top = int(labels.max(initial=0))
    if top > 4 * labels.size + 1000:  # a table of all numbers would be larger than the picture
        return np.searchsorted(np.union1d(labels, 0), labels).astype(np.int32)
    present = np.zeros(top + 1, bool)
    present[labels.ravel()] = True
    present[0] = False
    table = np.where(present, np.cumsum(present), 0).astype(np.int32)
    return table[labels]
