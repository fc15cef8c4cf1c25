"""One PNG an object, as the 2018 Data Science Bowl lays them out: `ID/images/ID.png`, `ID/masks/*.png`."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from malpighi.annotations.base import UNNAMED, Annotation
from malpighi.annotations.scanline import paint, spans
from malpighi.errors import DataError, OutputError
from malpighi.geometry import Box, Shape, Space, Spacing
from malpighi.images.resample import resample, support

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

LARGEST = 1 << 28
"""Pixels of an image that such a folder makes sense for: every object is a file of the whole image's size."""


class FolderAnnotation(Annotation):
    """The objects of a folder of PNGs, held as one image of object numbers; where two overlap, the later name wins."""

    def __init__(self, path: Path, space: Space, classes: tuple[str, ...] = ()) -> None:
        """Read all objects.

        Args:
            path: the folder of PNGs, or the one above it, which holds `masks/`.
            space: of the image, which has the PNGs' size.
            classes: name of the one class.

        Raises:
            DataError: no PNG, an unreadable one, or one of another size; names the file.
        """
        if len(classes) > 1:
            raise DataError(f"{path}: a folder of objects holds one class, {len(classes)} are given; give one")
        files = self._files = _files(Path(path))
        self._labels = np.zeros(space.shape, np.int32)
        overlap, empty = 0, 0
        for number, file in enumerate(files, 1):
            mask = _mask(file, space.shape)
            overlap += int(np.count_nonzero(self._labels[mask]))
            empty += not mask.any()
            self._labels[mask] = number
        notes = [f"{overlap} pixels lie in several objects; the later file wins"] if overlap else []
        notes += [f"{empty} masks are empty"] if empty else []
        super().__init__(str(path), space, classes or (UNNAMED,), tuple(notes))

    def masks(self) -> Iterator[tuple[str, np.ndarray]]:
        """Every object's file name and (y, x) bool mask as it is there, also where it overlaps others."""
        for file in self._files:
            yield file.name, _mask(file, self.space.shape)

    @property
    def has_objects(self) -> bool:
        """Always."""
        return True

    def _rasterise(self, box: Box, spacing: Spacing) -> np.ndarray:
        return (self._numbers(box, spacing) > 0).astype(np.uint8)[None]

    def _instances(self, box: Box, spacing: Spacing, classes: tuple[str, ...]) -> np.ndarray:
        return self._numbers(box, spacing) if self.classes[0] in classes else np.zeros(box.size, np.int32)

    def _numbers(self, box: Box, spacing: Spacing) -> np.ndarray:
        ratio = spacing.over(self.space.spacing)
        needed = support(box, ratio, "nearest").clip(self.space.shape)
        return resample(self._labels[needed.slices][None], needed, box, ratio, "nearest")[0]


def _files(path: Path) -> list[Path]:
    folder = path / "masks" if (path / "masks").is_dir() else path
    files = sorted(folder.glob("*.png"))
    if not files:
        raise DataError(f"{folder}: holds no PNG; expected one mask an object")
    return files


def size_of_folder(path: Path) -> tuple[int, int]:
    """(y, x) of the first object's PNG, which is the image's size."""
    from malpighi.images.open import open_image

    with open_image(_files(Path(path))[0], labels=True) as image:
        return image.shape[0], image.shape[1]


def _mask(file: Path, shape: tuple[int, ...]) -> np.ndarray:
    import cv2

    # OpenCV logs a damaged file and returns None
    image = cv2.imdecode(np.frombuffer(file.read_bytes() or b"\0", np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise DataError(f"{file}: not a PNG, or truncated; copy it again, or remove it")
    if image.shape[:2] != shape:
        raise DataError(f"{file}: a mask of {image.shape[0]} × {image.shape[1]} for an image of {shape[0]} × {shape[1]}")
    colours = image[..., :3] if image.ndim == 3 and image.shape[2] > 2 else image
    return colours.any(axis=2) if colours.ndim == 3 else colours != 0


def write_folder(path: Path, shapes: Iterable[Shape], shape: tuple[int, int]) -> int:
    """Write `path/masks/ID.png` for every shape: 0 and 255, the whole image's size.

    Args:
        path: a new folder; appears only when all is written.
        shapes: the objects; those with no pixel are left out.
        shape: (y, x) of the image.

    Returns:
        How many were written.

    Raises:
        OutputError: the folder exists or cannot be written, or the image is too large for this format.
    """
    path = Path(path)
    if shape[0] * shape[1] > LARGEST:
        raise OutputError(f"{path}: an image of {shape[0]} × {shape[1]} is too large for one PNG an object; write GeoJSON")
    if path.exists():
        raise OutputError(f"{path}: exists; choose another folder")
    count = 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{path.name[:40]}-", suffix=".part", dir=path.parent))
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror}); check the folder and its permissions") from error
    try:
        (part / "masks").mkdir()
        for item in shapes:
            mask = _drawn(item.geometry, shape)
            if mask.any():
                _write_png(part / "masks" / f"{_file_name(item.id)}.png", mask)
                count += 1
        part.chmod(0o755)
        part.rename(path)
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written ({error.strerror or error}); free space or choose another place"
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return count


def _drawn(geometry: BaseGeometry, shape: tuple[int, int]) -> np.ndarray:
    found = spans([geometry], Box.of_shape(shape), (1.0, 1.0))
    return paint(found, shape, np.array([255])).astype(np.uint8)


def _write_png(file: Path, mask: np.ndarray) -> None:
    import cv2

    file.write_bytes(cv2.imencode(".png", mask)[1].tobytes())


def _file_name(identity: str) -> str:
    """The id where it can be a file's name, else a UUID made of it."""
    plain = identity.replace("-", "").replace("_", "").isalnum()
    return identity if plain else str(uuid.uuid5(uuid.NAMESPACE_URL, identity))
