"""CellData: a prepared folder of images and their cells, memory-mapped; every stage from image labels to cells reads it."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

import numpy as np

from malpighi.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

FACTS, IMAGES, CELLS = "cells.json", "images.parquet", "cells.parquet"
KINDS = ("images", "labels", "nuclei", "crops", "masks")
"""The folders of `.npy` files, one an image."""
PARTS = "parts"
"""Folder of one table an image while the tables of all are not yet written."""
BOX = ("y_min", "x_min", "y_max", "x_max")
"""Columns of a cell's box: level-0 pixels, half-open."""

_LONGEST = 120  # characters of a file's name; file systems end at 255 bytes
_OPEN = 256  # memory maps held: each keeps a file open


def file_name(identifier: str) -> str:
    """An image's id as the name of its files: one id one name, whatever is in it ("/" becomes "%2F")."""
    name = quote(identifier, safe=" +,=@()[]{}'&!#$^~;")
    if len(name) <= _LONGEST:
        return name
    return f"{name[: _LONGEST - 17]}~{hashlib.sha256(identifier.encode()).hexdigest()[:16]}"


class CellData:
    """What `prepare` wrote, opened; see `docs/design/cells.md`. Arrays are read-only and read from disk where they are looked at.

    Attributes:
        folder: it was opened from.
        facts: of cells.json.
        classes: columns of `targets`.
        channels: of images and crops, in order.
        side: of stored images, pixels.
        crop_side: of crops, pixels.
        dtype: of stored images and crops: "uint8", "uint16" or "float32".
        image_ids: one an image.
        groups: what an image belongs to; images of one are never on both sides of a split.
        splits: "train", "validation", "test", or empty: folds decide.
        targets: (image, class) float32 of 0 and 1; a row of NaN where nobody said.
        shape: (image, 2) height and width, level-0 pixels.
        scale: (image,) level-0 pixels a stored pixel.
        image_of: (cell,) int64 row of its image; ascending.
        number: (cell,) int32 in the image's label image, from 1.
        border: (cell,) bool, whether the cell touches the image's border.
        area: (cell,) float64 level-0 pixels.
        boxes: (cell, 4) int64 y_min, x_min, y_max, x_max, level-0 pixels, half-open.
    """

    def __init__(self, folder: Path, facts: dict[str, Any], images: pa.Table, cells: pa.Table) -> None:
        self.folder, self.facts = folder, facts
        self.classes, self.channels = tuple(facts["classes"]), tuple(facts["channels"])
        self.side, self.crop_side = int(facts["side"]), int(facts["crop"])
        self.dtype = str(facts["dtype"])
        self.image_ids: tuple[str, ...] = tuple(images["id"].to_pylist())
        self.groups: tuple[str, ...] = tuple(images["group"].to_pylist())
        self.splits: tuple[str, ...] = tuple(images["split"].to_pylist())
        self.targets = _targets(images["labels"].to_pylist(), images["known"].to_pylist(), self.classes)
        self.shape = np.stack([images[name].to_numpy() for name in ("height", "width")], 1).astype(np.int64)
        self.scale = images["scale"].to_numpy().astype(np.float64)
        self.image_of = cells["image"].to_numpy().astype(np.int64)
        self.number = cells["cell"].to_numpy().astype(np.int32)
        self.border = cells["border"].to_numpy().astype(bool)
        self.area = cells["area"].to_numpy().astype(np.float64)
        self.boxes = np.stack([cells[name].to_numpy() for name in BOX], 1).astype(np.int64)
        self._cells = cells
        counts = images["cells"].to_numpy().astype(np.int64)
        self._first = np.concatenate([[0], np.cumsum(counts)])
        if not np.array_equal(self.image_of, np.repeat(np.arange(len(counts)), counts)):
            raise DataError(f"{folder / CELLS}: its cells are not those that {IMAGES} counts; prepare the folder again")
        self._map = lru_cache(maxsize=_OPEN)(self._mapped)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open a prepared folder.

        Raises:
            DataError: it is none, it is not finished, or its files do not belong together.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        folder = Path(folder)
        if not (folder / FACTS).is_file():
            begun = (folder / PARTS).is_dir()
            raise DataError(
                f"{folder}: its cells are not all prepared; run the command that began it again, it goes on where it stopped"
                if begun
                else f"{folder}: not a folder of prepared cells (it has no {FACTS}); give the `prepared` folder of a cell run"
            )
        try:
            facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
            return cls(folder, facts, pq.read_table(folder / IMAGES), pq.read_table(folder / CELLS))
        except (OSError, KeyError, TypeError, pa.ArrowException, json.JSONDecodeError) as error:
            reason = " ".join(str(error).split())[:160]
            raise DataError(f"{folder}: damaged ({reason}); copy the folder again, or prepare it again") from error

    def __len__(self) -> int:
        return len(self.image_ids)

    @property
    def cells(self) -> int:
        """Number of cells of all images."""
        return len(self.number)

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the measured columns of cells.parquet."""
        known = {"image", "cell", "border", "area", *BOX}
        return tuple(name for name in self._cells.column_names if name not in known)

    def feature(self, name: str) -> np.ndarray:
        """(cell,) column of cells.parquet.

        Raises:
            DataError: there is none of that name.
        """
        if name not in self._cells.column_names:
            raise DataError(f"{self.folder / CELLS}: no column {name!r}; it has {', '.join(self._cells.column_names)}")
        return self._cells[name].to_numpy()

    def image(self, i: int) -> np.ndarray:
        """(channel, side, side) in the file's dtype; 0 below and to the right of the image."""
        return self._map("images", int(i))

    def inside(self, i: int) -> tuple[int, int]:
        """Height and width of the stored image without what it was padded with."""
        return stored_shape(tuple(self.shape[i]), self.side)

    def labels(self, i: int) -> np.ndarray:
        """(side, side) uint16 cell numbers."""
        return self._map("labels", int(i))

    def nuclei(self, i: int) -> np.ndarray:
        """(side, side) uint16: the nucleus of cell n is n."""
        return self._map("nuclei", int(i))

    def crop(self, j: int) -> np.ndarray:
        """(channel, crop, crop) in the file's dtype, whatever lies around the cell included."""
        i = int(self.image_of[j])
        return self._map("crops", i)[j - self._first[i]]

    def mask(self, j: int) -> np.ndarray:
        """(crop, crop) bool: the cell in its crop."""
        i = int(self.image_of[j])
        return self._map("masks", i)[j - self._first[i]]

    def cells_of(self, i: int) -> slice:
        """Rows of the cells of image `i`."""
        return slice(int(self._first[i]), int(self._first[i + 1]))

    def _mapped(self, kind: str, i: int) -> np.ndarray:
        path = self.folder / kind / f"{file_name(self.image_ids[i])}.npy"
        try:
            return np.load(path, mmap_mode="r")
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: cannot be read ({error}); copy the folder again, or prepare it again") from error


def stored_shape(shape: tuple[int, ...], side: int) -> tuple[int, int]:
    """Height and width as stored of an image of `shape`: the longer becomes `side`, the shorter keeps its share."""
    longer = max(shape)
    height, width = (max(1, round(n * side / longer)) for n in shape)
    return height, width


def _targets(labels: list[list[str]], known: list[bool], classes: tuple[str, ...]) -> np.ndarray:
    """(image, class) float32 of 0, 1 and NaN."""
    column = {name: k for k, name in enumerate(classes)}
    targets = np.full((len(labels), len(classes)), np.nan, np.float32)
    for row, names, said in zip(targets, labels, known, strict=True):
        if said:
            row[:] = 0
            row[[column[name] for name in names if name in column]] = 1
    return targets
