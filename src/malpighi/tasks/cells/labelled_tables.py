"""Tables of labelled cells, predicted or true, opened once and read image by image: HPA's CSV, COCO JSON, a folder of one."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np

from malpighi.annotations.coco_rle import column_major, from_hpa
from malpighi.annotations.files import read_text
from malpighi.annotations.rle import RunLengths
from malpighi.errors import DataError
from malpighi.metrics.detection import Labelled
from malpighi.metrics.mask_runs import MaskRuns

SUBMISSION, CLASSES = "submission.csv", "classes.json"
COLUMNS = ("ID", "ImageWidth", "ImageHeight", "PredictionString")
NO_MASK = "-1"
"""In place of a mask: the image was looked at for this class, as in the competition's own truth."""


@dataclass(frozen=True, eq=False)
class CellImage:
    """The labelled cells of one image.

    Attributes:
        place: file and row, for errors.
        shape: (y, x).
        label, confidence, mask: (label,) class number, how sure, row of `masks`.
        masks: each once, however many labels it has.
        verified: class numbers that somebody looked for.
    """

    place: str
    shape: tuple[int, int]
    label: np.ndarray
    confidence: np.ndarray
    mask: np.ndarray
    masks: tuple[RunLengths, ...]
    verified: tuple[int, ...] = ()

    @property
    def labelled(self) -> Labelled:
        """As the metric takes them."""
        return Labelled(self.label, self.mask, self.confidence)

    @cached_property
    def runs(self) -> MaskRuns:
        """Runs of all masks, down the columns."""
        masks = [column_major(mask) for mask in self.masks]
        none = np.zeros(0, np.int64)
        return MaskRuns(
            np.concatenate([none, *(m.starts for m in masks)]),
            np.concatenate([none, *(m.stops for m in masks)]),
            np.repeat(np.arange(len(masks)), [len(m) for m in masks]),
            len(masks),
        )


class CellTable(Protocol):
    """What is scored against what.

    Attributes:
        path: of the file.
        names: what class numbers mean; () where the file does not say.
    """

    path: Path
    names: tuple[str, ...]

    @property
    def ids(self) -> Sequence[str]:
        """Of its images, in the file's order."""

    def read(self, image: str, classes: int) -> CellImage:
        """The cells of one image; class numbers are below `classes`.

        Raises:
            DataError: a mask, class or confidence is wrong; names the row.
        """


def is_cell_table(path: Path) -> bool:
    """Whether a path is a table of labelled cells: HPA's CSV, COCO JSON with categories, or a folder with submission.csv."""
    path = Path(path)
    if path.is_dir():
        return (path / SUBMISSION).is_file()
    if path.suffix.lower() == ".csv" and path.is_file():
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as lines:
            return set(COLUMNS) <= {name.strip() for name in lines.readline(4096).split(",")}
    return _is_coco(path)


def _is_coco(path: Path) -> bool:
    if path.suffix.lower() != ".json" or not path.is_file():
        return False
    from malpighi.annotations.coco import is_coco, read_coco

    try:
        coco = read_coco(path) if is_coco(path) else None
    except DataError:  # whoever opens it says what is wrong
        return True
    return coco is not None and bool(coco.categories)


def open_cell_table(path: Path) -> CellTable:
    """Open a table of labelled cells.

    Raises:
        DataError: it is none, is damaged, or gives an image twice.
    """
    path = Path(path)
    if path.is_dir() and (path / SUBMISSION).is_file():
        path /= SUBMISSION
    if path.suffix.lower() == ".json" and path.is_file():
        from malpighi.tasks.cells.coco_table import CocoTable

        return CocoTable(path)
    if path.is_dir() or not is_cell_table(path):
        raise DataError(
            f"{path}: no table of labelled cells; give a CSV with the columns {','.join(COLUMNS)}, COCO JSON, or a folder that "
            f"holds {SUBMISSION}"
        )
    return HpaTable(path)


class HpaTable:
    """HPA's submission; masks are decoded image by image."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.names = _names(path.parent / CLASSES)
        self._rows: dict[str, tuple[int, str, str, str]] = {}
        for line, (name, width, height, text) in _hpa_rows(path):
            if name in self._rows:
                raise DataError(f"{path}, row {line}: {name} is already on row {self._rows[name][0]}; give each image one row")
            self._rows[name] = (line, width, height, text)

    @property
    def ids(self) -> Sequence[str]:
        """Of its images, in the file's order."""
        return tuple(self._rows)

    def read(self, image: str, classes: int) -> CellImage:
        """The cells of one image, see `CellTable`."""
        line, width, height, text = self._rows[image]
        place = f"{self.path}, row {line} ({image})"
        if not (width.strip().isdecimal() and height.strip().isdecimal()):
            raise DataError(f"{place}: size {width!r} × {height!r}; give the image's width and height in pixels")
        words = text.split()
        if len(words) % 3:
            raise DataError(f"{place}: {len(words)} words; PredictionString holds triples of label, confidence and mask")
        triples = [(words[i], words[i + 1], words[i + 2]) for i in range(0, len(words), 3)]
        return _cells(triples, (int(height), int(width)), place, classes)


def _hpa_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    text = read_text(path)
    csv.field_size_limit(max(csv.field_size_limit(), len(text) + 1))
    rows = csv.reader(io.StringIO(text, newline=""))
    header = [name.strip() for name in next(rows, [])]
    at = [header.index(name) for name in COLUMNS]
    for line, row in enumerate(rows, 2):
        if not row:
            continue
        if len(row) != len(header):
            raise DataError(f"{path}, row {line}: {len(row)} fields, the header has {len(header)}; is the file cut off?")
        yield line, [row[i].strip() for i in at]


def _cells(triples: Sequence[tuple[str, str, str]], shape: tuple[int, int], place: str, classes: int) -> CellImage:
    rows: dict[str, int] = {}  # mask as text → its row: a cell with several labels repeats its mask
    labels, sure, mask, verified = [], [], [], []
    for i, (label, confidence, text) in enumerate(triples, 1):
        if not (label.isdecimal() and int(label) < classes):
            raise DataError(
                f"{place}, triple {i}: class {label!r}; there are {classes}, numbered from 0. Name them in {CLASSES} beside the table"
            )
        if text == NO_MASK:
            verified.append(int(label))
            continue
        try:
            sure.append(float(confidence))
        except ValueError as error:
            raise DataError(f"{place}, triple {i}: confidence {confidence!r} is no number") from error
        if not np.isfinite(sure[-1]):
            raise DataError(f"{place}, triple {i}: confidence {confidence!r} is no number")
        labels.append(int(label))
        mask.append(rows.setdefault(text, len(rows)))
    masks = tuple(from_hpa(text, shape, f"{place}, mask {i}") for i, text in enumerate(rows, 1))
    columns = (np.array(labels, np.int64), np.array(sure, np.float64), np.array(mask, np.int64))
    return CellImage(place, shape, *columns, masks, tuple(verified))


def _names(path: Path) -> tuple[str, ...]:
    """Class names of a list in JSON; () where there is no such file."""
    if not path.is_file():
        return ()
    try:
        names = json.loads(read_text(path))
    except ValueError as error:
        raise DataError(f"{path}: not JSON ({error}); it is a list of class names") from error
    if isinstance(names, Mapping):
        names = names.get("classes")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or len(set(names)) != len(names):
        raise DataError(f"{path}: it is a list of class names, each once")
    return tuple(names)
