"""Writes a tiled, pyramidal TIFF from blocks that come row by row, in memory that does not grow with the height.

Level 0 goes straight to the file. The lower levels grow beside it: each block leaves a copy at a quarter of its size,
a strip of those fills, its tiles are compressed into a spool file, and the strip's own quarter goes to the next level.
Pages are plain reduced images with resolution tags in px per cm: what tifffile, OpenSlide ("generic-tiff") and QuPath
take for one slide of known µm per px.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache, partial
from itertools import chain
from pathlib import Path
from typing import IO, Any

import numpy as np

from malpighi.errors import OutputError
from malpighi.phantoms.section import BLOCK, Origin, Section

FACTOR = 4
SMALLEST = 1024  # px: a level this small is the last
KEPT = 272  # compressed blocks held for repeats, about 100 kB each: a period of 8192 has 256


class Level:
    """A lower level while it grows: a strip one tile high, and the compressed tiles before it in a spool file."""

    def __init__(
        self, shape: tuple[int, int], encode: Callable[[np.ndarray], bytes], spool: IO[bytes], white: np.ndarray
    ) -> None:
        self.shape, self.encode, self.spool, self.white = shape, encode, spool, white
        self.strip = self._blank()
        self.lengths: list[int] = []
        self.next: Level | None = None

    def _blank(self) -> np.ndarray:
        strip = np.empty((BLOCK, -(-self.shape[1] // BLOCK) * BLOCK, 3), np.uint8)
        strip[:] = self.white
        return strip

    def put(self, row: int, column: int, quarter: np.ndarray) -> None:
        """Lay a reduced block, or part of a reduced strip, into the strip; `row`, `column` in blocks of the level above."""
        y, x = row % FACTOR * (BLOCK // FACTOR), column * (BLOCK // FACTOR)
        target = self.strip[y : y + quarter.shape[0], x : x + quarter.shape[1]]
        target[:] = quarter[:, : target.shape[1]]

    def end_row(self, row: int, last: bool) -> None:
        """Row `row` of the level above is whole; after every fourth, and the last, the strip is compressed."""
        if not last and row % FACTOR != FACTOR - 1:
            return
        for x in range(0, self.strip.shape[1], BLOCK):
            tile = self.encode(np.ascontiguousarray(self.strip[:, x : x + BLOCK]))
            self.spool.write(tile)
            self.lengths.append(len(tile))
        if self.next is not None:
            self.next.put(row // FACTOR, 0, reduced(self.strip))
            self.next.end_row(row // FACTOR, last)
        self.strip = self._blank()

    def tiles(self) -> Iterator[bytes]:
        """The compressed tiles, in order."""
        self.spool.seek(0)
        for length in self.lengths:
            yield self.spool.read(length)


def reduced(pixels: np.ndarray) -> np.ndarray:
    """The mean of each 4 × 4 px."""
    import cv2

    return cv2.resize(pixels, (pixels.shape[1] // FACTOR, pixels.shape[0] // FACTOR), interpolation=cv2.INTER_AREA)


def write_pyramid(
    path: Path,
    shape: tuple[int, int],
    spacing: float,
    section: Section,
    text: str,
    quality: int | None,
    threads: int,
    progress: Callable[[int, int], None] | None,
) -> Path:
    """Write `section` to `path`; see `SlidePhantom.write`."""
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".phantom-") as folder:
            levels = _levels(shape, partial(encode, quality=quality), Path(folder), np.round(section.batch.white))
            try:
                _write(part, shape, spacing, section, levels, text, quality, threads, progress)
            finally:
                for level in levels:
                    level.spool.close()
        os.replace(part, path)
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written ({error.strerror or error}); free space or choose another place"
        ) from error
    finally:
        with suppress(OSError):  # renamed, or never made
            part.unlink()
    return path


def _levels(shape: tuple[int, int], code: Callable[[np.ndarray], bytes], folder: Path, white: np.ndarray) -> list[Level]:
    levels: list[Level] = []
    while max(shape) > SMALLEST:
        shape = (-(-shape[0] // FACTOR), -(-shape[1] // FACTOR))
        spool = open(folder / f"{len(levels)}", "w+b")  # noqa: SIM115 (`write_pyramid` closes it)
        levels.append(Level(shape, code, spool, white))
        if len(levels) > 1:
            levels[-2].next = levels[-1]
    return levels


def _write(
    path: Path,
    shape: tuple[int, int],
    spacing: float,
    section: Section,
    levels: list[Level],
    text: str,
    quality: int | None,
    threads: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    import tifffile

    options: dict[str, Any] = {"tile": (BLOCK, BLOCK), "dtype": np.uint8, "photometric": "rgb", "metadata": None}
    options |= {"compression": "deflate"} if quality is None else {"compression": "jpeg", "subsampling": (2, 2)}
    with tifffile.TiffWriter(path, bigtiff=shape[0] * shape[1] * (3 if quality is None else 1) > 2**32 - 2**28) as tif:
        tiles = _base_tiles(shape, section, levels, quality, threads, progress)
        for number, (size, data) in enumerate([(shape, tiles), *((level.shape, level.tiles()) for level in levels)]):
            per_cm = 1e4 / (spacing * FACTOR**number)
            tif.write(
                chain(data),  # tifffile closes what it is given at the last tile; a chain passes that on to nobody
                shape=(*size, 3),
                description=text if number == 0 else None,
                software="malpighi" if number == 0 else None,
                subfiletype=1 if number else 0,
                resolution=(per_cm, per_cm),
                resolutionunit="CENTIMETER",
                **options,
            )
            next(tiles, None)  # what follows the last tile completes the lower levels


def _base_tiles(
    shape: tuple[int, int],
    section: Section,
    levels: list[Level],
    quality: int | None,
    threads: int,
    progress: Callable[[int, int], None] | None,
) -> Iterator[bytes]:
    """Compressed tiles of level 0, row by row; the lower levels grow on the way."""
    rows, columns = (-(-n // BLOCK) for n in shape)
    kept = lru_cache(maxsize=KEPT if section.layout.period else 16)(partial(_draw, section, quality))
    ahead = 8 * threads  # blocks drawn before they are asked for: bounds the memory
    with ThreadPoolExecutor(threads) as pool:
        for row in range(rows):
            for first in range(0, columns, ahead):
                index = range(first, min(columns, first + ahead))
                origins = list(pool.map(section.origin, [(row, c) for c in index]))
                for column, (tile, quarter) in zip(index, pool.map(kept, origins), strict=True):
                    if levels:
                        levels[0].put(row, column, quarter)
                    yield tile
            if levels:
                levels[0].end_row(row, row == rows - 1)
            if progress:
                progress(row + 1, rows)


def _draw(section: Section, quality: int | None, origin: Origin) -> tuple[bytes, np.ndarray]:
    block = section.draw(origin)
    return encode(block, quality), reduced(block)


def encode(tile: np.ndarray, quality: int | None) -> bytes:
    """A tile as a whole JPEG (4:2:0), or deflated where `quality` is None."""
    import imagecodecs

    if quality is None:
        return bytes(imagecodecs.zlib_encode(tile.tobytes(), level=5))
    return bytes(imagecodecs.jpeg8_encode(tile, level=quality, colorspace="rgb", outcolorspace="ycbcr", subsampling="420"))
