"""Objects from predicted distances: hills, where a saddle that is deep enough parts two."""

from __future__ import annotations

import numpy as np
from numba import njit

GRADES = 4096
"""Distances are sorted into so many grades: far finer than a network is exact, and counted instead of compared."""


@njit(cache=True, nogil=True)
def _downhill(height: np.ndarray, foreground: np.ndarray, grades: int) -> np.ndarray:
    """Foreground pixels, highest first, those of a grade in order of the image."""
    flat, inside = height.ravel(), foreground.ravel()
    counts = np.zeros(grades + 1, np.int64)
    for p in range(flat.size):
        if inside[p]:
            counts[grades - int(flat[p] * (grades - 1))] += 1
    for i in range(grades):
        counts[i + 1] += counts[i]
    order = np.empty(counts[grades], np.int64)
    for p in range(flat.size):
        if inside[p]:
            grade = grades - int(flat[p] * (grades - 1)) - 1
            order[counts[grade]] = p
            counts[grade] += 1
    return order


@njit(cache=True, nogil=True)
def _root(parent: np.ndarray, i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@njit(cache=True, nogil=True)
def _flood(height: np.ndarray, order: np.ndarray, saddle: float, hill: np.ndarray) -> np.ndarray:
    """Give each pixel of `order` a hill (1 …, 0 before); returns for each hill the one it was joined to, or itself.

    From the top down, a pixel belongs to the hill of its highest neighbour, or begins one. Where it joins two hills of which the
    lower rises less than `saddle` above it, the two become one.
    """
    rows, width = height.shape
    parent = np.zeros(len(order) + 1, np.int64)
    peak = np.zeros(len(order) + 1, np.float32)
    count = 0
    for p in order:
        y, x = p // width, p % width
        best, highest = 0, np.float32(-1)
        for v in range(max(y - 1, 0), min(y + 2, rows)):
            for u in range(max(x - 1, 0), min(x + 2, width)):
                if hill[v, u] > 0 and height[v, u] > highest:
                    best, highest = hill[v, u], height[v, u]
        if best == 0:
            count += 1
            hill[y, x], parent[count], peak[count] = count, count, height[y, x]
            continue
        hill[y, x] = best
        mine = _root(parent, best)
        for v in range(max(y - 1, 0), min(y + 2, rows)):
            for u in range(max(x - 1, 0), min(x + 2, width)):
                if hill[v, u] == 0:
                    continue
                other = _root(parent, hill[v, u])
                if other != mine and min(peak[other], peak[mine]) - height[y, x] < saddle:
                    low, high = (other, mine) if peak[other] < peak[mine] else (mine, other)
                    parent[low] = high
                    mine = high
    for i in range(1, count + 1):
        parent[i] = _root(parent, i)
    return parent[: count + 1]


@njit(cache=True, nogil=True)
def number_in_order(labels: np.ndarray, name: np.ndarray) -> int:
    """Replace every label i > 0 by a number for `name[i]`, 1 … n in order of their first pixels; returns n."""
    number = np.zeros(len(name), np.int32)
    flat = labels.ravel()
    count = 0
    for p in range(flat.size):
        if flat[p] > 0:
            which = name[flat[p]]
            if number[which] == 0:
                count += 1
                number[which] = count
            flat[p] = number[which]
    return count


def hills(height: np.ndarray, foreground: np.ndarray, saddle: float) -> np.ndarray:
    """Part the foreground into the hills of `height`: a watershed whose seeds are the h-maxima, in one pass.

    Two peaks are two objects where every way between them dips at least `saddle` below the lower one: the h-maxima of
    mathematical morphology, as persistence (Chazal et al. 2013, ToMATo). Every 8-connected piece of foreground has a peak, and so
    an object.

    Args:
        height: (y, x) float, 0 … 1.
        foreground: (y, x) bool.
        saddle: in the unit of `height`.

    Returns:
        (y, x) int32, 1 … n in order of each object's first pixel; 0 in the background.
    """
    height = np.ascontiguousarray(np.clip(np.nan_to_num(height), 0, 1), np.float32)
    hill = np.zeros(height.shape, np.int32)
    joined = _flood(height, _downhill(height, np.ascontiguousarray(foreground), GRADES), saddle, hill)
    number_in_order(hill, joined)
    return hill
