"""COCO JSON as a table of labelled cells."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from malpighi.annotations.coco import CocoImage, coco_instances, read_coco
from malpighi.annotations.coco_rle import column_major
from malpighi.annotations.rle import RunLengths
from malpighi.errors import DataError
from malpighi.sampling.files import stem
from malpighi.tasks.cells.labelled_tables import CellImage


class CocoTable:
    """A COCO file; an image's id is its `file_name` without folder and suffix, a class its category.

    Objects without a score count as sure; crowds are left out.
    """

    def __init__(self, path: Path) -> None:
        coco = read_coco(path)
        if coco is None or not coco.categories:
            raise DataError(f"{path}: not a COCO file with images, categories and annotations; give one, or HPA's CSV")
        self.path, self.names, self._coco = Path(path), coco.classes, coco
        self._images: dict[str, CocoImage] = {}
        for image in coco.images:
            name = stem(Path(image.name.replace("\\", "/")))
            if name in self._images:
                raise DataError(f"{path}: images {self._images[name].id} and {image.id} are both called {name}; name each once")
            self._images[name] = image

    @property
    def ids(self) -> Sequence[str]:
        """Of its images, in the file's order."""
        return tuple(self._images)

    def read(self, image: str, classes: int) -> CellImage:
        """The cells of one image, see `CellTable`."""
        found = self._images[image]
        number = {name: i for i, name in enumerate(self.names)}
        rows: dict[tuple[bytes, bytes], int] = {}  # a cell with several labels repeats its mask
        masks: list[RunLengths] = []
        labels, sure, mask = [], [], []
        for one in coco_instances(self._coco, found):
            if one.crowd:
                continue
            runs = column_major(one.runs)
            row = rows.setdefault((runs.starts.tobytes(), runs.stops.tobytes()), len(masks))
            if row == len(masks):
                masks.append(runs)
            labels.append(number[one.label])
            sure.append(1.0 if one.score is None else one.score)
            mask.append(row)
        columns = (np.array(labels, np.int64), np.array(sure, np.float64), np.array(mask, np.int64))
        return CellImage(f"{self.path}, image {found.name}", found.shape, *columns, tuple(masks))
