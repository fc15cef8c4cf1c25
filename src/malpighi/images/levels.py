"""The arrays of a pyramid in a Zarr group, whole shards at a time: what `ZarrWriter` writes to."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from malpighi.geometry import Box
from malpighi.images import ngff
from malpighi.images.reduce import halve
from malpighi.images.shards import Shards

_CHUNK = {2: 512, 3: 64}
_SHARD = {2: 2048, 3: 256}
_THREADS = 2  # of the pyramid: one reads while one compresses; more only adds memory

Sides = int | Sequence[int] | None
"""Of a chunk or shard in voxels: one for all axes, one an axis, or what is usual."""

Layout = tuple[tuple[int, ...], tuple[int, ...]]
"""Spatial shape of a chunk and of a shard."""


def layout(shape: tuple[int, ...], chunk: Sides = None, shard: Sides = None) -> Layout:
    """Chunk and shard of an array of `shape`, spatial axes only: no larger than it is, shards of whole chunks."""
    rank = len(shape)
    chunks, shards = _sides(chunk, _CHUNK.get(rank, 64), rank), _sides(shard, _SHARD.get(rank, 256), rank)
    inside = tuple(min(c, max(1, n)) for c, n in zip(chunks, shape, strict=True))
    return inside, tuple(i * max(1, min(s // c, -(-n // i))) for i, s, c, n in zip(inside, shards, chunks, shape, strict=True))


def _sides(given: Sides, default: int, rank: int) -> tuple[int, ...]:
    if given is None:
        given = default
    return (int(given),) * rank if isinstance(given, (int, np.integer)) else tuple(int(v) for v in given)


@dataclass
class Levels:
    """The levels of one image: Zarr 3 in shards that are encoded here (0.5), or Zarr 2 in plain chunks (0.4).

    Attributes:
        group: of Zarr, open for writing.
        path: of the group.
        dtype: of the voxels.
        lead: what goes before the spatial axes: (channels,) of an image, () of labels.
        chunk: spatial shape of a chunk of level 0; those of the others are no larger than the level.
        shard: of a shard, a multiple of `chunk`.
    """

    group: Any
    path: Path
    dtype: np.dtype
    lead: tuple[int, ...]
    chunk: tuple[int, ...]
    shard: tuple[int, ...]
    version: ngff.Version
    _arrays: dict[int, Any] = field(default_factory=dict)
    _shards: dict[int, Shards] = field(default_factory=dict)

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the axes, in array order."""
        return (*("c",) * len(self.lead), *("z", "y", "x")[-len(self.chunk) :])

    def unit(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Spatial shape of what one file of a level of `shape` holds."""
        chunk, shard = layout(shape, self.chunk, self.shard)
        return shard if self.version == "0.5" else chunk

    def create(self, level: int, shape: tuple[int, ...]) -> None:
        """Make the array of a level of `shape`, spatial; an earlier one goes."""
        import numcodecs
        from zarr.codecs import BloscCodec, ZstdCodec

        chunk, shard = layout(shape, self.chunk, self.shard)
        few = tuple(n if n <= 4 else 1 for n in self.lead)  # RGB is read whole, many channels one by one
        made: dict[str, Any] = {"shape": (*self.lead, *shape), "chunks": (*few, *chunk), "dtype": self.dtype, "fill_value": 0}
        made |= {"config": {"write_empty_chunks": False}, "overwrite": True}
        wide = self.dtype.itemsize
        if self.version == "0.4":
            made["compressors"] = numcodecs.Blosc(cname="zstd", clevel=1, shuffle=numcodecs.Blosc.SHUFFLE)
            made["chunk_key_encoding"] = {"name": "v2", "separator": "/"}
        else:
            shuffled = BloscCodec(typesize=wide, cname="zstd", clevel=1, shuffle="shuffle")
            made["compressors"] = ZstdCodec(level=1) if wide == 1 else shuffled
            made |= {"shards": (*self.lead, *shard), "dimension_names": self.axes}
        self._use(level, self.group.create_array(str(level), **made))

    def open(self, level: int) -> None:
        """Go on with the array of a level that is there."""
        self._use(level, self.group[str(level)])

    def _use(self, level: int, array: Any) -> None:
        self._arrays[level] = array
        if self.version == "0.5":
            self._shards[level] = Shards(self.path / str(level), array.chunks, array.shards, self.dtype)

    def write(self, level: int, box: Box, array: np.ndarray) -> None:
        """Write (*lead, *box.size) voxels of whole shards, at the image's border of their part inside."""
        shards = self._shards.get(level)
        if shards is None:
            self._arrays[level][(*self._all, *box.slices)] = array
            return
        for piece in box.split(shards.shard[len(self.lead) :]):
            shards.write(self._index(piece, shards), array[(*self._all, *piece.relative_to(box.start).slices)])

    def read(self, level: int, box: Box) -> np.ndarray | None:
        """(*lead, *box.size) voxels of whole shards; None where nothing was written."""
        shards = self._shards.get(level)
        if shards is None:
            return np.asarray(self._arrays[level][(*self._all, *box.slices)])
        out = None
        for piece in box.split(shards.shard[len(self.lead) :]):
            read = shards.read(self._index(piece, shards), (*self.lead, *piece.size))
            if read is None:
                continue
            if piece == box:
                return read
            if out is None:
                out = np.zeros((*self.lead, *box.size), self.dtype)
            out[(*self._all, *piece.relative_to(box.start).slices)] = read
        return out

    def halve(self, level: int, factor: tuple[int, ...], kind: ngff.Kind) -> tuple[int, ...]:
        """Make a level from the one before it, coarser by `factor`; returns its shape, spatial."""
        finer = self._arrays[level - 1].shape[len(self.lead) :]
        shape = tuple(-(-n // f) for n, f in zip(finer, factor, strict=True))
        self.create(level, shape)

        def build(box: Box) -> None:
            read = self.read(level - 1, box.scale(factor).clip(finer))
            if read is not None:
                self.write(level, box, halve(read, factor, kind))

        with ThreadPoolExecutor(_THREADS) as pool:
            for _ in pool.map(build, Box.of_shape(shape).split(layout(shape, self.chunk, self.shard)[1])):
                pass
        return shape

    @property
    def _all(self) -> tuple[slice, ...]:
        return (slice(None),) * len(self.lead)

    def _index(self, piece: Box, shards: Shards) -> tuple[int, ...]:
        grid = tuple(a // s for a, s in zip(piece.start, shards.shard[-piece.rank :], strict=True))
        return (*(0,) * len(self.lead), *grid)
