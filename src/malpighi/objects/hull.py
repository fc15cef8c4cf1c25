"""The convex hull of a mask of any size, on a coarse grid: where a second, dearer look is worth it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from malpighi.errors import DataError
from malpighi.geometry import Box, Spacing

_MOST = 1 << 20  # voxels of the coarse grid: 100 in a cube's side, of which a megabyte is held
_READ = 256  # side of what is read at once


@dataclass(frozen=True, eq=False)
class Hull:
    """A convex part of an image.

    Attributes:
        mask: (*spatial) bool on the image's grid at `spacing`: the voxels that the hull touches.
        spacing: of `mask`.
    """

    mask: np.ndarray
    spacing: Spacing

    def any(self, box: Box, spacing: Spacing) -> bool:
        """Whether `box`, in voxels of `spacing`, reaches into the hull."""
        covered = box.scale(spacing.over(self.spacing)).clip(self.mask.shape)
        return bool(self.mask[covered.slices].any())

    def inside(self, box: Box, spacing: Spacing) -> np.ndarray:
        """(*box.size) bool: the voxels of `box` whose centre is in the hull, to the fineness of the coarse grid."""
        ratio = spacing.over(self.spacing)
        index = [
            np.minimum(((np.arange(a, b) + 0.5) * r).astype(np.int64), n - 1)
            for a, b, r, n in zip(box.start, box.stop, ratio, self.mask.shape, strict=True)
        ]
        return self.mask[np.ix_(*index)]


def find_hull(
    read: Callable[[Box], np.ndarray], shape: Sequence[int], spacing: Spacing, margin: float = 0.0, most: int = _MOST
) -> Hull:
    """The convex hull of a mask that is read once, box by box.

    Nothing is lost by the coarse grid: a coarse voxel counts where any voxel in it does, and the hull is that of whole
    coarse voxels. It is wider than the mask's own by less than a coarse voxel.

    Args:
        read: one box of the mask, (*spatial), anything but 0 is foreground.
        shape: of the mask.
        spacing: of the mask.
        margin: by which the hull's faces are moved outwards, in the unit of `spacing`.
        most: voxels of the coarse grid.

    Raises:
        DataError: the mask is empty.
    """
    factor = max(1, math.ceil((math.prod(shape) / most) ** (1 / len(shape))))
    step = (_READ // factor * factor or factor,) * len(shape)
    coarse = np.zeros([-(-n // factor) for n in shape], bool)
    for box in Box.of_shape(shape).split(step):
        there = Box(tuple(a // factor for a in box.start), tuple(-(-n // factor) for n in box.size))
        coarse[there.slices] = _reduced(read(box) != 0, factor)
    if not coarse.any():
        raise DataError("an empty mask has no hull")
    return Hull(_hull(coarse, spacing.values, margin / factor), spacing.times(factor))


def _reduced(mask: np.ndarray, factor: int) -> np.ndarray:
    """Whether any voxel is set, by blocks of `factor` along every axis."""
    for axis in range(mask.ndim):
        mask = np.logical_or.reduceat(mask, np.arange(0, mask.shape[axis], factor), axis=axis)
    return mask


def _hull(mask: np.ndarray, sides: Sequence[float], margin: float) -> np.ndarray:
    """The voxels of `mask`'s grid that its hull, moved outwards by `margin`, touches."""
    from scipy.spatial import ConvexHull

    faces = ConvexHull(_corners(mask) * np.array(sides)).equations.astype(np.float32)  # normal · point + offset ≤ 0 inside
    centres = [(np.arange(n, dtype=np.float32) + 0.5) * side for n, side in zip(mask.shape, sides, strict=True)]
    grid = np.meshgrid(*centres, indexing="ij", sparse=True)
    inside = np.ones(mask.shape, bool)
    for *normal, offset in faces:
        half = sum(abs(n) * side for n, side in zip(normal, sides, strict=True)) / 2  # of a voxel, towards the face
        inside &= sum(n * axis for n, axis in zip(normal, grid, strict=True)) <= np.float32(margin + half * 0.999 - offset)
    return inside


def _corners(mask: np.ndarray) -> np.ndarray:
    """(point, axis) corners of the first and the last voxel of every line along the last axis: no other is on the hull."""
    lines = np.argwhere(mask.any(-1))
    rows = mask[tuple(lines.T)]
    first, last = rows.argmax(1), mask.shape[-1] - rows[:, ::-1].argmax(1)
    ends = np.concatenate([np.column_stack([lines, first]), np.column_stack([lines, last])])
    shifts = np.array(list(np.ndindex(*(2,) * (mask.ndim - 1))))
    shifts = np.column_stack([shifts, np.zeros(len(shifts), np.int64)])
    return np.unique((ends[:, None] + shifts).reshape(-1, mask.ndim), axis=0)
