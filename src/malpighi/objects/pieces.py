"""One block of a mask: its components, and how they meet those of the blocks before it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from malpighi.errors import DataError
from malpighi.geometry import Box

Index = tuple[int, ...]


class Pieces(NamedTuple):
    """The components of one block, in the block's own coordinates; row k describes label k + 1.

    Attributes:
        labels: (*spatial) int32, 0 in the background.
        start, stop: (piece, axis) bounding boxes, half-open.
        voxels: (piece,) number of voxels.
        sums: (piece, axis) sums of voxel indices, float64.
    """

    labels: np.ndarray
    start: np.ndarray
    stop: np.ndarray
    voxels: np.ndarray
    sums: np.ndarray


def checked_mask(mask: np.ndarray, box: Box) -> np.ndarray:
    """The mask as contiguous uint8 that is 0 only in the background.

    Raises:
        DataError: it has not the shape of `box`, or holds floating-point numbers.
    """
    if mask.shape != box.size:
        raise DataError(f"mask of {box} came with shape {mask.shape}; a mask has spatial axes only, here {box.size}")
    if mask.dtype in (bool, np.uint8):
        return np.ascontiguousarray(mask).view(np.uint8)
    if not np.issubdtype(mask.dtype, np.integer):
        raise DataError(f"mask of {box} is {mask.dtype}; threshold it first: a mask is bool or integer")
    return (mask != 0).view(np.uint8)


def label_block(mask: np.ndarray, faces_only: bool) -> Pieces | None:
    """Label one uint8 block; None where it holds nothing. The same block always gets the same labels.

    OpenCV in 2-D (2.3 times as fast as SciPy on 20,000²), runs in 3-D.
    """
    if not mask.any():
        return None
    return _label_plane(mask, faces_only) if mask.ndim == 2 else _label_volume(mask, faces_only)


def _label_plane(mask: np.ndarray, faces_only: bool) -> Pieces:
    import cv2

    _, labels, stats, centroids = cv2.connectedComponentsWithStats(mask, connectivity=4 if faces_only else 8, ltype=cv2.CV_32S)
    stats = stats[1:].astype(np.int64)
    start, size, count = stats[:, [1, 0]], stats[:, [3, 2]], stats[:, 4]
    return Pieces(labels, start, start + size, count, np.rint(centroids[1:, ::-1] * count[:, None]))


def _label_volume(mask: np.ndarray, faces_only: bool) -> Pieces:
    from malpighi.objects.runs import label_runs

    return Pieces(*label_runs(mask, faces_only))


def trailing_faces(labels: np.ndarray, first: int) -> list[np.ndarray]:
    """For each axis the last plane of a block, label k as piece number `first + k` (int64), background 0."""
    return [_numbered(labels.take(-1, axis), first) for axis in range(labels.ndim)]


def border_pairs(
    labels: np.ndarray, first: int, faces: dict[Index, list[np.ndarray]], index: Index, faces_only: bool
) -> Iterator[np.ndarray]:
    """Pairs (pair, 2) of piece numbers that meet at the borders of block `index` with the blocks before it.

    Two voxels that are neighbours across any border, be it over a block's edge or corner, both lie in the one-voxel
    fringe before the block whose index is the larger of theirs on every axis; so no pair is missed.
    """
    for axis in range(labels.ndim):
        before, own = _fringe(labels, first, faces, index, axis)
        for shift in itertools.product((0,) if faces_only else (-1, 0, 1), repeat=labels.ndim - 1):
            a = before[tuple(slice(max(0, s), n + min(0, s)) for s, n in zip(shift, before.shape, strict=True))]
            b = own[tuple(slice(max(0, -s), n + min(0, -s)) for s, n in zip(shift, own.shape, strict=True))]
            meet = (a > 0) & (b > 0)
            if meet.any():
                yield np.unique(np.stack([a[meet], b[meet]], axis=1), axis=0)


def _numbered(plane: np.ndarray, first: int) -> np.ndarray:
    return np.where(plane > 0, plane + np.int64(first), 0)


def _fringe(
    labels: np.ndarray, first: int, faces: dict[Index, list[np.ndarray]], index: Index, axis: int
) -> tuple[np.ndarray, np.ndarray]:
    """The planes just before and just after the border across `axis`, each one voxel longer at the start of its axes."""
    rank = labels.ndim
    size = tuple(2 if a == axis else n + 1 for a, n in enumerate(labels.shape))
    fringe = np.zeros(size, np.int64)
    for offset in itertools.product((-1, 0), repeat=rank):
        place = tuple(int(o == 0) if a == axis else (slice(1, None) if o == 0 else 0) for a, o in enumerate(offset))
        if not any(offset):
            fringe[place] = _numbered(labels.take(0, axis), first)
            continue
        found = faces.get(tuple(i + o for i, o in zip(index, offset, strict=True)))
        if found is None:
            continue
        across = axis if offset[axis] else offset.index(-1)
        at = tuple((-1 if o else 0) if a == axis else (-1 if o else slice(None)) for a, o in enumerate(offset) if a != across)
        fringe[place] = found[across][at]
    return fringe.take(0, axis), fringe.take(1, axis)
