"""How deep in its object each pixel of a label image lies."""

from __future__ import annotations

import numpy as np
from numba import njit

from malpighi.objects.distance import FAR, envelope


@njit(cache=True, nogil=True)
def _along_rows(labels: np.ndarray, squared: np.ndarray) -> None:
    """Squared distance along its row from each pixel of an object to the nearest known pixel that is not of it."""
    height, width = labels.shape
    for y in range(height):
        start = 0
        while start < width:
            stop = start + 1
            while stop < width and labels[y, stop] == labels[y, start]:
                stop += 1
            left = start > 0 and labels[y, start - 1] >= 0
            right = stop < width and labels[y, stop] >= 0
            for x in range(start, stop):
                near = float(FAR)
                if labels[y, start] <= 0:
                    near = 0.0
                if left:
                    near = min(near, float((x - start + 1) ** 2))
                if right:
                    near = min(near, float((stop - x) ** 2))
                squared[y, x] = near
            start = stop


@njit(cache=True, nogil=True)
def _along_columns(labels: np.ndarray, squared: np.ndarray) -> None:
    """Add the other axis, run by run: whatever lies beyond the end of a run is farther away than the end itself."""
    height, width = labels.shape
    line, out = np.empty(height + 2), np.empty(height + 2)
    at, edge = np.empty(height + 2, np.int64), np.empty(height + 2)
    for x in range(width):
        start = 0
        while start < height:
            stop = start + 1
            while stop < height and labels[stop, x] == labels[start, x]:
                stop += 1
            if labels[start, x] > 0:
                line[0] = 0.0 if start > 0 and labels[start - 1, x] >= 0 else FAR
                for y in range(start, stop):
                    line[y - start + 1] = squared[y, x]
                n = stop - start + 2
                line[n - 1] = 0.0 if stop < height and labels[stop, x] >= 0 else FAR
                envelope(line[:n], 1.0, out[:n], at, edge)
                for y in range(start, stop):
                    squared[y, x] = out[y - start + 1]
            start = stop


def depth_in_objects(labels: np.ndarray) -> np.ndarray:
    """Distance from each pixel of an object to the nearest pixel that is known not to be of it.

    Objects that touch have a border between them. The image's border and pixels that nobody labelled (< 0) are no borders and
    hide what lies behind them. Exact: one pass along rows, lower envelopes along columns, both from one end of an object's run
    to the other.

    Args:
        labels: (y, x) integers, 0 in the background.

    Returns:
        (y, x) float32, pixels; 0 outside objects, infinite in an object without a border.
    """
    labels = np.ascontiguousarray(labels)
    squared = np.zeros(labels.shape)
    _along_rows(labels, squared)
    _along_columns(labels, squared)
    squared[squared >= FAR] = np.inf
    return np.sqrt(squared).astype(np.float32)
