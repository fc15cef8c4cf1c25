"""TIFF in its dialects (tiled, stripped, pyramidal, OME, Aperio, ImageJ), decoded tile by tile.

tifffile reads the structure once; then bytes come by `pread` and tiles are decoded by imagecodecs in the calling thread,
which lets go of the interpreter while it does. Measured about three times as fast as OpenSlide on tiled JPEG.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from malpighi.errors import DataError
from malpighi.geometry import Box, Space
from malpighi.images import cache
from malpighi.images.base import Source
from malpighi.images.color import channel_names, from_palette, on_white
from malpighi.images.tiff_metadata import ome_channels, outer_axes, spacing

logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # it logs what is raised here in one line

_owners = itertools.count()
_OTHERS = ("philips", "ndpi", "bif", "scn")  # dialects whose levels or offsets OpenSlide knows better
_JPEG = (6, 7, 34892, 33007)
_APERIO_YCBCR = 33003  # JPEG 2000 in YCbCr: OpenSlide converts it


@dataclass(frozen=True, slots=True)
class _Plane:
    """One page: where its segments (tiles or strips) lie."""

    path: Path
    offsets: tuple[int, ...]
    counts: tuple[int, ...]
    tables: bytes | None  # JPEG tables that all tiles share


@dataclass(frozen=True, slots=True)
class _Level:
    """One pyramid level. `planes` is by channel, then z; None where a file of the set is missing."""

    shape: tuple[int, int]
    segment: tuple[int, int]
    planes: tuple[_Plane | None, ...]
    depth: int
    separate: int  # planes of samples (planar configuration 2), else 1
    samples: int  # interleaved samples of a decoded segment after `convert`
    stored: int  # the same in the file
    decode: Callable[..., Any]
    convert: Callable[[np.ndarray], np.ndarray] | None
    raw: np.dtype | None  # dtype in the file where pages are contiguous and uncompressed, so that they can be mapped
    jpeg: bool


class TiffSource(Source):
    """The main image of a TIFF with its pyramid; thumbnails, labels and macro photographs are left out.

    Reads what tifffile groups into the first series: levels as SubIFDs or as smaller pages; channels interleaved, as
    planes or as pages; z-stacks (3-D). Several pages without further description are a stack. Alpha is composited on
    white, JPEG's YCbCr comes as RGB, palettes as RGB, "white is zero" is inverted. Sparse tiles are filled.

    Arrays from `read` are transposed views of (y, x, channel) memory where the file interleaves channels: transposing
    costs a pass over memory here, while torch takes channels-last as it is.

    A truncated file is an error when it is opened. A damaged JPEG tile is found if its start or end is gone; libjpeg
    decodes one with garbage in its middle without complaint.

    Args:
        labels: a label image: palette indices and "white is zero" stay numbers, alpha is dropped.
    """

    def __init__(self, path: Path, labels: bool = False) -> None:
        self._key = next(_owners)
        try:
            with tifffile.TiffFile(path) as tif:
                self._open(Path(path), tif, labels)
        except DataError:
            raise
        except Exception as error:  # tifffile raises struct.error, KeyError, … on broken files
            raise DataError(f"{path}: is no TIFF that can be read ({error}); it may be truncated, copy it again") from error

    def _open(self, path: Path, tif: Any, labels: bool) -> None:
        for flag in _OTHERS:
            if flag in tif.flags:
                raise DataError(f"{path}: a {flag} slide, which OpenSlide reads")
        if not tif.series:
            raise DataError(f"{path}: holds no image; it may be truncated, copy it again")
        series = tif.series[0]
        dtype = np.dtype(np.bool_) if series.dtype is None else series.dtype.newbyteorder("=")
        whole = [lv for lv in series.levels if lv.axes == series.axes and lv.dtype == series.dtype]
        self._levels = [_level(path, level, labels) for level in whole]
        first = self._levels[0]
        stack = first.depth > 1
        shapes = tuple(((lv.depth,) if stack else ()) + lv.shape for lv in self._levels if lv.depth == first.depth)
        count = len(first.planes) // first.depth * first.separate * first.samples
        names = ome_channels(tif)
        if _photometric(series) == "PALETTE" and not labels:
            dtype = np.dtype(np.uint8)
        if dtype == np.bool_:
            dtype = np.dtype(np.uint8)
        rgb = count == 3 and _photometric(series) in ("RGB", "YCBCR", "PALETTE")
        space = Space(shapes, spacing(tif, len(shapes[0])))
        channels = names if len(names) == count else channel_names(count, rgb)
        super().__init__(str(path), space, dtype, channels, 255 if rgb and dtype == np.uint8 else 0)
        self._check_complete()

    def _check_complete(self) -> None:
        sizes: dict[Path, int] = {}
        for level, pages in enumerate(self._levels):
            for plane in pages.planes:
                if plane is None:
                    continue
                size = sizes.setdefault(plane.path, plane.path.stat().st_size)
                needed = int((np.asarray(plane.offsets, np.int64) + np.asarray(plane.counts, np.int64)).max(initial=0))
                if needed > size:
                    name = plane.path if plane.path.name != Path(self.name).name else self.name
                    raise DataError(
                        f"{name}: truncated: level {level} reaches to byte {needed}, the file ends at {size}; copy it again"
                    )

    # -- reading -------------------------------------------------------------------------------------------------
    def _read(self, box: Box, level: int) -> np.ndarray:
        lv = self._levels[level]
        first = box.start[0] if box.rank == 3 else 0
        deep = box.size[0] if box.rank == 3 else 1
        height, width = box.size[-2:]
        pages = len(lv.planes) // lv.depth
        out = np.empty((pages, lv.separate, deep, height, width, lv.samples), self.dtype)
        for page in range(pages):
            for k in range(deep):
                number = page * lv.depth + first + k
                for sample in range(lv.separate):
                    self._fill_plane(out[page, sample, k], level, number, sample, box)
        out = out.transpose(0, 1, 5, 2, 3, 4).reshape(-1, deep, height, width)
        return out if box.rank == 3 else out[:, 0]

    def _fill_plane(self, out: np.ndarray, level: int, number: int, sample: int, box: Box) -> None:
        """(y, x, sample) of one plane."""
        lv = self._levels[level]
        plane = lv.planes[number]
        (y, x), (height, width) = box.start[-2:], box.size[-2:]
        if plane is None:
            out[:] = self.fill
            return
        if lv.raw is not None:
            pixels = self._mapped(lv, plane, sample)[y : y + height, x : x + width]
            out[:] = pixels if lv.convert is None else lv.convert(pixels)
            return
        high, wide = lv.segment
        columns, rows = -(-lv.shape[1] // wide), -(-lv.shape[0] // high)
        for row in range(y // high, (y + height - 1) // high + 1):
            top = row * high - y
            for column in range(x // wide, (x + width - 1) // wide + 1):
                left = column * wide - x
                tile = self._tile(level, number, (sample * rows + row) * columns + column, box, row, column)
                y0, x0 = max(0, top), max(0, left)
                y1, x1 = min(height, top + high), min(width, left + wide)
                if tile is None:
                    out[y0:y1, x0:x1] = self.fill
                else:
                    out[y0:y1, x0:x1] = tile[y0 - top : y1 - top, x0 - left : x1 - left]

    def _tile(self, level: int, number: int, index: int, box: Box, row: int, column: int) -> np.ndarray | None:
        """A decoded segment (y, x, sample); None where the file has none or it is damaged."""
        key = (self._key, level, number, index)
        tile = cache.tiles.get(key)
        if tile is not None:
            return tile
        lv = self._levels[level]
        plane = lv.planes[number]
        assert plane is not None
        count = plane.counts[index] if index < len(plane.counts) else 0
        if count == 0:
            return None
        try:
            tile = self._decoded(lv, plane, index, count)
        except Exception as error:  # codecs raise whatever they like
            high, wide = lv.segment
            place = Box((row * high, column * wide), (high, wide)).clip(lv.shape)
            if box.rank == 3:
                place = Box((number % lv.depth, *place.start), (1, *place.size))
            self.note_damage(level, place, str(error) or type(error).__name__)
            return None
        cache.tiles.put(key, tile)
        return tile

    def _decoded(self, lv: _Level, plane: _Plane, index: int, count: int) -> np.ndarray:
        data = cache.files.read(self._key, plane.path, plane.offsets[index], count)
        if len(data) < count:
            raise DataError(f"{len(data)} of {count} bytes")
        if lv.jpeg and data.rfind(b"\xff\xd9") < 0:
            raise DataError("JPEG data without an end")
        tile = lv.decode(data, index, jpegtables=plane.tables)[0][0]
        return tile if lv.convert is None else lv.convert(tile)

    def _mapped(self, lv: _Level, plane: _Plane, sample: int) -> np.ndarray:
        """(y, x, sample) of an uncompressed page, without a copy."""
        assert lv.raw is not None
        size = lv.shape[0] * lv.shape[1] * lv.stored * lv.raw.itemsize
        start = plane.offsets[0] + sample * size
        return cache.files.map(self._key, plane.path)[start : start + size].view(lv.raw).reshape(*lv.shape, lv.stored)

    def _close(self) -> None:
        cache.tiles.drop(self._key)
        cache.files.drop(self._key)


def _level(path: Path, series: Any, labels: bool) -> _Level:
    key = series.keyframe
    inner = len(key.axes)
    axes, sizes = outer_axes(str(path), series.axes[:-inner], series.shape[:-inner])
    separate, deep, height, width, stored = key.shaped
    if deep > 1:
        raise DataError(f"{path}: tiles that span slices are not read; save it as OME-TIFF with a page a slice")
    if key.compression == _APERIO_YCBCR:
        raise DataError(f"{path}: JPEG 2000 in YCbCr, which OpenSlide reads")
    planes = _planes(path, series, int(np.prod(sizes)) if sizes else 1)
    order = np.arange(len(planes)).reshape(sizes)
    if axes == "ZC":
        order = order.T
    convert, samples = _conversion(path, key, stored, labels)
    high, wide = (key.tilelength, key.tilewidth) if key.is_tiled else (min(key.rowsperstrip, height), width)
    contiguous = key.is_memmappable or (series.dataoffset is not None and len(series.pages) < len(planes))
    return _Level(
        shape=(height, width),
        segment=(high, wide),
        planes=tuple(planes[i] for i in order.ravel()),
        depth=dict(zip(axes, sizes, strict=True)).get("Z", 1),
        separate=separate,
        samples=samples,
        stored=stored,
        decode=key.decode,
        convert=convert,
        raw=np.dtype(key.parent.byteorder + key.dtype.char) if contiguous else None,
        jpeg=key.compression in _JPEG,
    )


def _planes(path: Path, series: Any, count: int) -> list[_Plane | None]:
    pages = list(series.pages)
    if len(pages) < count and series.dataoffset is not None:  # ImageJ: one page, the rest follows without pages
        key = series.keyframe
        size = key.size * key.dtype.itemsize
        return [_Plane(path, (series.dataoffset + i * size,), (size,), None) for i in range(count)]
    if len(pages) != count:
        raise DataError(f"{path}: {len(pages)} pages where {series.axes} {series.shape} needs {count}; it may be truncated")
    return [
        None
        if page is None  # another file of an OME set, which is not there
        else _Plane(Path(page.parent.filehandle.path), page.dataoffsets, page.databytecounts, page.jpegtables)
        for page in pages
    ]


def _photometric(series: Any) -> str:
    return getattr(series.keyframe.photometric, "name", "")


def _conversion(path: Path, key: Any, stored: int, labels: bool) -> tuple[Callable[[np.ndarray], np.ndarray] | None, int]:
    """What makes a decoded segment (…, stored samples) into the image's, and how many samples it then has."""
    kind = getattr(key.photometric, "name", "")
    if kind == "YCBCR" and key.compression not in _JPEG and key.compression not in (33005, 34712, 50001):
        raise DataError(f"{path}: YCbCr without JPEG compression is not read; save it as RGB")
    alpha = [int(e) for e in key.extrasamples[-1:]]
    if alpha and alpha[0] in (1, 2) and stored in (2, 4) and key.dtype.kind == "u":
        if labels:
            return (lambda tile: tile[..., :-1]), stored - 1
        return (lambda tile: on_white(tile, premultiplied=alpha[0] == 1)), stored - 1
    if labels:
        return None, stored
    if kind == "PALETTE" and key.colormap is not None and stored == 1:
        colormap = np.asarray(key.colormap)
        return (lambda tile: from_palette(tile, colormap)), 3
    if kind == "MINISWHITE" and key.dtype.kind in "bu":
        return (lambda tile: ~tile), stored
    return None, stored
