"""Whole-slide formats of the vendors, through OpenSlide."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path

import numpy as np
import openslide

from malpighi.errors import DataError
from malpighi.geometry import Box, Space, Spacing
from malpighi.images import cache
from malpighi.images.base import Source
from malpighi.images.color import on_white

_BLOCK = 512
_owners = itertools.count()


class SlideSource(Source):
    """A slide that OpenSlide reads: .ndpi, .mrxs, .scn, .svslide, .vms, .bif, .dcm and others; RGB, uint8.

    Some vendors place the scanned region somewhere in a large empty frame. As QuPath does, the image is cropped to
    `openslide.bounds-*` where given, so that its origin is that of QuPath's annotations. What was not scanned is white.
    """

    def __init__(self, path: Path) -> None:
        self._path = Path(path)
        self._key = ("slide", next(_owners))
        self._lock = threading.Lock()
        try:
            self._slide = openslide.OpenSlide(str(path))
            width, height = self._slide.dimensions
            known = self._slide.properties
            left, top = int(known.get("openslide.bounds-x", 0)), int(known.get("openslide.bounds-y", 0))
            size = (
                int(known.get("openslide.bounds-height", height - top)),
                int(known.get("openslide.bounds-width", width - left)),
            )
            spacing = _spacing(known.get("openslide.mpp-y"), known.get("openslide.mpp-x"))
            factors = self._slide.level_downsamples
        except (openslide.OpenSlideError, OSError, ValueError) as error:
            raise DataError(
                f"{path}: OpenSlide cannot open it ({error or 'unknown format'}); copy it again, or export it as TIFF"
            ) from error
        self._origin = (top, left)
        self._factors = [float(round(f)) if abs(f - round(f)) < 1e-6 else f for f in factors]
        shapes = tuple(tuple(max(1, round(n / f)) for n in size) for f in self._factors)
        super().__init__(str(path), Space(shapes, spacing), np.dtype(np.uint8), ("red", "green", "blue"), 255)

    def _read(self, box: Box, level: int) -> np.ndarray:
        factor = self._factors[level]
        if factor.is_integer() and all(a % int(factor) == 0 for a in self._origin):
            return self._region(box, level).transpose(2, 0, 1)
        # Between the pixels of a level OpenSlide interpolates: reading fixed blocks keeps a pixel's value independent of
        # the box it is read with.
        out = np.empty((*box.size, 3), np.uint8)
        for piece in box.split((_BLOCK, _BLOCK)):
            whole = piece.snap((_BLOCK, _BLOCK)).clip(self.space.shapes[level])
            out[piece.relative_to(box.start).slices] = self._block(whole, level)[piece.relative_to(whole.start).slices]
        return out.transpose(2, 0, 1)

    def _block(self, box: Box, level: int) -> np.ndarray:
        key = (self._key, level, box)
        block = cache.tiles.get(key)
        if block is None:
            block = self._region(box, level)
            cache.tiles.put(key, block)
        return block

    def _region(self, box: Box, level: int) -> np.ndarray:
        """(y, x, 3) of `box`."""
        y, x = (round(o + a * self._factors[level]) for o, a in zip(self._origin, box.start, strict=True))
        slide = self._slide
        try:
            pixels = np.asarray(slide.read_region((x, y), level, (box.size[1], box.size[0])))
        except openslide.OpenSlideError as error:
            self._reopen(slide)
            self.note_damage(level, box, str(error))
            return np.full((*box.size, 3), self.fill, np.uint8)
        return np.array(on_white(pixels))

    def _reopen(self, failed: openslide.OpenSlide) -> None:
        """After one error OpenSlide refuses everything; the rest of the slide is still good."""
        with self._lock:
            if self._slide is failed:
                self._slide = openslide.OpenSlide(str(self._path))

    def _close(self) -> None:
        cache.tiles.drop(self._key)
        self._slide.close()


def _spacing(*mpp: str | None) -> Spacing:
    try:
        values = [float(v) for v in mpp if v is not None]
    except ValueError:
        values = []
    return Spacing.um(values) if len(values) == 2 and min(values) > 0 else Spacing.pixels(2)
