"""An image whose voxels are brought to a common scale as they are read."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from malpighi.geometry import Box
from malpighi.images.base import Damage, Source


class Scale(Protocol):
    """Raw voxels → scaled ones, as `sampling.intensity.Intensity` does."""

    def apply(self, array: np.ndarray, axis: int) -> np.ndarray:
        """The array as float32, channels on `axis`."""
        ...


class ScaledSource(Source):
    """A source in float32 on a scale of its own, so that volumes of different scanners look alike.

    Args:
        source: closed with this one.
        scale: measured on it, `sampling.own_intensity.measure_image`.
    """

    def __init__(self, source: Source, scale: Scale) -> None:
        self._source = source
        self._scale = scale
        fill = np.full((len(source.channels), 1), source.fill, np.float32)
        filled = float(scale.apply(fill, axis=0).mean())
        super().__init__(source.name, source.space, np.dtype(np.float32), source.channels, filled)
        self.on_damage = source.on_damage

    def _read(self, box: Box, level: int) -> np.ndarray:
        return np.asarray(self._scale.apply(self._source.read(box, level), axis=0), np.float32)

    @property
    def damage(self) -> list[Damage]:
        """What the source beneath could not decode."""
        return self._source.damage

    def _close(self) -> None:
        self._source.close()
