"""Apply a warp to one volume on the CPU: slices that stay whole by OpenCV, all others voxel by voxel."""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np

from malpighi.geometry import Box
from malpighi.sampling.warp import Slices, Warp

Pair = tuple[np.ndarray, np.ndarray]
"""Image (C, z, y, x) and target (K, z, y, x)."""

_STRIP = 2**16  # voxels worked at once: their map stays in a core's cache
_OPENCV = (np.uint8, np.uint16, np.int16, np.float32)  # what it can sample
_PIECE = 64  # voxels: side of the pieces of a thin tile that is tilted


def warp_volume(
    image: np.ndarray, target: np.ndarray, warp: Warp, out: tuple[int, ...], start: tuple[int, ...], outside: str
) -> Pair:
    """Warp image (C, z, y, x) linearly and target (K, z, y, x) uint8 by nearest neighbour to (…, *out), dtypes kept.

    Args:
        start: input voxel at which the output's first one lies when nothing is changed.
        outside: what targets hold beyond the input: "reflect" or "unlabelled" (255).
    """
    if warp.exact:
        return np.ascontiguousarray(warp.turned(image, out, start)), np.ascontiguousarray(warp.turned(target, out, start))
    slices = warp.slices
    if slices is None:
        return _by_voxels(image, target, warp, out, start, outside)
    return _by_slices(image, target, slices, out, start, outside)


def warp_read(read: Callable[[Box], Pair], warp: Warp, out: tuple[int, ...], outside: str) -> Pair:
    """As `warp_volume`, of a volume of which only what is needed is read.

    A thin tile that is tilted crosses a box much larger than itself: it is made piece by piece, each of its own box.

    Args:
        read: gives a box, counted from the output's first voxel; it may hang over the volume.
    """
    if warp.exact or warp.slices is not None:
        needed = warp.needed(out)
        return warp_volume(*read(needed), warp, out, _origin(needed), outside)
    side = max(_PIECE, min(out))
    even = tuple(-(-n // -(-n // side)) for n in out)
    parts: list[tuple[Box, Pair]] = []
    for part in Box.of_shape(out).split(even):
        needed = warp.needed(out, part)
        parts.append((part, _by_voxels(*read(needed), warp, out, _origin(needed), outside, part)))
    if len(parts) == 1:
        return parts[0][1]
    whole = tuple(np.empty((len(array), *out), array.dtype) for array in parts[0][1])
    for part, pair in parts:
        for array, piece in zip(whole, pair, strict=True):
            array[(slice(None), *part.slices)] = piece
    return whole[0], whole[1]


def _origin(needed: Box) -> tuple[int, ...]:
    """Where the output's first voxel lies in what was read."""
    return tuple(-a for a in needed.start)


def _by_slices(
    image: np.ndarray, target: np.ndarray, slices: Slices, out: tuple[int, ...], start: tuple[int, ...], outside: str
) -> Pair:
    """One 2-D map for all slices."""
    pixels, classes = (_across(array, slices, start, out[0]) for array in (image, target))
    if pixels.dtype not in _OPENCV:
        pixels = pixels.astype(np.float32)
    new, labels = np.empty((len(image), *out), pixels.dtype), np.empty((len(target), *out), target.dtype)
    border = cv2.BORDER_REFLECT_101 if outside == "reflect" else cv2.BORDER_CONSTANT
    origin = tuple(a for axis, a in enumerate(start) if axis != slices.axis)
    for part, (rows, columns) in slices.plane.strips(origin, out[1:], max(1, _STRIP // out[2])):
        fixed = cv2.convertMaps(columns, rows, cv2.CV_16SC2)
        for plane, into in _planes(pixels, new):
            cv2.remap(plane, *fixed, cv2.INTER_LINEAR, dst=into[part], borderMode=cv2.BORDER_REFLECT_101)
        for plane, into in _planes(classes, labels):
            cv2.remap(plane, columns, rows, cv2.INTER_NEAREST, dst=into[part], borderMode=border, borderValue=255)
    if new.dtype != image.dtype:
        new = (np.rint(new) if np.issubdtype(image.dtype, np.integer) else new).astype(image.dtype)
    return new, labels


def _across(array: np.ndarray, slices: Slices, start: tuple[int, ...], count: int) -> np.ndarray:
    """The slices that are wanted, first one first; (channel, slice, *plane), planes contiguous."""
    first = start[slices.axis]
    found = np.moveaxis(array, 1 + slices.axis, 1)[:, first : first + count]
    return np.ascontiguousarray(found[:, ::-1] if slices.mirrored else found)


def _planes(array: np.ndarray, out: np.ndarray) -> zip[tuple[np.ndarray, np.ndarray]]:
    return zip(array.reshape(-1, *array.shape[2:]), out.reshape(-1, *out.shape[2:]), strict=True)


def _by_voxels(
    image: np.ndarray,
    target: np.ndarray,
    warp: Warp,
    out: tuple[int, ...],
    start: tuple[int, ...],
    outside: str,
    part: Box | None = None,
) -> Pair:
    """The output, or a part of it."""
    from malpighi.sampling.trilinear import sample_linear, sample_nearest

    whole = np.issubdtype(image.dtype, np.integer)
    size = out if part is None else part.size
    row = math.prod(size[1:])
    pixels, classes = (np.ascontiguousarray(array).reshape(len(array), -1) for array in (image, target))
    new, labels = (np.empty((len(array), size[0] * row), array.dtype) for array in (image, target))
    for rows, where in warp.strips(start, out, max(1, _STRIP // row), part):
        z, y, x = (axis.ravel() for axis in where)
        voxels = slice(rows.start * row, rows.stop * row)
        sample_linear(pixels, image.shape[1:], z, y, x, new[:, voxels], whole)
        sample_nearest(classes, target.shape[1:], z, y, x, labels[:, voxels], outside == "unlabelled")
    return new.reshape(len(new), *size), labels.reshape(len(labels), *size)
