"""Apply a warp to one volume on the CPU: slices that stay whole by OpenCV, all others voxel by voxel."""

from __future__ import annotations

import math

import cv2
import numpy as np

from malpighi.sampling.warp import Slices, Warp

_STRIP = 2**16  # voxels worked at once: their map stays in a core's cache
_OPENCV = (np.uint8, np.uint16, np.int16, np.float32)  # what it can sample


def warp_volume(
    image: np.ndarray, target: np.ndarray, warp: Warp, out: tuple[int, ...], start: tuple[int, ...], outside: str
) -> tuple[np.ndarray, np.ndarray]:
    """Warp image (C, z, y, x) linearly and target (K, z, y, x) uint8 by nearest neighbour to (…, *out), dtypes kept.

    Args:
        start: input voxel at which the output's first one lies when nothing is changed.
        outside: what targets hold beyond the input: "reflect" or "unlabelled" (255).
    """
    if warp.exact:
        return np.ascontiguousarray(warp.turned(image, out, start)), np.ascontiguousarray(warp.turned(target, out, start))
    kept = image.dtype
    if kept not in _OPENCV:
        image = image.astype(np.float32)
    new, labels = np.empty((len(image), *out), image.dtype), np.empty((len(target), *out), target.dtype)
    slices = warp.slices
    if slices is not None:
        _by_slices(image, target, slices, new, labels, start, outside)
    else:
        _by_voxels(image, target, warp, new, labels, start, outside)
    if new.dtype != kept:
        new = (np.rint(new) if np.issubdtype(kept, np.integer) else new).astype(kept)
    return new, labels


def _by_slices(
    image: np.ndarray,
    target: np.ndarray,
    slices: Slices,
    new: np.ndarray,
    labels: np.ndarray,
    start: tuple[int, ...],
    outside: str,
) -> None:
    """One 2-D map for all slices."""
    border = cv2.BORDER_REFLECT_101 if outside == "reflect" else cv2.BORDER_CONSTANT
    pixels, classes = (_across(array, slices, start, new.shape[1]) for array in (image, target))
    origin = tuple(a for axis, a in enumerate(start) if axis != slices.axis)
    height, width = new.shape[2:]
    for part, (rows, columns) in slices.plane.strips(origin, (height, width), max(1, _STRIP // width)):
        fixed = cv2.convertMaps(columns, rows, cv2.CV_16SC2)
        for plane, into in _planes(pixels, new):
            cv2.remap(plane, *fixed, cv2.INTER_LINEAR, dst=into[part], borderMode=cv2.BORDER_REFLECT_101)
        for plane, into in _planes(classes, labels):
            cv2.remap(plane, columns, rows, cv2.INTER_NEAREST, dst=into[part], borderMode=border, borderValue=255)


def _across(array: np.ndarray, slices: Slices, start: tuple[int, ...], count: int) -> np.ndarray:
    """The slices that are wanted, first one first; (channel, slice, *plane), planes contiguous."""
    first = start[slices.axis]
    found = np.moveaxis(array, 1 + slices.axis, 1)[:, first : first + count]
    return np.ascontiguousarray(found[:, ::-1] if slices.mirrored else found)


def _planes(array: np.ndarray, out: np.ndarray) -> zip[tuple[np.ndarray, np.ndarray]]:
    return zip(array.reshape(-1, *array.shape[2:]), out.reshape(-1, *out.shape[2:]), strict=True)


def _by_voxels(
    image: np.ndarray, target: np.ndarray, warp: Warp, new: np.ndarray, labels: np.ndarray, start: tuple[int, ...], outside: str
) -> None:
    from malpighi.sampling.trilinear import sample_linear, sample_nearest

    whole = np.issubdtype(image.dtype, np.integer)
    pixels, classes = (np.ascontiguousarray(array).reshape(len(array), -1) for array in (image, target))
    values, marks = new.reshape(len(new), -1), labels.reshape(len(labels), -1)
    out = new.shape[1:]
    row = math.prod(out[1:])
    for part, where in warp.strips(start, out, max(1, _STRIP // row)):
        z, y, x = (axis.ravel() for axis in where)
        voxels = slice(part.start * row, part.stop * row)
        sample_linear(pixels, image.shape[1:], z, y, x, values[:, voxels], whole)
        sample_nearest(classes, target.shape[1:], z, y, x, marks[:, voxels], outside == "unlabelled")
