"""Source: the one contract through which every image is read."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np

from malpighi.errors import DataError, TileError
from malpighi.geometry import Box, Space, Spacing
from malpighi.images.pad import Pad, read_padded
from malpighi.images.resample import resample, support


@dataclass(frozen=True, slots=True)
class Damage:
    """A part of an image that could not be decoded and was filled: where (level and box) and why."""

    level: int
    box: Box
    reason: str

    def __str__(self) -> str:
        return f"level {self.level}, {self.box}: {self.reason}"


class Source(ABC):
    """An image of any size, read box by box.

    Attributes:
        name: what errors call it, usually the path.
        space: shapes of all levels (spatial axes only, array order), level-0 spacing.
        dtype: of the arrays that `read` returns.
        channels: a name for each channel; its length is the number of channels.
        notes: what the file says that is not believed, or does not say and should, one line each with the cure.

    Public methods check once; a driver writes only `_read` (a box inside one level, no padding) and, where it holds
    files open, `_close`. Reading is thread-safe in every driver. A file tile that cannot be decoded raises `TileError`;
    with `on_damage = "fill"` it is filled with `fill`, noted in `damage`, and the rest is read.
    """

    on_damage: Literal["raise", "fill"] = "raise"
    notes: tuple[str, ...] = ()

    def __init__(self, name: str, space: Space, dtype: np.dtype, channels: tuple[str, ...], fill: float = 0) -> None:
        self.name = name
        self.space = space
        self.dtype = np.dtype(dtype)
        self.channels = tuple(channels)
        self.fill = fill
        self._damage: dict[tuple[int, Box], Damage] = {}
        self._damage_lock = threading.Lock()

    # -- what a driver writes ------------------------------------------------------------------------------------
    @abstractmethod
    def _read(self, box: Box, level: int) -> np.ndarray:
        """Voxels of `box`, which is not empty and lies inside `level`: (channel, *spatial), `self.dtype`."""

    def _close(self) -> None:  # noqa: B027 (most drivers hold nothing open)
        """Let go of open files."""

    # -- what everyone calls -------------------------------------------------------------------------------------
    @property
    def shape(self) -> tuple[int, ...]:
        """Spatial shape of level 0."""
        return self.space.shape

    @property
    def damage(self) -> list[Damage]:
        """What could not be decoded so far, each place once, in order of position."""
        with self._damage_lock:
            return sorted(self._damage.values(), key=lambda d: (d.level, d.box))

    def read(self, box: Box, level: int = 0, pad: Pad = "reflect") -> np.ndarray:
        """Voxels of `box` in `level`'s own pixels; outside the image padded as `pad` says.

        Args:
            box: in voxels of `level`; may hang over the image on any side.
            pad: "reflect" (mirror without repeating the border), "edge", or a number to fill with.

        Returns:
            (channel, *spatial) array of `self.dtype`, writable, the caller's own.

        Raises:
            TileError: a file tile cannot be decoded and `on_damage` is "raise".
            DataError: the level does not exist or the box has another rank than the image.
        """
        if not 0 <= level < self.space.levels:
            raise DataError(f"{self.name}: level {level} does not exist; levels are 0 to {self.space.levels - 1}")
        if box.rank != self.space.rank:
            raise DataError(f"{self.name}: box {box} has {box.rank} axes, the image has {self.space.rank}")
        if box.empty:
            return np.empty((len(self.channels), *box.size), self.dtype)
        return read_padded(lambda b: self._read(b, level), box, self.space.shapes[level], pad, self.dtype, len(self.channels))

    def read_at(
        self, box: Box, spacing: Spacing, pad: Pad = "reflect", method: Literal["area", "nearest"] = "area"
    ) -> np.ndarray:
        """Voxels of `box` on the image's grid at `spacing`, resampled from the level at or above it.

        Voxel i at `spacing` covers the image from i·spacing to (i + 1)·spacing: the value of a voxel does not depend on
        the box it is read with. "area" averages what the voxel covers (linear interpolation where `spacing` is finer
        than the image); "nearest" takes the voxel at its centre, for labels.

        Raises:
            SpacingError: `spacing` is physical and the image's is not, or the reverse.
        """
        level = self.space.level_for(spacing)
        ratio = spacing.over(self.space.spacings[level])
        if box.empty or all(abs(r - 1) < 1e-6 for r in ratio):
            return self.read(box, level, pad)
        needed = support(box, ratio, method)
        return resample(self.read(needed, level, pad), needed, box, ratio, method)

    def note_damage(self, level: int, box: Box, reason: str) -> None:
        """For drivers: report a part that cannot be decoded; raises unless `on_damage` is "fill"."""
        if self.on_damage == "raise":
            raise TileError(
                f"{self.name}: cannot decode the tile at level {level}, {box} ({reason}); "
                "copy or export the file again (`malpighi segment` without --strict leaves such parts out)"
            )
        with self._damage_lock:
            self._damage[level, box] = Damage(level, box, reason)

    def close(self) -> None:
        """Let go of open files; reading afterwards is an error of the driver's choice."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} {self.shape} × {len(self.channels)} {self.dtype}, {self.space.spacing}>"
