"""Reading beyond the border: which voxel stands for one that is outside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from malpighi.geometry import Box

Pad = Literal["reflect", "edge"] | int | float


def read_padded(
    read: Callable[[Box], np.ndarray], box: Box, shape: tuple[int, ...], pad: Pad, dtype: np.dtype, channels: int
) -> np.ndarray:
    """`box` of an array of `shape`, of which `read` returns boxes inside; (channel, *spatial)."""
    inside = box.clip(shape)
    if inside == box:
        return read(box)
    if isinstance(pad, str):
        indices = [_mapped(a, b, n, pad) for a, b, n in zip(box.start, box.stop, shape, strict=True)]
        lowest = tuple(int(i.min()) for i in indices)
        needed = Box.of_bounds(lowest, tuple(int(i.max()) + 1 for i in indices))
        tile = read(needed)
        for axis, index in enumerate(indices):
            if box.start[axis] < 0 or box.stop[axis] > shape[axis]:
                tile = np.take(tile, index - lowest[axis], axis=axis + 1)
        return np.ascontiguousarray(tile)
    out = np.full((channels, *box.size), pad, dtype)
    if not inside.empty:
        out[(slice(None), *inside.relative_to(box.start).slices)] = read(inside)
    return out


def _mapped(start: int, stop: int, n: int, mode: str) -> np.ndarray:
    """For each index in start … stop the index inside 0 … n that stands for it."""
    index = np.arange(start, stop)
    if mode == "edge" or n == 1:
        return np.clip(index, 0, n - 1)
    if mode == "reflect":
        period = 2 * (n - 1)
        index = np.abs(index) % period
        return np.minimum(index, period - index)
    raise ValueError(f"pad {mode!r}: use 'reflect', 'edge' or a number")
