"""Components of a volume's block by its runs: stretches of set voxels along x are found, joined, and all else follows.

Work goes by runs, of which a mask of vessels has one in some hundred voxels: no array but the mask is read, and it once.
Import this file only where a volume is labelled: it loads Numba, which compiles on first use and keeps the result.
"""

from __future__ import annotations

import numpy as np
from numba import njit


def label_runs(mask: np.ndarray, faces_only: bool) -> tuple[np.ndarray, ...]:
    """Components of (z, y, x) uint8, numbered in the order of their first voxels.

    Returns:
        labels (z, y, x) int32; and by component start and stop (3), half-open, voxels, sums of indices (3).
    """
    first, begin, end = _find(mask)
    number, count = _join(first, begin, end, mask.shape[0], mask.shape[1], 0 if faces_only else 1)
    labels = np.zeros(mask.shape, np.int32)
    return labels, *_measure(first, begin, end, number, count, labels)


@njit(cache=True, nogil=True)
def _find(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Runs row by row: (row + 1,) number of each row's first run; (run,) first voxel, and the one after the last."""
    depth, height, width = mask.shape
    first = np.zeros(depth * height + 1, np.int64)
    for z in range(depth):
        for y in range(height):
            row = mask[z, y]
            runs, before = 0, np.uint8(0)
            for x in range(width):
                runs += (row[x] != 0) & (before == 0)
                before = row[x]
            first[z * height + y + 1] = first[z * height + y] + runs
    begin, end = np.empty(first[-1], np.int32), np.empty(first[-1], np.int32)
    for line in range(depth * height):
        run = first[line]
        if run == first[line + 1]:
            continue
        row = mask[line // height, line % height]
        before = np.uint8(0)
        for x in range(width):
            if row[x] != 0 and before == 0:
                begin[run] = x
            elif row[x] == 0 and before != 0:
                end[run] = x
                run += 1
            before = row[x]
        if before != 0:
            end[run] = width
    return first, begin, end


@njit(cache=True, nogil=True)
def _root(parent: np.ndarray, run: int) -> int:
    while parent[run] != run:
        parent[run] = parent[parent[run]]
        run = parent[run]
    return run


@njit(cache=True, nogil=True)
def _join(first: np.ndarray, begin: np.ndarray, end: np.ndarray, depth: int, height: int, reach: int) -> tuple[np.ndarray, int]:
    """(run,) component 1 … n of each run, and n; runs of neighbouring rows meet where they overlap, grown by `reach`."""
    parent = np.arange(len(begin))
    for z in range(depth):
        for y in range(height):
            line = z * height + y
            if first[line] == first[line + 1]:
                continue
            for dz, dy in ((0, -1), (-1, -1), (-1, 0), (-1, 1)):
                if z + dz < 0 or not 0 <= y + dy < height or (reach == 0 and dz * dy != 0):
                    continue
                other = line + dz * height + dy
                a, b = first[line], first[other]
                while a < first[line + 1] and b < first[other + 1]:
                    if begin[a] < end[b] + reach and begin[b] < end[a] + reach:
                        one, two = _root(parent, a), _root(parent, b)
                        parent[max(one, two)] = min(one, two)
                    if end[a] < end[b]:
                        a += 1
                    else:
                        b += 1
    count = 0
    number = np.empty(len(begin), np.int32)
    for run in range(len(begin)):
        root = _root(parent, run)
        if root == run:
            count += 1
            number[run] = count
        else:
            number[run] = number[root]  # a root is its component's first run
    return number, count


@njit(cache=True, nogil=True)
def _measure(
    first: np.ndarray, begin: np.ndarray, end: np.ndarray, number: np.ndarray, count: int, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Paint `labels`; by component bounding box, voxels and sums of indices."""
    depth, height, width = labels.shape
    start, stop = np.empty((count, 3), np.int64), np.zeros((count, 3), np.int64)
    start[:, 0], start[:, 1], start[:, 2] = depth, height, width
    voxels, sums = np.zeros(count, np.int64), np.zeros((count, 3))
    for line in range(depth * height):
        z, y = line // height, line % height
        for run in range(first[line], first[line + 1]):
            x0, x1, k = begin[run], end[run], number[run] - 1
            labels[z, y, x0:x1] = k + 1
            start[k, 0], stop[k, 0] = min(start[k, 0], z), max(stop[k, 0], z + 1)
            start[k, 1], stop[k, 1] = min(start[k, 1], y), max(stop[k, 1], y + 1)
            start[k, 2], stop[k, 2] = min(start[k, 2], x0), max(stop[k, 2], x1)
            voxels[k] += x1 - x0
            sums[k, 0] += z * (x1 - x0)
            sums[k, 1] += y * (x1 - x0)
            sums[k, 2] += (x0 + x1 - 1) * (x1 - x0) / 2
    return start, stop, voxels, sums
