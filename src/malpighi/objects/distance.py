"""Distances to a mask: exact in an array, and streamed for volumes of any size."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numba import njit

from malpighi.geometry import Box, Spacing
from malpighi.objects.bits import BitBlocks

EXACT = 96
"""Voxels; distances up to this many are exact in a streamed map, larger ones come from cells of several voxels."""
CELLS = 1 << 24
"""At most so many cells hold the coarse picture of where the mask is."""
FAR = np.float32(1e30)


@njit(cache=True, nogil=True)
def _along_last(squared: np.ndarray, step: float) -> None:
    """Squared distances along the last axis, from 0 and far."""
    n = squared.shape[2]
    for z in range(squared.shape[0]):
        for y in range(squared.shape[1]):
            for way in range(2):
                run = np.float32(1e15)
                for i in range(n):
                    x = i if way == 0 else n - 1 - i
                    run = np.float32(0) if squared[z, y, x] == 0 else run + np.float32(step)
                    if run < 1e14 and run * run < squared[z, y, x]:
                        squared[z, y, x] = run * run


@njit(cache=True, nogil=True)
def envelope(line: np.ndarray, step: float, out: np.ndarray, at: np.ndarray, edge: np.ndarray) -> None:
    """Lower envelope of the parabolas `line[i] + (step · (j − i))²` (Felzenszwalb & Huttenlocher 2012)."""
    n = len(line)
    k = -1
    s2 = step * step
    for q in range(n):
        if line[q] >= FAR:
            continue
        cut = -1e30
        while k >= 0:
            p = at[k]
            cut = ((line[q] + s2 * q * q) - (line[p] + s2 * p * p)) / (2 * s2 * (q - p))
            if cut > edge[k]:
                break
            k -= 1
        k += 1
        at[k] = q
        edge[k] = cut if k > 0 else -1e30
    if k < 0:
        out[:n] = line
        return
    last, k = k, 0
    for j in range(n):
        while k < last and edge[k + 1] < j:
            k += 1
        out[j] = s2 * (j - at[k]) * (j - at[k]) + line[at[k]]


@njit(cache=True, nogil=True)
def _along(squared: np.ndarray, axis: int, step: float) -> None:
    """Add another axis (0 or 1) to squared distances in place; lines that are 0 all over stay as they are."""
    n = squared.shape[axis]
    line, out = np.empty(n, np.float64), np.empty(n, np.float64)
    at, edge = np.empty(n, np.int64), np.empty(n, np.float64)
    for i in range(squared.shape[1 - axis]):
        for x in range(squared.shape[2]):
            any_left = False
            for j in range(n):
                line[j] = squared[j, i, x] if axis == 0 else squared[i, j, x]
                any_left |= line[j] > 0
            if not any_left:
                continue
            envelope(line, step, out, at, edge)
            for j in range(n):
                if axis == 0:
                    squared[j, i, x] = out[j]
                else:
                    squared[i, j, x] = out[j]


def distance_to(mask: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """Distance from the centre of every voxel to the nearest centre of a voxel of `mask`; 0 inside, infinite if it is empty.

    Args:
        mask: (z, y, x) bool.
        spacing: of a voxel by axis.

    Returns:
        (z, y, x) float32, in the unit of `spacing`; exact but for rounding.
    """
    squared = np.where(mask, np.float32(0), FAR)
    _along_last(squared, float(spacing[2]))
    _along(squared, 1, float(spacing[1]))
    _along(squared, 0, float(spacing[0]))
    squared[squared >= FAR] = np.inf
    return np.sqrt(squared, out=squared)


class DistanceMap:
    """Distance of any voxel to the nearest voxel of a mask that need not fit into memory, box by box.

    A coarse picture of the mask, made in one pass, tells how far around a box to look; that far, and at most `EXACT` voxels, the
    mask itself is read and distances are exact. Farther away they are those to the nearest cell that holds a voxel of the mask:
    off by at most a cell's diagonal, which weighs ever less with distance.

    Attributes:
        longest: no voxel of the volume is farther away than this (unit of the spacing); infinite where the mask is empty.
        cell: voxels of a coarse cell, by axis.
    """

    def __init__(self, mask: BitBlocks, spacing: Spacing) -> None:
        """Make the coarse picture: the mask is read once."""
        self.mask = mask
        self.spacing = spacing.values
        side = max(4, math.ceil((math.prod(mask.shape) / CELLS) ** (1 / 3)))
        self.cell = tuple(min(side, n) for n in mask.shape)
        self._reach = EXACT * min(s for s, n in zip(self.spacing, mask.shape, strict=True) if n > 1)
        counts = mask.count_cells(self.cell)
        self._step = tuple(c * s for c, s in zip(self.cell, self.spacing, strict=True))
        self._coarse = distance_to(counts > 0, self._step)
        self._half = math.hypot(*(s for s, n in zip(self._step, mask.shape, strict=True) if n > 1)) / 2
        self.longest = float(self._coarse.max()) + 2 * self._half

    def __call__(self, box: Box) -> np.ndarray:
        """Distances from the voxels of `box`, which lies in the volume.

        Returns:
            (*box.size) float32.
        """
        cells = Box.of_bounds(
            tuple(a // c for a, c in zip(box.start, self.cell, strict=True)),
            tuple(-(-b // c) for b, c in zip(box.stop, self.cell, strict=True)),
        )
        coarse = self._coarse[cells.slices]
        bound = float(coarse.max()) + 2 * self._half  # nothing in the box is farther away
        reach = min(bound, self._reach)
        margin = tuple(math.ceil(reach / s) + 1 if n > 1 else 0 for s, n in zip(self.spacing, self.mask.shape, strict=True))
        around = box.grow(margin).clip(self.mask.shape)
        found = distance_to(self.mask.read(around), self.spacing)[box.relative_to(around.start).slices]
        if bound <= self._reach:
            return np.ascontiguousarray(found)
        index = np.ix_(
            *(np.arange(a, b) // c - o for a, b, c, o in zip(box.start, box.stop, self.cell, cells.start, strict=True))
        )
        return np.where(found <= self._reach, found, np.maximum(coarse[index], self._reach)).astype(np.float32)
