"""Resampling to a wanted spacing by area, such that a voxel's value does not depend on the box it is read with."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from malpighi.geometry import Box

Method = Literal["area", "nearest"]


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
    fast = _whole_blocks(array, source, target, ratio)
    if fast is not None:
        return fast
    out = array.astype(np.float32, copy=False)
    for axis, r in enumerate(ratio):
        if abs(r - 1) > 1e-6 or source.size[axis] != target.size[axis]:
            out = _axis(out, axis + 1, source.start[axis], target.start[axis], target.size[axis], r)
    return _as_dtype(out, array.dtype)


def _as_dtype(out: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        return np.clip(np.rint(out), limits.min, limits.max).astype(dtype)
    return out.astype(dtype, copy=False)


def _axis(array: np.ndarray, axis: int, first: int, start: int, count: int, ratio: float) -> np.ndarray:
    """One axis: a weighted sum of the few source voxels that each target voxel touches."""
    left = np.arange(start, start + count, dtype=np.float64) * ratio
    n = array.shape[axis]
    if ratio < 1:
        low = np.floor(left + ratio / 2 - 0.5)
        taps = [(low, 1 - (left + ratio / 2 - 0.5 - low)), (low + 1, left + ratio / 2 - 0.5 - low)]
    else:
        right = left + ratio
        low = np.floor(left + 1e-9)
        width = math.ceil(ratio) + 1
        taps = [
            (low + k, np.clip(np.minimum(right, low + k + 1) - np.maximum(left, low + k), 0, 1) / ratio) for k in range(width)
        ]
    shape = [1] * array.ndim
    shape[axis] = count
    total = None
    for index, weight in taps:
        if not weight.any():
            continue
        part = np.take(array, np.clip(index.astype(np.int64) - first, 0, n - 1), axis=axis)
        part *= weight.astype(np.float32).reshape(shape)
        total = part if total is None else np.add(total, part, out=total)
    assert total is not None
    return total


def _whole_blocks(array: np.ndarray, source: Box, target: Box, ratio: tuple[float, ...]) -> np.ndarray | None:
    """The common case, 2-D and a whole-number ratio the same on both axes, by OpenCV's exact block mean."""
    whole = round(ratio[0])
    if array.ndim != 3 or array.dtype not in (np.uint8, np.uint16, np.float32) or array.shape[0] > 4 or whole < 1:
        return None
    if any(abs(r - whole) > 1e-6 for r in ratio) or source != Box(
        tuple(a * whole for a in target.start), tuple(n * whole for n in target.size)
    ):
        return None
    import cv2

    size = (target.size[1], target.size[0])
    planes = [cv2.resize(np.ascontiguousarray(plane), size, interpolation=cv2.INTER_AREA) for plane in array]
    return np.stack(planes)
