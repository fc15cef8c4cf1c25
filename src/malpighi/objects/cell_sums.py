"""Sums over the pixels of cells, in one pass over the image a channel. Imported only where it is used.

Every pixel of a cell is of one part: 0 nucleus, 1 inner cytoplasm, 2 membrane.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def parts_of(labels: np.ndarray, nuclei: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """(y, x) uint8 part of each pixel; `low` and `high` are the smallest and largest label around it."""
    out = np.empty(labels.shape, np.uint8)
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            here = labels[y, x]
            if nuclei[y, x] == here:
                out[y, x] = 0
            else:
                out[y, x] = 1 if low[y, x] == here and high[y, x] == here else 2
    return out


@njit(cache=True, nogil=True)
def add_intensity(labels: np.ndarray, parts: np.ndarray, channel: np.ndarray, sums: np.ndarray) -> None:
    """Add the channel and its square to `sums`, (cell + 1, part, 2) float64."""
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            cell = labels[y, x]
            if cell > 0:
                value = np.float64(channel[y, x])
                sums[cell, parts[y, x], 0] += value
                sums[cell, parts[y, x], 1] += value * value


@njit(cache=True, nogil=True)
def add_shape(labels: np.ndarray, parts: np.ndarray, pixels: np.ndarray, moments: np.ndarray, box: np.ndarray) -> None:
    """Count pixels, (cell + 1, part) int64; sum y, x, y², x², yx into `moments`; widen boxes y_min, x_min, y_max, x_max."""
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            cell = labels[y, x]
            if cell > 0:
                pixels[cell, parts[y, x]] += 1
                fy, fx = np.float64(y), np.float64(x)
                moments[cell, 0] += fy
                moments[cell, 1] += fx
                moments[cell, 2] += fy * fy
                moments[cell, 3] += fx * fx
                moments[cell, 4] += fy * fx
                box[cell, 0], box[cell, 1] = min(box[cell, 0], y), min(box[cell, 1], x)
                box[cell, 2], box[cell, 3] = max(box[cell, 2], y + 1), max(box[cell, 3], x + 1)


@njit(cache=True, nogil=True)
def row_ends(labels: np.ndarray, box: np.ndarray, begin: np.ndarray, ends: np.ndarray) -> None:
    """First and one past the last column of each row of each cell; row y of cell i is `ends[begin[i] + y - y_min]`."""
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            cell = labels[y, x]
            if cell > 0:
                at = begin[cell] + y - box[cell, 0]
                ends[at, 0] = min(ends[at, 0], x)
                ends[at, 1] = max(ends[at, 1], x + 1)


@njit(cache=True, nogil=True)
def join_and_count(labels: np.ndarray, nuclei: np.ndarray, sizes: np.ndarray) -> None:
    """Give each nucleus's pixels to its cell, in place; pixels of cells and of nuclei are added to `sizes`, (2, label)."""
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            if nuclei[y, x] > 0:
                labels[y, x] = nuclei[y, x]
            sizes[0, labels[y, x]] += 1
            sizes[1, nuclei[y, x]] += 1


@njit(cache=True, nogil=True)
def keep_and_number(labels: np.ndarray, nuclei: np.ndarray, kept: np.ndarray) -> int:
    """Number kept cells 1 … n in order of their first pixels, their nuclei alike, in place; the others become 0. Returns n."""
    number, count = np.zeros(len(kept), np.int32), 0
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            cell = labels[y, x]
            if cell == 0:
                continue
            if kept[cell] and number[cell] == 0:
                count += 1
                number[cell] = count
            labels[y, x] = number[cell]
            nuclei[y, x] = number[nuclei[y, x]]
    return count
