"""PNG, JPEG and BMP: images small enough to be decoded whole."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path

import imagecodecs
import numpy as np
from PIL import Image

from malpighi.errors import DataError
from malpighi.geometry import Box, Space
from malpighi.images import cache
from malpighi.images.base import Source
from malpighi.images.color import channel_names, on_white

Image.MAX_IMAGE_PIXELS = None  # mosaics of hundreds of megapixels are normal here, no attack
_owners = itertools.count()
_FORMATS = ("PNG", "JPEG", "BMP")


class RasterSource(Source):
    """A PNG, JPEG or BMP file, decoded at the first read and held in the shared tile cache.

    Gray stays one channel; palettes become RGB; alpha is composited on white; 16 bits stay 16 bits; CMYK becomes RGB.
    The pixel size is unknown: the dots per inch in such files speak of print. EXIF orientation is not applied, so that
    masks and annotations made on the stored pixels fit.

    Args:
        labels: a label image: a palette's indices are the labels and stay numbers, alpha is dropped.
    """

    def __init__(self, path: Path, labels: bool = False) -> None:
        self._path = Path(path)
        self._labels = labels
        self._lock = threading.Lock()
        self._key = ("raster", next(_owners))
        try:
            with Image.open(self._path, formats=_FORMATS) as image:
                size, mode, transparent = image.size, image.mode, "transparency" in image.info
                deep = image.format == "PNG" and self._png_depth() == 16
        except (OSError, SyntaxError, ValueError) as error:
            raise DataError(f"{path}: is no PNG, JPEG or BMP ({error}); export it again") from error
        self._deep = deep
        count = 1 if mode in ("1", "L", "LA", "I", "I;16", "I;16B", "F") or (mode == "P" and labels) else 3
        dtype = np.dtype(np.uint16 if deep else {"I": np.int32, "F": np.float32}.get(mode, np.uint8))
        self._mode = "RGBA" if mode in ("P", "PA", "RGB", "L") and transparent else mode
        fill = 255 if count == 3 and dtype == np.uint8 else 0
        super().__init__(str(path), Space.of_shape((size[1], size[0])), dtype, channel_names(count), fill)

    def _read(self, box: Box, level: int) -> np.ndarray:
        image = self._decoded()
        return image[box.slices].copy().transpose(2, 0, 1)  # (y, x, channel) in memory: no strided copy here

    def _decoded(self) -> np.ndarray:
        """The whole image, (y, x, channel)."""
        with self._lock:  # one thread decodes, the others wait for it
            image = cache.tiles.get((self._key,))
            if image is None:
                try:
                    image = self._decode()
                except Exception as error:  # codecs raise whatever they like; nothing of the image is left to go on with
                    reason = str(error) or type(error).__name__
                    raise DataError(f"{self.name}: is truncated or damaged ({reason}); copy or export it again") from error
                cache.tiles.put((self._key,), image)
        return image

    def _decode(self) -> np.ndarray:
        if self._deep:
            array = imagecodecs.png_decode(self._path.read_bytes())
        else:
            with Image.open(self._path, formats=_FORMATS) as image:
                array = np.asarray(self._converted(image))
        array = array.reshape(*self.shape, -1)
        if array.shape[-1] in (2, 4):
            array = array[..., :-1] if self._labels else on_white(array)
        if array.shape[-1] == 3 and len(self.channels) == 1:  # transparent gray came as RGBA
            array = array[..., :1]
        return np.ascontiguousarray(array, self.dtype)

    def _converted(self, image: Image.Image) -> Image.Image:
        if self._labels and image.mode == "P":
            return image
        if self._mode == "RGBA":
            return image.convert("RGBA")
        if image.mode == "1":
            return image.convert("L")
        return image if image.mode in ("L", "LA", "RGB", "RGBA", "I", "I;16", "F") else image.convert("RGB")

    def _png_depth(self) -> int:
        """Bits a sample, from the IHDR chunk; Pillow hides that RGB has 16."""
        with self._path.open("rb") as file:
            return file.read(25)[24]

    def _close(self) -> None:
        cache.tiles.drop(self._key)
