"""Grid: where tiles are read, and which box each one owns."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from malpighi.geometry.box import Box


@dataclass(frozen=True, slots=True)
class Grid:
    """Tiles of one size at multiples of `step`, anchored at the origin of an image of `shape`.

    Tile `index` reads `step * index - margin + offset .. + tile` with `margin = (tile - step) // 2`, and owns the `step`
    wide core in its middle. Cores partition the image: every voxel lies in exactly one, nothing smaller than a tile is
    skipped, and border tiles hang over the image. Because the anchor is the image's origin, the tiles that touch a
    region are the same whether the region or the whole image is worked.

    `offset` (0 … step) moves the whole grid; indices then start at -1 where that is needed to cover the border.
    """

    shape: tuple[int, ...]
    tile: tuple[int, ...]
    step: tuple[int, ...]
    offset: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "offset", tuple(self.offset) or (0,) * len(self.shape))
        if not len(self.shape) == len(self.tile) == len(self.step) == len(self.offset):
            raise ValueError(f"shape {self.shape}, tile {self.tile}, step {self.step}, offset {self.offset}: ranks differ")
        if not all(0 < s <= t for s, t in zip(self.step, self.tile, strict=True)):
            raise ValueError(f"step {self.step} must be positive and at most the tile {self.tile}, or voxels are missed")
        if not all(0 <= o <= s for o, s in zip(self.offset, self.step, strict=True)):
            raise ValueError(f"offset {self.offset} must lie between 0 and the step {self.step}")

    @property
    def margin(self) -> tuple[int, ...]:
        """How far a tile reaches before its core, by axis."""
        return tuple((t - s) // 2 for t, s in zip(self.tile, self.step, strict=True))

    def tile_box(self, index: Sequence[int]) -> Box:
        """The box that tile `index` reads; it may hang over the image."""
        start = (i * s + o - m for i, s, o, m in zip(index, self.step, self.offset, self.margin, strict=True))
        return Box(tuple(start), self.tile)

    def core_box(self, index: Sequence[int]) -> Box:
        """The part of the image that tile `index` alone owns."""
        start = tuple(i * s + o for i, s, o in zip(index, self.step, self.offset, strict=True))
        return Box(start, self.step).clip(self.shape)

    def owners(self, region: Box) -> Iterator[tuple[int, ...]]:
        """Indices, in C order, of the tiles whose core meets `region`."""
        return self._indices(region, (0,) * region.rank, self.step)

    def touching(self, region: Box) -> Iterator[tuple[int, ...]]:
        """Indices, in C order, of the tiles whose read box meets `region` and whose core meets the image."""
        return self._indices(region, tuple(-m for m in self.margin), self.tile)

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        return self.owners(Box.of_shape(self.shape))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _indices(self, region: Box, lead: tuple[int, ...], extent: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        """Indices i with [i*step + offset + lead, + extent) meeting `region` and a core meeting the image."""
        if region.empty:
            return iter(())
        ranges = []
        for axis in range(region.rank):
            s, anchor = self.step[axis], self.offset[axis] + lead[axis]
            first = (region.start[axis] - anchor - extent[axis]) // s + 1
            last = (region.stop[axis] - 1 - anchor) // s
            lowest = (-self.offset[axis] - s) // s + 1  # first core that meets the image
            highest = (self.shape[axis] - 1 - self.offset[axis]) // s
            ranges.append(range(max(first, lowest), min(last, highest) + 1))
        return itertools.product(*ranges)
