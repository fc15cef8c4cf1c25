"""Resampling to a wanted spacing by area, such that a voxel's value does not depend on the box it is read with."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Literal

import numpy as np

from malpighi.geometry import Box

Method = Literal["area", "nearest"]
_BAND = 2**19  # voxels: 2 MB of float32


def support(box: Box, ratio: tuple[float, ...], method: Method) -> Box:
    """The box in source voxels that `resample` needs to make `box`, whose voxels are `ratio` source voxels wide."""
    if method == "area" and min(ratio) < 1 - 1e-6:
        return box.scale(ratio).grow(1)
    return box.scale(ratio)


def resample(array: np.ndarray, source: Box, target: Box, ratio: tuple[float, ...], method: Method) -> np.ndarray:
    """Make the voxels of `target` from `array`, the voxels of `source`.

    Target voxel i covers source coordinates [i·ratio, (i + 1)·ratio). "area" is the exact mean over it, weights of partly
    covered voxels included; where ratio < 1 it is linear interpolation between voxel centres. Axis by axis, in float32,
    element by element in a fixed order: the same voxel comes out with the same bits whatever box it is part of.

    Args:
        array: (channel, *spatial).

    Returns:
        (channel, *target.size), same dtype; integers are rounded to nearest.
    """
    if method == "nearest":
        for axis, r in enumerate(ratio):
            index = np.floor((np.arange(target.start[axis], target.stop[axis]) + 0.5) * r).astype(np.int64)
            array = np.take(array, np.clip(index - source.start[axis], 0, source.size[axis] - 1), axis=axis + 1)
        return np.ascontiguousarray(array)
    last = len(array) > 1 and np.moveaxis(array, 0, -1).flags.c_contiguous  # as TIFF tiles come: stay in memory order
    pixels = np.moveaxis(array, 0, -1) if last else array
    first = 0 if last else 1
    whole = (*target.size, len(array)) if last else (len(array), *target.size)
    out = np.empty(whole, array.dtype)
    later = [_weights(source, target, axis, ratio[axis]) for axis in range(1, target.rank)]
    for rows in _bands(source, target, ratio[0], len(array)):
        band = Box((rows.start[0], *target.start[1:]), (rows.size[0], *target.size[1:]))
        low = max(support(band, ratio, method).start[0], source.start[0])
        high = min(support(band, ratio, method).stop[0], source.stop[0])
        needed = Box((low, *source.start[1:]), (high - low, *source.size[1:]))
        there = (slice(None),) * first
        part = pixels[(*there, slice(low - source.start[0], high - source.start[0]))]
        for axis, weights in enumerate([_weights(needed, band, 0, ratio[0]), *later]):
            if weights is not None:
                part = _along(part, first + axis, weights)
        at = rows.relative_to(target.start[:1])
        out[(*there, slice(at.start[0], at.stop[0]))] = _as_dtype(part, array.dtype)
    return np.moveaxis(out, -1, 0) if last else out


def _bands(source: Box, target: Box, ratio: float, channels: int) -> Iterable[Box]:
    """The target's first axis in pieces whose source in float32 stays in the processor's cache."""
    row = channels * math.prod(source.size[1:]) * max(ratio, 1.0)
    return Box(target.start[:1], target.size[:1]).split((max(1, int(_BAND / row)),))


def _as_dtype(out: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if np.issubdtype(dtype, np.integer) and np.issubdtype(out.dtype, np.floating):
        limits = np.iinfo(dtype)
        np.rint(out, out=out)
        np.clip(out, limits.min, limits.max, out=out)
    return out.astype(dtype, copy=False)


def _weights(source: Box, target: Box, axis: int, ratio: float) -> Any:
    """Sparse (target voxel, source voxel) float32 weights of one axis; None where it stays as it is.

    A row depends on its voxel only, not on the box.
    """
    start, count, first, n = target.start[axis], target.size[axis], source.start[axis], source.size[axis]
    if abs(ratio - 1) <= 1e-6 and (start, count) == (first, n):
        return None
    from scipy.sparse import csr_array

    left = np.arange(start, start + count, dtype=np.float64)[:, None] * ratio
    if ratio < 1:  # between the two nearest centres
        centre = left + ratio / 2 - 0.5
        at = np.floor(centre) + np.arange(2)
        weight = 1 - np.abs(centre - at)
    else:  # what the voxel covers
        at = np.floor(left + 1e-9) + np.arange(math.ceil(ratio) + 1)
        weight = np.clip(np.minimum(left + ratio, at + 1) - np.maximum(left, at), 0, 1) / ratio
    column = np.clip(at.astype(np.int64) - first, 0, n - 1)
    taps = at.shape[1]
    matrix = csr_array(
        (weight.astype(np.float32).ravel(), column.ravel(), np.arange(0, count * taps + 1, taps)), shape=(count, n)
    )
    matrix.eliminate_zeros()  # or a NaN that is not covered would spread
    return matrix


def _along(array: np.ndarray, axis: int, weights: Any) -> np.ndarray:
    """Apply the weights to one axis; float32. The sums are row by row, so each voxel's bits are its own."""
    count, n = weights.shape
    lead, rest = array.shape[:axis], array.shape[axis + 1 :]
    flat = np.ascontiguousarray(array).reshape(math.prod(lead), n, math.prod(rest))
    if flat.shape[2] <= 4:  # the innermost axis: bring it to the front, or each row would be a call
        swapped = (weights @ _swap(flat).reshape(n, -1).astype(np.float32, copy=False)).reshape(
            count, flat.shape[0], flat.shape[2]
        )
        return _swap(swapped).reshape(*lead, count, *rest)
    planes = [weights @ plane.astype(np.float32, copy=False) for plane in flat]
    return (planes[0] if len(planes) == 1 else np.stack(planes)).reshape(*lead, count, *rest)


def _swap(array: np.ndarray) -> np.ndarray:
    """(a, b, few) to (b, a, few), contiguous; OpenCV does it several times faster than NumPy."""
    if array.dtype not in (np.uint8, np.uint16, np.int16, np.float32) or max(array.shape[:2]) >= 2**15:
        return np.ascontiguousarray(array.swapaxes(0, 1))
    import cv2

    return cv2.transpose(array).reshape(array.shape[1], array.shape[0], array.shape[2])
