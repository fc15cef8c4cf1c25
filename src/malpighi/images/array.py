"""Images that are already in memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from malpighi.errors import DataError
from malpighi.geometry import Box, Space, Spacing
from malpighi.images.base import Source


class ArraySource(Source):
    """An array, or anything that slices like one (a memory map, a Zarr array), as an image of one level.

    Args:
        array: (channel, *spatial), spatial being (y, x) or (z, y, x). `ArraySource.gray` takes one without a channel
            axis, `ArraySource.rgb` one with the channels last.
        spacing: of the array's voxels; pixels where None.
        channels: their names; numbered where not given.
    """

    def __init__(
        self, array: Any, spacing: Spacing | None = None, channels: tuple[str, ...] = (), name: str = "array", fill: float = 0
    ) -> None:
        if array.ndim not in (3, 4) or 0 in array.shape:
            raise DataError(f"{name}: an array of shape {array.shape}; give (channel, y, x) or (channel, z, y, x), none empty")
        channels = tuple(channels) or tuple(f"channel {i}" for i in range(array.shape[0]))
        if len(channels) != array.shape[0]:
            raise DataError(f"{name}: {len(channels)} channel names for {array.shape[0]} channels of {array.shape}")
        super().__init__(name, Space.of_shape(array.shape[1:], spacing), array.dtype, channels, fill)
        self._array = array

    @classmethod
    def gray(cls, array: np.ndarray, spacing: Spacing | None = None, name: str = "array", fill: float = 0) -> ArraySource:
        """(y, x) or (z, y, x): one channel, no copy."""
        return cls(array[None], spacing, ("gray",), name, fill)

    @classmethod
    def rgb(cls, array: np.ndarray, spacing: Spacing | None = None, name: str = "array", fill: float = 255) -> ArraySource:
        """(y, x, 3): red, green, blue, no copy."""
        return cls(np.moveaxis(array, -1, 0), spacing, ("red", "green", "blue"), name, fill)

    def _read(self, box: Box, level: int) -> np.ndarray:
        return np.array(self._array[(slice(None), *box.slices)])  # a copy: the caller may write into it
